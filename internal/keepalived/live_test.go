package keepalived

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"devctl/internal/api"
)

const (
	statsPort = 7020
	// serveEnv makes the test binary a stand-in for HAProxy that says 200 at /livez.
	serveEnv = "DEVCTL_TEST_SERVE"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(serveEnv); address != "" {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			panic(err)
		}
		http.HandleFunc("/livez", func(http.ResponseWriter, *http.Request) {})
		panic(http.Serve(listener, nil))
	}
	os.Exit(m.Run())
}

// host is a balancer in a network namespace of its own: keepalived and what it watches.
type host struct {
	t          *testing.T
	namespace  string
	identity   api.Identity
	dir        string
	conf       string
	keepalived *exec.Cmd
	haproxy    *exec.Cmd
}

// must runs a command to its end.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // keepalived signals its whole process group
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// start runs a command in the host's namespace until the test ends, in a process group of its own.
func (h *host) start(env string, args ...string) *exec.Cmd {
	h.t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", h.namespace}, args...)...)
	cmd.Env = append(os.Environ(), env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		h.kill(cmd)
		if h.t.Failed() {
			h.t.Logf("%s in %s:\n%s", args[0], h.namespace, log)
		}
	})
	return cmd
}

// kill ends a command and its children as a crash does. It may have ended already.
func (h *host) kill(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	_ = cmd.Wait()
}

func (h *host) signal(cmd *exec.Cmd, signal syscall.Signal) {
	h.t.Helper()
	if err := syscall.Kill(-cmd.Process.Pid, signal); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) startHAProxy() {
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	h.haproxy = h.start(fmt.Sprintf("%s=:%d", serveEnv, statsPort), self)
}

func (h *host) startKeepalived() {
	pid := func(name string) string {
		path := filepath.Join(h.dir, name+".pid")
		_ = os.Remove(path) // a new container has none
		return path
	}
	h.keepalived = h.start("", "keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file="+h.conf,
		"--pid="+pid("keepalived"), "--vrrp_pid="+pid("vrrp"))
}

// crash kills both processes of keepalived at once, as the end of a container does.
func (h *host) crash() {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, "vrrp.pid"))
	if err != nil {
		h.t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		h.t.Fatal(err)
	}
	h.signal(h.keepalived, syscall.SIGKILL)
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
	h.kill(h.keepalived)
}

func (h *host) holds(address string) bool {
	return strings.Contains(must(h.t, "ip", "-n", h.namespace, "-o", "address", "show"), " "+address+"/")
}

// pair connects two hosts.
func pair(t *testing.T, ep api.EndpointSpec) [2]*host {
	t.Helper()
	// keepalived runs scripts only below directories that nobody but root can write: not in /tmp.
	scripts, err := os.MkdirTemp("/run", "devctl-keepalived-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(scripts) })
	script := filepath.Join(scripts, "check-haproxy")
	must(t, "install", "--mode=755", "../../images/keepalived/check-haproxy", script)
	must(t, "chmod", "755", scripts)

	var hosts [2]*host
	for i := range hosts {
		h := &host{t: t, namespace: fmt.Sprintf("devctl-ka-%d-%d-%d", os.Getpid(), ep.RouterID, i), dir: t.TempDir()}
		h.identity = api.Identity{Name: fmt.Sprint("worker-", i+1), Address: fmt.Sprint("198.18.77.2", i+1)}
		must(t, "ip", "netns", "add", h.namespace)
		t.Cleanup(func() { must(t, "ip", "netns", "delete", h.namespace) })
		hosts[i] = h
	}
	must(t, "ip", "link", "add", "eth0", "netns", hosts[0].namespace, "type", "veth", "peer", "name", "eth0", "netns", hosts[1].namespace)
	for i, h := range hosts {
		must(t, "ip", "-n", h.namespace, "link", "set", "lo", "up")
		must(t, "ip", "-n", h.namespace, "link", "set", "eth0", "up")
		must(t, "ip", "-n", h.namespace, "address", "add", h.identity.Address+"/24", "dev", "eth0")
		files := Files(ep, statsPort, h.identity, []api.Identity{hosts[1-i].identity}, 150-i)
		h.conf = filepath.Join(h.dir, "keepalived.conf")
		content := strings.ReplaceAll(files[0].Content, "/usr/local/bin/check-haproxy", script)
		content = strings.ReplaceAll(content, api.DevicePlaceholder, "eth0") // as the agent does
		if err := os.WriteFile(h.conf, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if out := must(t, "ip", "netns", "exec", h.namespace, "keepalived", "--config-test", "--use-file="+h.conf); out != "" {
			t.Fatalf("keepalived complains:\n%s", out)
		}
	}
	return hosts
}

// TestLive moves the address between two real keepalived by killing and stopping what it depends on.
func TestLive(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("keepalived"); err != nil {
		t.Fatalf("install the Debian package keepalived: %v", err)
	}
	ep := api.EndpointSpec{Address: "198.18.77.10", Prefix: 24, RouterID: 77}
	hosts := pair(t, ep)
	becomes := func(what string, within time.Duration, want ...*host) {
		t.Helper()
		becomes(t, hosts, ep.Address, what, within, want...)
	}
	const soon, move = 5 * time.Second, 1500 * time.Millisecond // the check runs once a second; a busy machine adds some

	for _, h := range hosts {
		h.startKeepalived()
	}
	becomes("nobody holds it while nothing is served", soon)
	hosts[1].startHAProxy()
	becomes("the only one that serves holds it", soon, hosts[1])
	hosts[0].startHAProxy()
	stays(t, 2*time.Second, "the better priority does not take it", func() bool { return hosts[1].holds(ep.Address) && !hosts[0].holds(ep.Address) })

	hosts[1].signal(hosts[1].haproxy, syscall.SIGSTOP)
	becomes("HAProxy hangs", move, hosts[0])
	hosts[1].signal(hosts[1].haproxy, syscall.SIGCONT)
	stays(t, 2*time.Second, "it does not go back", func() bool { return hosts[0].holds(ep.Address) && !hosts[1].holds(ep.Address) })

	hosts[0].kill(hosts[0].haproxy)
	becomes("HAProxy is killed", move, hosts[1])
	hosts[0].startHAProxy()
	stays(t, 2*time.Second, "it does not go back", func() bool { return hosts[1].holds(ep.Address) && !hosts[0].holds(ep.Address) })

	hosts[1].crash()
	becomes("keepalived is killed: the address is left behind, and taken by the other", move, hosts[0], hosts[1])
	hosts[1].startKeepalived()
	becomes("a new keepalived clears what was left behind", soon, hosts[0])

	stays(t, 2*time.Second, "nor does it go back to a new keepalived", func() bool { return hosts[0].holds(ep.Address) && !hosts[1].holds(ep.Address) })

	hosts[0].signal(hosts[0].keepalived, syscall.SIGTERM)
	becomes("keepalived is stopped", move, hosts[1])
}

// becomes waits until exactly the given hosts hold the address, and says how long it took.
func becomes(t *testing.T, hosts [2]*host, address, what string, within time.Duration, want ...*host) {
	t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var holders []*host
		for _, h := range hosts {
			if h.holds(address) {
				holders = append(holders, h)
			}
		}
		if slices.Equal(holders, want) {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %d hosts hold the address after %v", what, len(holders), time.Since(start))
		case <-tick.C:
		}
	}
	took := time.Since(start).Round(10 * time.Millisecond)
	t.Logf("%s: %v", what, took)
	if took > within {
		t.Errorf("%s took %v, want at most %v", what, took, within)
	}
}

// TestLiveOnCloud: the one that should hold the address has the marker, and the address itself nobody.
func TestLiveOnCloud(t *testing.T) {
	t.Parallel()
	ep := api.EndpointSpec{Address: "203.0.113.9", Prefix: 32, RouterID: 78, Platform: api.PlatformAWS}
	hosts := pair(t, ep)
	becomes := func(what string, want ...*host) {
		t.Helper()
		becomes(t, hosts, api.EndpointMarker, what, 8*time.Second, want...)
	}
	for _, h := range hosts {
		h.startKeepalived()
	}
	hosts[1].startHAProxy()
	becomes("the only one that serves has the marker", hosts[1])
	hosts[0].startHAProxy()
	stays(t, 3*time.Second, "the better priority does not take it", func() bool { return hosts[1].holds(api.EndpointMarker) && !hosts[0].holds(api.EndpointMarker) })
	hosts[1].kill(hosts[1].haproxy)
	becomes("HAProxy is killed", hosts[0])
	hosts[1].startHAProxy()
	stays(t, 3*time.Second, "it does not go back", func() bool { return hosts[0].holds(api.EndpointMarker) && !hosts[1].holds(api.EndpointMarker) })
	hosts[0].crash()
	becomes("keepalived is killed: the marker is left behind, and the other has it too", hosts[0], hosts[1])
	hosts[0].startKeepalived()
	becomes("a new keepalived clears what was left behind", hosts[1])
	for _, h := range hosts {
		if h.holds(ep.Address) {
			t.Errorf("%s has the public address on an interface", h.identity.Name)
		}
	}
}

// stays fails the test when the condition does not hold all the time.
func stays(t *testing.T, d time.Duration, what string, condition func() bool) {
	t.Helper()
	end := time.After(d)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if !condition() {
			t.Fatalf("%s: it did", what)
		}
		select {
		case <-end:
			return
		case <-tick.C:
		}
	}
}
