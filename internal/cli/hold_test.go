package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
	"devctl/internal/engine"
)

// TestHeldStack: no command changes, or asks about, a stack that another one works on.
func TestHeldStack(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"up", "deploy", "refresh", "destroy", "etcd snapshot restore --latest"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var asked []string
			w.deps.hold = func(stack, command string) (func(), error) {
				asked = append(asked, stack, command)
				return nil, &engine.LockedError{Stack: stack, PID: 42, User: "alice", Host: "here", Since: testTime, Command: "devctl up"}
			}
			w.run(append(strings.Fields(args), "--yes")...).want(t, 1,
				`error: stack "local" is being changed by process 42 of alice on here since 2026-11-21T12:00:00Z (devctl up); wait for it, or end it with Ctrl-C`)
			command, _, _ := strings.Cut(args, " --")
			if d := cmp.Diff([]string{"local", command}, asked); d != "" {
				t.Error(d)
			}
			if w.touched() {
				t.Errorf("touched: %v", w.env.calls)
			}
		})
	}
}

// TestHeldToTheEnd: a stack is let go of when nothing more is done to it.
func TestHeldToTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.statuses = []api.Status{testStatus()}
	w.deps.hold = func(string, string) (func(), error) {
		w.env.calls = append(w.env.calls, "hold")
		return func() { w.env.calls = append(w.env.calls, "release") }, nil
	}
	w.run("up", "--yes").want(t, 0)
	if d := cmp.Diff([]string{"hold", "open", "preview", "up", "supervise", "release"}, w.env.calls); d != "" {
		t.Error(d)
	}
}
