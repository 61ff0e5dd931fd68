package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"devctl/internal/api"
)

// dockerd is a Docker of the test's own, which can be killed. It has a network of its own as well: what it does to interfaces, routes
// and iptables is nobody else's.
type dockerd struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
}

// namespace is the network that the test's dockerd is in.
const namespace = "devctl-e2edockerd"

func (d *dockerd) host() string { return "unix://" + filepath.Join(d.dir, "docker.sock") }

// inside is what a command is run by to be in the network.
func (d *dockerd) inside() []string { return []string{"nsenter", "--net=/run/netns/" + namespace} }

// newDockerd starts a Docker beside the machine's, and gives it the images that the latter has.
func newDockerd(t *testing.T) *dockerd {
	t.Helper()
	// Beside the data of the machine's own, where the file system is known to do.
	beside := filepath.Dir(docker(t, "info", "--format", "{{.DockerRootDir}}"))
	dir, err := os.MkdirTemp(beside, namespace)
	if err != nil {
		t.Fatal(err)
	}
	d := &dockerd{t: t, dir: dir}
	t.Cleanup(func() {
		d.end(syscall.SIGTERM)
		// What its containers had mounted goes with its name.
		mounts, _ := exec.Command("findmnt", "--noheadings", "--list", "--output=TARGET").Output()
		for target := range strings.Lines(string(mounts)) {
			if target = strings.TrimSpace(target); strings.HasPrefix(target, dir+"/") {
				_ = syscall.Unmount(target, syscall.MNT_DETACH)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		_ = exec.Command("ip", "netns", "delete", namespace).Run()
	})
	_ = exec.Command("ip", "netns", "delete", namespace).Run() // of a run that was killed
	for _, args := range [][]string{{"netns", "add", namespace}, {"-netns", namespace, "link", "set", "lo", "up"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	d.start()
	d.load()
	return d
}

// start starts it, and waits until it answers.
func (d *dockerd) start() {
	d.t.Helper()
	path := func(name string) string { return filepath.Join(d.dir, name) }
	log, err := os.OpenFile(path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	args := append(d.inside(), "dockerd", "--data-root="+path("data"), "--exec-root="+path("exec"), "--pidfile="+path("pid"),
		"--host="+d.host(), "--bridge=none")
	d.cmd = exec.Command(args[0], args[1:]...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	waitFor(d.t, "dockerd answers", time.Minute, func() error {
		if out, err := exec.Command("docker", "--host="+d.host(), "version").CombinedOutput(); err != nil {
			text, _ := os.ReadFile(path("log"))
			return fmt.Errorf("%w: %s\n%s", err, out, text[max(0, len(text)-2000):])
		}
		return nil
	})
}

// end ends it by a signal. Its containerd dies with it.
func (d *dockerd) end(signal syscall.Signal) {
	d.t.Helper()
	if d.cmd == nil || d.cmd.Process == nil {
		return
	}
	file := filepath.Join(d.dir, "exec", "containerd", "containerd.pid")
	pid, _ := os.ReadFile(file)
	_ = d.cmd.Process.Signal(signal)
	_ = d.cmd.Wait()
	if len(pid) == 0 {
		return
	}
	waitFor(d.t, "containerd is dead", 10*time.Second, func() error {
		if program, err := os.Readlink(filepath.Join("/proc", string(pid), "exe")); err == nil {
			return fmt.Errorf("%s runs", program)
		}
		return nil
	})
	_ = os.Remove(file) // until init has reaped it, the next dockerd would take it for alive
}

// load gives it the images that devctl would build otherwise.
func (d *dockerd) load() {
	d.t.Helper()
	images := strings.Fields(docker(d.t, "images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=localhost/devctl/*"))
	if len(images) == 0 {
		return
	}
	save := exec.Command("docker", append([]string{"save"}, images...)...)
	load := exec.Command("docker", "--host="+d.host(), "load")
	var said bytes.Buffer
	save.Stderr, load.Stdout, load.Stderr = &said, &said, &said
	pipe, err := save.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	load.Stdin = pipe
	if err := save.Start(); err != nil {
		d.t.Fatal(err)
	}
	if err := load.Run(); err != nil {
		d.t.Fatalf("docker load: %v\n%s", err, &said)
	}
	if err := save.Wait(); err != nil {
		d.t.Fatalf("docker save: %v\n%s", err, &said)
	}
}

// TestDockerRestarted restarts Docker under a stack. Nobody calls devctl for it to heal.
func TestDockerRestarted(t *testing.T) {
	d := newDockerd(t) // before the stack, which is destroyed through it when the test ends
	s := newStack(t, "e2edockerd", "198.18.82.0/24")
	s.env, s.within = append(s.env, "DOCKER_HOST="+d.host()), d.inside()
	s.must(t, 15*time.Minute, "up", "--yes")
	before := s.status(t)
	checkStatus(t, before, 8)
	names := []string{"one", "two", "three", "four", "five", "six"} // keys of all shards
	for _, key := range names {
		s.must(t, time.Minute, "redis", "SET", key, "value of "+key)
	}
	for _, fault := range []struct {
		name   string
		signal syscall.Signal
		bound  time.Duration
	}{
		{"stopped", syscall.SIGTERM, back},
		{"killed", syscall.SIGKILL, 2 * back}, // Docker first clears away, and then starts again, what outlived it
	} {
		t.Run(fault.name, func(t *testing.T) {
			d.end(fault.signal)
			begun := time.Now()
			d.start()
			answers := time.Now()
			after := s.waitStatus(t, "the stack is healthy again", fault.bound, func(st api.Status) bool {
				stale := func(n api.NodeStatus) bool { return n.LastHeartbeat.Before(begun) }
				return st.Healthy && st.Settled && !slices.ContainsFunc(st.Nodes, stale)
			})
			t.Logf("healthy %v after Docker answered, which took it %v", time.Since(answers).Round(100*time.Millisecond), answers.Sub(begun).Round(100*time.Millisecond))
			checkStatus(t, after, 8)
			sameMachines(t, before, after)
			for _, key := range names {
				if got := s.must(t, time.Minute, "redis", "GET", key); strings.TrimSpace(got.stdout) != "value of "+key {
					t.Errorf("%s is %q", key, got.stdout)
				}
			}
		})
	}
}
