// Package e2e runs the real thing from the outside: bin/devctl as a person would, on a stack of its own beside
// whatever else runs on this machine, with real faults, and looks at it with stock clients.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"devctl/internal/api"
)

// stack is one environment under test: a project folder with its spec, a data directory, and a unique name.
type stack struct {
	name   string
	cidr   string
	dir    string
	home   string
	binary string
	env    []string // of devctl, beside the test's own
	within []string // the command that devctl is run by, if not directly
}

// newStack prepares a project with a spec that differs from the shipped one in name and network only. Whatever
// an earlier run of the same test left behind is destroyed first, and everything is destroyed when the test ends.
func newStack(t *testing.T, name, cidr string) *stack {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{name: name, cidr: cidr, dir: t.TempDir(), home: t.TempDir(), binary: filepath.Join(root, "bin", "devctl")}
	if _, err := os.Stat(s.binary); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	for _, copied := range []string{"Pulumi.yaml", "stacks/Pulumi.local.yaml"} {
		data, err := os.ReadFile(filepath.Join(root, copied))
		if err != nil {
			t.Fatal(err)
		}
		s.write(t, strings.Replace(copied, "local", name, 1), string(data))
	}
	s.editSpec(t, "198.18.0.0/24", cidr)
	s.removeContainers(t)
	t.Cleanup(func() {
		if t.Failed() {
			s.evidence(t)
		}
		s.run(t, 3*time.Minute, "destroy", "--yes")
		s.removeContainers(t)
	})
	return s
}

func (s *stack) specFile() string { return "stacks/Pulumi." + s.name + ".yaml" }

func (s *stack) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *stack) read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// editSpec replaces text in the stack's spec; the text must be there once.
func (s *stack) editSpec(t *testing.T, from, to string) {
	t.Helper()
	spec := s.read(t, s.specFile())
	if n := strings.Count(spec, from); n != 1 {
		t.Fatalf("%q is %d times in the spec, want once", from, n)
	}
	s.write(t, s.specFile(), strings.Replace(spec, from, to, 1))
}

// result is what a command printed and how it ended.
type result struct {
	stdout, stderr string
	code           int
	took           time.Duration
}

// command is devctl on this stack.
func (s *stack) command(ctx context.Context, args ...string) *exec.Cmd {
	line := slices.Concat(s.within, []string{s.binary, "--stack", s.name}, args)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir = s.dir
	cmd.Env = append(append(os.Environ(), "DEVCTL_HOME="+s.home), s.env...)
	return cmd
}

// run runs devctl on this stack and never fails the test.
func (s *stack) run(t *testing.T, timeout time.Duration, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := s.command(ctx, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err := cmd.Run()
	r := result{stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode(), took: time.Since(start)}
	t.Logf("devctl %s: exit %d after %v", strings.Join(args, " "), r.code, r.took.Round(10*time.Millisecond))
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Logf("devctl %s: %v", strings.Join(args, " "), err)
	}
	return r
}

// must runs devctl on this stack and fails the test unless it exits 0.
func (s *stack) must(t *testing.T, timeout time.Duration, args ...string) result {
	t.Helper()
	r := s.run(t, timeout, args...)
	if r.code != 0 {
		t.Fatalf("devctl %s: exit %d\n--- stdout\n%s\n--- stderr\n%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r
}

func (s *stack) status(t *testing.T) api.Status {
	t.Helper()
	r := s.must(t, 30*time.Second, "status", "-o", "json")
	var st api.Status
	if err := json.Unmarshal([]byte(r.stdout), &st); err != nil {
		t.Fatalf("status -o json is no JSON: %v\n%s", err, r.stdout)
	}
	return st
}

// waitStatus polls the status until the condition holds.
func (s *stack) waitStatus(t *testing.T, what string, timeout time.Duration, ok func(api.Status) bool) api.Status {
	t.Helper()
	var last api.Status
	waitFor(t, what, timeout, func() error {
		r := s.run(t, 30*time.Second, "status", "-o", "json")
		if r.code != 0 {
			return fmt.Errorf("status: exit %d: %s", r.code, r.stderr)
		}
		last = api.Status{}
		if err := json.Unmarshal([]byte(r.stdout), &last); err != nil {
			return err
		}
		if !ok(last) {
			return fmt.Errorf("status is %s", r.stdout)
		}
		return nil
	})
	return last
}

// waitFor asks again until there is no error, and fails the test with the last one when time is up.
func waitFor(t *testing.T, what string, timeout time.Duration, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, timeout, err)
		}
		time.Sleep(200 * time.Millisecond) // the pause between two looks at the condition
	}
}

// outputs is the part of `devctl outputs` that a Redis client needs.
type outputs struct {
	Redis struct {
		Address  string `json:"address"`
		Port     int    `json:"port"`
		Username string `json:"username"`
		Password string `json:"password"`
	} `json:"redis"`
}

func (s *stack) outputs(t *testing.T, args ...string) outputs {
	t.Helper()
	r := s.must(t, 30*time.Second, append([]string{"outputs", "-o", "json"}, args...)...)
	var o outputs
	if err := json.Unmarshal([]byte(r.stdout), &o); err != nil {
		t.Fatalf("outputs -o json is no JSON: %v\n%s", err, r.stdout)
	}
	return o
}

// node returns a node of the status by name.
func node(t *testing.T, st api.Status, name string) api.NodeStatus {
	t.Helper()
	for _, n := range st.Nodes {
		if n.Name == name {
			return n
		}
	}
	t.Fatalf("no node %q in %v", name, st.Nodes)
	return api.NodeStatus{}
}

// docker runs the docker client; faults are injected from outside of devctl.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// started tells of every unit of devctl on every node since when it is active, and with which main process.
func (s *stack) started(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, n := range s.status(t).Nodes {
		for _, u := range n.Units {
			all[n.Name+" "+u.Name] = docker(t, "exec", n.ID, "systemctl", "show",
				"--property=MainPID,ActiveEnterTimestampMonotonic,NRestarts", u.Name)
		}
	}
	return all
}

// labelled lists what of the stack exists in Docker, by kind.
func (s *stack) labelled(t *testing.T) []string {
	t.Helper()
	filter := "label=devctl.stack=" + s.name
	var all []string
	for kind, list := range map[string]string{
		"container": docker(t, "ps", "--all", "--quiet", "--filter", filter),
		"network":   docker(t, "network", "ls", "--quiet", "--filter", filter),
		"volume":    docker(t, "volume", "ls", "--quiet", "--filter", filter),
	} {
		for _, id := range strings.Fields(list) {
			all = append(all, kind+" "+id)
		}
	}
	return all
}

// removeContainers removes what devctl could not: the next run must start from nothing.
func (s *stack) removeContainers(t *testing.T) {
	t.Helper()
	for _, object := range s.labelled(t) {
		kind, id, _ := strings.Cut(object, " ")
		if kind == "container" {
			docker(t, "rm", "--force", "--volumes", id)
		}
	}
	for _, object := range s.labelled(t) {
		if kind, id, _ := strings.Cut(object, " "); kind != "container" {
			docker(t, kind, "rm", id)
		}
	}
}

// evidence prints what a person would look at.
func (s *stack) evidence(t *testing.T) {
	t.Helper()
	r := s.run(t, 30*time.Second, "status")
	t.Logf("status:\n%s%s", r.stdout, r.stderr)
	names := docker(t, "ps", "--all", "--format", "{{.Names}}", "--filter", "label=devctl.stack="+s.name)
	for _, name := range strings.Fields(names) {
		if strings.HasSuffix(name, "-supervisor") {
			out, err := exec.Command("docker", "logs", "--tail", "100", name).CombinedOutput()
			t.Logf("log of %s (%v):\n%s", name, err, out)
			continue
		}
		out, err := exec.Command("docker", "exec", name, "journalctl", "--no-pager", "-n", "60", "-p", "info").CombinedOutput()
		t.Logf("journal of %s (%v):\n%s", name, err, out)
	}
}
