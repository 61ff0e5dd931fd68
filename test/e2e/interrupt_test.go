package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// moment is a point in the life of an `up`, seen from outside.
type moment struct {
	name    string
	reached func(*process) bool
}

func moments(t *testing.T, s *stack) []moment {
	said := func(text string) func(*process) bool {
		return func(p *process) bool { return strings.Contains(p.said.String(), text) }
	}
	exist := func(kind string, n int) func(*process) bool {
		return func(*process) bool {
			count := 0
			for _, object := range s.labelled(t) {
				if strings.HasPrefix(object, kind+" ") {
					count++
				}
			}
			return count >= n
		}
	}
	return []moment{
		{"the engine starts", said("Bringing up stack")},
		{"the network exists", exist("network", 1)},
		{"the first node exists", exist("container", 1)},
		{"all nodes exist", exist("container", 8)},
		{"services are deployed", said("Deploying on stack")},
	}
}

// TestInterruptedByKill kills devctl with SIGKILL at many moments of `up`. Nobody has to unlock or clean up anything.
func TestInterruptedByKill(t *testing.T) {
	s := newStack(t, "e2eint", "198.18.94.0/24")
	kill := func(t *testing.T, m moment) {
		p := s.start(t, "up", "--yes")
		p.until(m.name, 2*time.Minute, func() bool { return m.reached(p) })
		p.signal(syscall.SIGKILL)
		p.end(10*time.Second, -1)
		waitFor(t, "the engine is gone with devctl", 5*time.Second, func() error { return s.noEngine() })
	}
	for _, m := range moments(t, s) {
		t.Run("destroy after a kill when "+m.name, func(t *testing.T) {
			kill(t, m)
			s.must(t, 2*time.Minute, "destroy", "--yes")
			if left := s.labelled(t); len(left) > 0 {
				t.Errorf("destroy left %v", left)
			}
		})
	}
	// Each up goes on where the one before was killed.
	for _, m := range moments(t, s) {
		t.Run("up after a kill when "+m.name, func(t *testing.T) { kill(t, m) })
	}
	s.must(t, 5*time.Minute, "up", "--yes")
	checkStatus(t, s.status(t), 8)

	t.Run("destroy without state and spec", func(t *testing.T) {
		// Some nodes are stopped, some paused, and all that is known of the stack is what Docker has.
		st := s.status(t)
		docker(t, "pause", node(t, st, "data-1").ID)
		docker(t, "stop", "--time", "0", node(t, st, "main-1").ID)
		for _, path := range []string{filepath.Join(s.home, "state"), filepath.Join(s.dir, s.specFile())} {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
		r := s.must(t, 2*time.Minute, "destroy", "--yes")
		if want := "Removing what is left of stack e2eint and in no state: "; !strings.Contains(r.stderr, want) {
			t.Errorf("destroy does not say %q:\n%s", want, r.stderr)
		}
		if left := s.labelled(t); len(left) > 0 {
			t.Errorf("destroy left %v", left)
		}
	})
}

// TestInterruptedByPerson presses Ctrl-C, once and twice.
func TestInterruptedByPerson(t *testing.T) {
	s := newStack(t, "e2eint", "198.18.94.0/24")
	nodesExist := moments(t, s)[3]

	t.Run("once", func(t *testing.T) {
		p := s.start(t, "up", "--yes")
		p.until(nodesExist.name, 2*time.Minute, func() bool { return nodesExist.reached(p) })
		p.signal(syscall.SIGINT)
		p.end(time.Minute, 130, "Interrupted: finishing the steps that run", "next: ")
		// Docker restarts only nodes that were ready: so devctl marks those that are finished.
		for _, id := range s.containers(t) {
			if policy := docker(t, "inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", id); policy != "unless-stopped" {
				t.Errorf("node %s was left in the middle of its boot", id)
			}
		}
		before := s.containers(t)
		s.must(t, 2*time.Minute, "up", "--yes")
		if after := s.containers(t); !slices.Equal(before, after) {
			t.Errorf("the next up made nodes anew: %v, before %v", after, before)
		}
		checkStatus(t, s.status(t), 8)
		s.must(t, 2*time.Minute, "destroy", "--yes")
	})

	t.Run("twice", func(t *testing.T) {
		p := s.start(t, "up", "--yes")
		exists := moments(t, s)[2]
		p.until(exists.name, 2*time.Minute, func() bool { return exists.reached(p) })
		p.signal(syscall.SIGINT)
		p.until("it says so", 10*time.Second, func() bool { return strings.Contains(p.said.String(), "Ctrl-C again stops at once") })
		p.signal(syscall.SIGINT)
		p.end(15*time.Second, 130, "Stopping at once", "may be half done: creating ", "next: ")
		left := s.labelled(t)
		waitFor(t, "the engine is gone", 5*time.Second, func() error { return s.noEngine() })
		if later := s.labelled(t); len(later) != len(left) {
			t.Errorf("after devctl ended there were %v, then %v", left, later)
		}
		s.must(t, 2*time.Minute, "destroy", "--yes")
		if left := s.labelled(t); len(left) > 0 {
			t.Errorf("destroy left %v", left)
		}
	})
}

// containers are the ids of the stack's nodes, sorted.
func (s *stack) containers(t *testing.T) []string {
	t.Helper()
	ids := strings.Fields(docker(t, "ps", "--all", "--quiet", "--filter", "label=devctl.stack="+s.name, "--filter", "label=devctl.node"))
	slices.Sort(ids)
	return ids
}

// noEngine is an error while a pulumi works on the stack's home.
func (s *stack) noEngine() error {
	processes, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return err
	}
	for _, path := range processes {
		// One that is gone meanwhile, or waits for its exit code to be read, has no environment.
		environ, _ := os.ReadFile(path)
		if bytes.Contains(environ, []byte("PULUMI_HOME="+s.home)) {
			return &os.PathError{Op: "look for the engine", Path: path, Err: os.ErrExist}
		}
	}
	return nil
}
