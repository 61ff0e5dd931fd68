package e2e

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPeople is what people do to one another and to themselves: they come while another one works on the stack, mistype its
// name, change their minds, and lose what they had on disk.
func TestPeople(t *testing.T) {
	t.Parallel()
	s := newStack(t, "e2eintb", "198.18.95.0/24")
	t.Run("one at a time", func(t *testing.T) { oneAtATime(t, s) })
	s.must(t, 5*time.Minute, "up", "--yes")
	t.Run("destroy asks for the name", func(t *testing.T) { destroyAsksForTheName(t, s) })
	s.must(t, 5*time.Minute, "up", "--yes")
	t.Run("destroy without state and spec", func(t *testing.T) { destroyWithoutStateAndSpec(t, s) })
}

// oneAtATime wants whoever comes while an up runs to be told whose it is, from its first step to its last. When its person
// interrupts it there, the machines heal by themselves all the same.
func oneAtATime(t *testing.T, s *stack) {
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	up := s.start(t, "up", "--yes")
	begun := time.Now()
	refusal := regexp.MustCompile(fmt.Sprintf(`error: stack %q is being changed by process %d of %s on %s since (\S+) \(devctl up\); wait for it`,
		s.name, up.cmd.Process.Pid, regexp.QuoteMeta(who.Username), regexp.QuoteMeta(host)))
	refused := func(args ...string) {
		t.Helper()
		r := s.run(t, time.Minute, args...)
		said := refusal.FindStringSubmatch(r.stderr)
		if r.code != 1 || said == nil {
			t.Fatalf("%v beside an up: exit %d, want 1 and %s:\n%s\nthe up said:\n%s", args, r.code, refusal, r.stderr, &up.said)
		}
		if since, err := time.Parse(time.RFC3339, said[1]); err != nil || since.Sub(begun).Abs() > 10*time.Second {
			t.Errorf("the up that began at %v is said to run since %s", begun, said[1])
		}
	}
	exist := moments(t, s)[2]
	up.until(exist.name, 2*time.Minute, func() bool { return exist.reached(up) })
	refused("destroy", "--yes")
	up.until("services are deployed", 2*time.Minute, func() bool { return said(1, "Deploying on stack")(up) })
	refused("up", "--yes")
	up.signal(syscall.SIGINT)
	up.end(time.Minute, 130, "next: ")
	supervisor := docker(t, "ps", "--quiet", "--filter", "label=devctl.stack="+s.name, "--filter", "label=devctl.role=supervisor")
	if supervisor == "" {
		t.Errorf("there is no supervisor after an interrupt while services were deployed:\n%s", &up.said)
	}
}

// destroyAsksForTheName on a real terminal, where only the right answer changes anything.
func destroyAsksForTheName(t *testing.T, s *stack) {
	before := s.labelled(t)
	slices.Sort(before)
	const question = "Type the name of the stack to go on: "
	for keys, told := range map[string]string{
		"another\r":          `"another" is not "e2eintb": nothing was changed`,
		"y\r":                `"y" is not "e2eintb": nothing was changed`,
		"\r":                 `"" is not "e2eintb": nothing was changed`,
		"\x03":               "nothing was changed", // Ctrl-C
		s.name[:4] + "\x03":  "nothing was changed",
		"\x04":               "no answer: nothing was changed", // Ctrl-D
		s.name + "\x7fx\r":   `"e2eintx" is not "e2eintb": nothing was changed`,
		s.name + " please\r": `"e2eintb please" is not "e2eintb": nothing was changed`,
	} {
		p := s.startOnTerminal(t, "destroy")
		p.until("it asks", 30*time.Second, func() bool { return said(1, question)(p) })
		p.types(keys)
		p.end(20*time.Second, 130, "This removes stack e2eintb with all of its data: 8 nodes on local.", "cancelled: ", told)
		now := s.labelled(t)
		if slices.Sort(now); !slices.Equal(before, now) {
			t.Fatalf("after the answer %q there are %v, were %v", keys, now, before)
		}
	}
	checkStatus(t, s.status(t), 8)

	p := s.startOnTerminal(t, "destroy")
	p.until("it asks", 30*time.Second, func() bool { return said(1, question)(p) })
	p.types(s.name + "\r")
	p.end(2*time.Minute, 0, "Stack e2eintb is gone, nothing of it is left.")
	s.nothingLeft(t)
}

// destroyWithoutStateAndSpec: some nodes are stopped, some paused, and all that is known of the stack is what Docker has.
func destroyWithoutStateAndSpec(t *testing.T, s *stack) {
	st := s.status(t)
	docker(t, "pause", node(t, st, "data-1").ID)
	docker(t, "stop", "--time", "0", node(t, st, "main-1").ID)
	for _, path := range []string{filepath.Join(s.home, "state"), filepath.Join(s.dir, s.specFile())} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	r := s.must(t, 2*time.Minute, "destroy", "--yes")
	if want := "Removing what is left of stack e2eintb and in no state: "; !strings.Contains(r.stderr, want) {
		t.Errorf("destroy does not say %q:\n%s", want, r.stderr)
	}
	s.nothingLeft(t)
}
