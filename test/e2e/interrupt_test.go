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
)

// moment is a point in the life of a command, seen from outside.
type moment struct {
	command string
	name    string
	// engine tells that pulumi is at work then. Services are deployed without it.
	engine  bool
	reached func(*process) bool
}

// moments of an `up` of a stack that was not there.
func moments(t *testing.T, s *stack) []moment {
	exist := func(kind string, n int) func(*process) bool {
		return func(p *process) bool { return said(1, "Bringing up stack")(p) && s.count(t, kind) >= n }
	}
	return []moment{
		{"up", "the engine starts", true, said(1, "Bringing up stack")},
		{"up", "the network exists", true, exist("network", 1)},
		{"up", "the first node exists", true, exist("container", 1)},
		{"up", "all nodes exist", true, exist("container", 8)},
		{"up", "services are deployed", false, said(1, "Deploying on stack")},
	}
}

// laterMoments are those of a `deploy` that changes Redis, and of a `destroy`.
func laterMoments() []moment {
	return []moment{
		{"deploy", "the engine reads the state", true, func(p *process) bool { return len(p.engines()) > 0 }},
		{"deploy", "the first service is renewed", false, said(1, " is active")},
		{"destroy", "the engine starts", true, said(1, "Destroying stack")},
		{"destroy", "the first node is gone", true, said(1, ": removed")},
		{"destroy", "half of the nodes are gone", true, said(4, ": removed")},
	}
}

// said is reached when devctl has said the text n times.
func said(n int, text string) func(*process) bool {
	return func(p *process) bool { return strings.Count(p.said.String(), text) >= n }
}

// way is how a command is interrupted at a moment, and how it has to end then.
type way struct {
	name      string
	interrupt func(p *process, m moment)
}

var ctrlC = way{"Ctrl-C", func(p *process, m moment) {
	p.signal(syscall.SIGINT)
	p.end(time.Minute, 130, "next: ")
}}

func ways() []way {
	return []way{
		ctrlC,
		{"Ctrl-C twice", func(p *process, m moment) {
			p.signal(syscall.SIGINT)
			p.saysOrEnds("Ctrl-C again stops at once", 10*time.Second)
			p.signal(syscall.SIGINT)
			p.end(20*time.Second, 130, "next: ")
		}},
		{"kill -9 of devctl", func(p *process, m moment) {
			p.signal(syscall.SIGKILL)
			p.end(10*time.Second, -1)
		}},
		{"kill -9 of the engine", func(p *process, m moment) {
			if m.engine {
				p.until("the engine runs", time.Minute, func() bool { return len(p.engines()) > 0 })
			}
			engines := p.engines()
			for _, pid := range engines {
				_ = syscall.Kill(pid, syscall.SIGKILL) // an error is that it has just ended, which p.end sees
			}
			switch {
			case m.engine:
				p.end(time.Minute, 1, "pulumi was ended by a signal (killed)", "run the command again")
			case len(engines) > 0:
				p.t.Errorf("services are deployed with the engine %v:\n%s", engines, &p.said)
			default: // there is none to kill
				p.end(2*time.Minute, 0)
			}
		}},
	}
}

// combination is an interruption, and the command that has to work after it.
type combination struct {
	moment
	way
	next string
}

func (c combination) String() string {
	return fmt.Sprintf("%s when %s, %s, then %s", c.command, c.moment.name, c.way.name, c.next)
}

// combinations are all moments in all ways, each followed by the command that the one before was not: up and destroy come after
// every moment and every way.
func combinations(moments []moment) []combination {
	var all []combination
	for i, m := range moments {
		for j, w := range ways() {
			all = append(all, combination{m, w, []string{"destroy", "up"}[(i+j)%2]})
		}
	}
	return all
}

// TestInterrupted interrupts up, deploy and destroy at ten moments in four ways. Nobody has to unlock or clean up anything: the
// next up or destroy just works, and nothing is left that nobody knows of.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	s := newStack(t, "e2eint", "198.18.94.0/24")
	// An interrupted up was one of a new stack, everything else needs one that is up: each begins with what another one left.
	waiting := map[bool][]combination{false: combinations(moments(t, s)), true: combinations(laterMoments())}
	isUp := false
	for len(waiting[false])+len(waiting[true]) > 0 {
		if len(waiting[isUp]) == 0 {
			s.must(t, 5*time.Minute, map[bool]string{false: "up", true: "destroy"}[isUp], "--yes")
			isUp = !isUp
		}
		c := waiting[isUp][0]
		waiting[isUp] = waiting[isUp][1:]
		passed := t.Run(c.String(), func(t *testing.T) {
			s.interrupt(t, c)
			isUp = c.next == "up"
		})
		if !passed {
			return // what the others would begin with is not known
		}
	}
}

// interrupt interrupts a command, and runs the next one.
func (s *stack) interrupt(t *testing.T, c combination) {
	args := []string{c.command, "--yes"}
	if c.command == "deploy" {
		s.changeRedis(t)
	}
	p := s.start(t, args...)
	p.until(c.moment.name, 2*time.Minute, func() bool { return c.reached(p) })
	c.interrupt(p, c.moment)
	waitFor(t, "the engine is gone with devctl", 5*time.Second, func() error { return s.noEngine() })
	s.allLabelled(t)
	left := s.containers(t)
	s.must(t, 5*time.Minute, c.next, "--yes")
	if c.next == "destroy" {
		s.nothingLeft(t)
		return
	}
	checkStatus(t, s.status(t), 8)
	if now := s.containers(t); c.way.name == ctrlC.name && slices.ContainsFunc(left, func(id string) bool { return !slices.Contains(now, id) }) {
		t.Errorf("up made nodes anew that were whole: there are %v, were %v", now, left)
	}
	if supervisor := docker(t, "ps", "--quiet", "--filter", "label=devctl.stack="+s.name, "--filter", "label=devctl.role=supervisor"); supervisor == "" {
		t.Error("the stack has no supervisor after up")
	}
}

// changeRedis changes the spec so that a deploy has every Redis instance started anew.
func (s *stack) changeRedis(t *testing.T) {
	t.Helper()
	from, to := "maxmemory: 64MiB", "maxmemory: 65MiB"
	if strings.Contains(s.read(t, s.specFile()), to) {
		from, to = to, from
	}
	s.editSpec(t, from, to)
}

// allLabelled wants everything in Docker that has the stack's name, or belongs to what has, to carry the stack's label: by that it
// is found. Docker may still be removing what it was told to, and between two looks that is gone.
func (s *stack) allLabelled(t *testing.T) {
	t.Helper()
	waitFor(t, "everything of the stack is found by its label", 10*time.Second, func() error {
		if lost := s.unlabelled(t); len(lost) > 0 {
			return fmt.Errorf("these are not: %v", lost)
		}
		return nil
	})
}

// unlabelled looks once for what allLabelled wants nothing of.
func (s *stack) unlabelled(t *testing.T) (lost []string) {
	t.Helper()
	cached := strings.Fields(docker(t, "volume", "ls", "--quiet", "--filter", "label=devctl.cache"))
	var volumes []string
	named := "name=devctl-" + s.name + "-"
	if ids := strings.Fields(docker(t, "ps", "--all", "--quiet", "--filter", named)); len(ids) > 0 {
		// Of a container that is gone there is nothing to say.
		mounted, _ := exec.Command("docker", append([]string{"inspect", "--format", "{{range .Mounts}}{{.Name}} {{end}}"}, ids...)...).Output()
		volumes = strings.Fields(string(mounted))
	}
	known := s.labelled(t)
	for kind, list := range map[string][]string{
		"container": strings.Fields(docker(t, "ps", "--all", "--quiet", "--filter", named)),
		"network":   strings.Fields(docker(t, "network", "ls", "--quiet", "--filter", "name=^devctl-"+s.name+"$")),
		"volume":    append(volumes, strings.Fields(docker(t, "volume", "ls", "--quiet", "--filter", named))...),
	} {
		for _, id := range list {
			if !slices.Contains(known, kind+" "+id) && !slices.Contains(cached, id) {
				lost = append(lost, kind+" "+id)
			}
		}
	}
	return lost
}

// nothingLeft wants the stack to be gone, from Docker and from the state.
func (s *stack) nothingLeft(t *testing.T) {
	t.Helper()
	s.allLabelled(t)
	if left := s.labelled(t); len(left) > 0 {
		t.Errorf("destroy left %v", left)
	}
	err := filepath.WalkDir(filepath.Join(s.home, "state"), func(path string, d os.DirEntry, err error) error {
		kept := strings.Contains(path, "/history/") || strings.Contains(path, "/backups/") || strings.HasSuffix(path, ".bak")
		if err == nil && !d.IsDir() && strings.Contains(path, s.name) && !kept {
			t.Errorf("destroy left %s", path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
}

// count counts what of the stack exists in Docker.
func (s *stack) count(t *testing.T, kind string) int {
	t.Helper()
	list := map[string][]string{"container": {"ps", "--all", "--quiet"}, "network": {"network", "ls", "--quiet"}}[kind]
	return len(strings.Fields(docker(t, append(list, "--filter", "label=devctl.stack="+s.name)...)))
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
