package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/internal/engine"
)

func TestFailureHalfWay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.breakThing("b", "no room for b")
	s := b.open(t, declare(thingNamed("a"), thingNamed("b"), thingNamed("c")))

	var events []engine.Event
	summary, err := s.Up(t.Context(), func(e engine.Event) { events = append(events, e) })
	var failed *engine.FailedError
	if !errors.As(err, &failed) || err.Error() != `up: create test:index:Thing "b": no room for b` {
		t.Fatalf("error: %v\n%s", err, engineLog(summary))
	}
	want(t, "failures", len(failed.Failures), 1)
	want(t, "log folder", failed.Dir, summary.Dir)
	want(t, "changes", summary.Changes, changes(engine.OpCreate, 1))
	want(t, "events", told(events), []string{"started create a", "finished create a", "started create b", "failed create b", "summary"})
	want(t, "message", events[3].Message, "no room for b")

	b.breakThing("b", "")
	summary, _ = run(t, s.Up)
	want(t, "changes when repeated", summary.Changes, changes(engine.OpSame, 1, engine.OpCreate, 2))
	want(t, "things", b.names(), []string{"a", "b", "c"})
	b.noSecrets(t)
}

func TestProgramFails(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	summary, err := b.open(t, func(*pulumi.Context) error { return errors.New("render Ignition of main: no image") }).Up(t.Context(), nil)
	if err == nil || err.Error() != "up: render Ignition of main: no image" {
		t.Errorf("error: %v\n%s", err, engineLog(summary))
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	release := b.block("b")
	defer release()
	s := b.open(t, declare(thingNamed("a"), thingNamed("b"), thingNamed("c")))
	ctx, cancel := context.WithCancel(t.Context())
	var events []engine.Event
	result := make(chan error, 1)
	go func() {
		_, err := s.Up(ctx, func(e engine.Event) { events = append(events, e) })
		result <- err
	}()
	<-b.reached
	cancel()
	b.waitForLog(t, "received; cancelling") // pulumi knows
	select {
	case err := <-result:
		t.Fatalf("the run ended while b was being created: %v", err)
	default:
	}
	release()
	if err := <-result; !errors.Is(err, engine.ErrCancelled) {
		t.Fatalf("error: %v", err)
	}
	noWarnings(t, events)
	want(t, "things", b.names(), []string{"a", "b"})
	summary, _ := run(t, s.Up)
	want(t, "changes of the next up", summary.Changes, changes(engine.OpSame, 2, engine.OpCreate, 1))
}

// TestCancelledBeforeItBegan: an interrupt while devctl and pulumi get ready is the same as one in the run.
func TestCancelledBeforeItBegan(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open(t, declare(thingNamed("a")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Up(ctx, nil); !errors.Is(err, engine.ErrCancelled) || !strings.HasPrefix(err.Error(), `up of stack "alpha": cancelled before it was complete`) {
		t.Errorf("error: %v", err)
	}
	want(t, "things", b.names(), []string(nil))
	run(t, s.Up)
	want(t, "things", b.names(), []string{"a"})
}

// waitForLog waits until pulumi has printed the text in its only run so far.
func (b *bench) waitForLog(t *testing.T, text string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); ; {
		runs, err := os.ReadDir(filepath.Join(b.options.Home, "runs", "alpha"))
		if err != nil {
			t.Fatal(err)
		}
		log := engineLog(engine.Summary{Dir: filepath.Join(b.options.Home, "runs", "alpha", runs[0].Name())})
		if strings.Contains(log, text) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("engine.log never had %q:\n%s", text, log)
		}
	}
}

func TestStoppedAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	release := b.block("b")
	defer release()
	kill := make(chan struct{})
	s := b.open(t, declare(thingNamed("a"), thingNamed("b")), func(o *engine.Options) { o.Kill = kill })
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := s.Up(ctx, nil)
		result <- err
	}()
	<-b.reached
	cancel()
	close(kill)
	begun := time.Now()
	if err := <-result; !errors.Is(err, engine.ErrCancelled) {
		t.Fatalf("error: %v", err)
	}
	t.Logf("stopping at once took %v", time.Since(begun))
	release()
	summary, events := run(t, b.open(t, declare(thingNamed("a"), thingNamed("b"))).Up)
	want(t, "changes of the next up", summary.Changes, changes(engine.OpSame, 1, engine.OpCreate, 1))
	noWarnings(t, events)
}

// TestKilled ends pulumi with SIGKILL in the middle: its lock and the operation it was in stay behind.
func TestKilled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	release := b.block("b")
	defer release()
	s := b.open(t, declare(thingNamed("a"), thingNamed("b")))
	result := make(chan error, 1)
	go func() {
		_, err := s.Up(t.Context(), nil)
		result <- err
	}()
	<-b.reached

	locked, err := b.open(t, declare()).Up(t.Context(), nil)
	var held *engine.LockedError
	if !errors.As(err, &held) || held.Stack != "alpha" || held.PID == 0 || time.Since(held.Since) > time.Minute {
		t.Fatalf("up while another works on the stack: %v %v", locked, err)
	}
	host, _ := os.Hostname()
	want(t, "host that holds the lock", held.Host, host)
	if !strings.Contains(err.Error(), `stack "alpha" is being changed by process `+strconv.Itoa(held.PID)) {
		t.Errorf("error: %v", err)
	}

	// A terminal's Ctrl-C goes to our whole group, and must not reach pulumi a second time.
	if group, err := syscall.Getpgid(held.PID); err != nil || group != held.PID {
		t.Errorf("pulumi %d is in group %d: %v", held.PID, group, err)
	}
	if err := syscall.Kill(held.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err == nil || err.Error() != "up: pulumi was ended by a signal (killed); run the command again" {
		t.Errorf("error: %v", err)
	}
	release()
	if _, err := os.Stat(held.Lock); err != nil {
		t.Fatalf("the lock of the killed run: %v", err)
	}
	summary, events := run(t, s.Up)
	want(t, "changes of the next up", summary.Changes, changes(engine.OpSame, 1, engine.OpCreate, 1))
	noWarnings(t, events)
	want(t, "things", b.names(), []string{"a", "b"})
}

// TestHalfWritten leaves what a pulumi does that is killed while it writes the state, and its copy of the one before.
func TestHalfWritten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open(t, declare(thingNamed("a")))
	run(t, s.Up)
	dir := filepath.Join(b.options.Home, "state", ".pulumi", "stacks", "test")
	left := []string{"alpha.json.18ea2abc794567a8.tmp", "alpha.json.bak.18ea2abc794567a9.tmp"}
	others := []string{"alpha.json.json.18ea2abc794567a8.tmp", "beta.json.18ea2abc794567a8.tmp"}
	for _, name := range append(left, others...) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(`{"version": 3,`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lock := filepath.Join(b.options.Home, "state", ".pulumi", "locks", "organization", "test", "alpha", "held.json")
	if err := os.WriteFile(lock, []byte(`{"pid": 1, "hostname": "elsewhere"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	there := func(when string, names []string) {
		t.Helper()
		for _, name := range append(left, others...) {
			_, err := os.Stat(filepath.Join(dir, name))
			want(t, name+" is there "+when, err == nil, slices.Contains(names, name))
		}
	}

	var held *engine.LockedError
	if _, err := s.Up(t.Context(), nil); !errors.As(err, &held) {
		t.Fatalf("up of a locked stack: %v", err)
	}
	there("while somebody may be writing it", append(left, others...))
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	run(t, s.Destroy)
	there("when nobody is", others)
}

// noWarnings fails on any diagnostic: pulumi would warn of pending operations.
func noWarnings(t *testing.T, events []engine.Event) {
	t.Helper()
	for _, e := range events {
		if e.Kind == engine.KindDiagnostic {
			t.Errorf("%s: %s", e.Severity, e.Message)
		}
	}
}

func TestLocks(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open(t, declare(thingNamed("a")))
	run(t, s.Up)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	unreaped := exec.Command("true")
	if err := unreaped.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unreaped.Wait() }()

	for name, test := range map[string]struct {
		pid  int
		host string
		held bool
	}{
		"dead":                  {ended.Process.Pid, host, false},
		"dead but not reaped":   {unreaped.Process.Pid, host, false},
		"number of another one": {os.Getpid(), host, false},
		"on another host":       {ended.Process.Pid, "elsewhere", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(b.options.Home, "state", ".pulumi", "locks", "organization", "test", "alpha")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			data, err := json.Marshal(map[string]any{"pid": test.pid, "username": "ann", "hostname": test.host, "timestamp": time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			lock := filepath.Join(dir, "left-behind.json")
			if err := os.WriteFile(lock, data, 0o600); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.Remove(lock) }()
			summary, err := s.Up(t.Context(), nil)
			var locked *engine.LockedError
			switch {
			case test.held && (!errors.As(err, &locked) || locked.User != "ann" || locked.Host != "elsewhere" || locked.Lock != lock):
				t.Errorf("error: %v", err)
			case !test.held && err != nil:
				t.Errorf("error: %v\n%s", err, engineLog(summary))
			}
		})
	}
}
