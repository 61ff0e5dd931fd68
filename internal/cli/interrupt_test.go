package cli

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/engine"
	"devctl/internal/localcloud"
)

func TestInterruptedRuns(t *testing.T) {
	t.Parallel()
	begun := event(engine.KindStarted, engine.OpCreate, "local:NodeGroup", "data")
	failed := &engine.FailedError{Op: "up", Failures: []engine.Failure{
		{Type: "devctl:local:NodeGroup", Name: "worker", Op: engine.OpCreate, Message: "interrupted; not begun: worker-2"},
	}}
	for name, tc := range map[string]struct {
		args string
		fail error // beside the cancelling
		hard bool
		want []string
	}{
		"up": {args: "up --yes", want: []string{"cancelled: done so far: 2 created; the rest was not begun\n",
			"next: devctl up goes on where it stopped, devctl destroy removes what is there"}},
		"destroy": {args: "destroy --yes", want: []string{"cancelled: done so far: 2 created; the rest was not begun\n",
			"next: devctl destroy goes on where it stopped"}},
		"up in the middle of a group": {args: "up --yes", fail: failed, want: []string{
			"cancelled: done so far: 2 created; not complete:\n  create worker nodes: interrupted; not begun: worker-2\n", "next: devctl up goes on"}},
		"up stopped at once": {args: "up --yes", fail: failed, hard: true, want: []string{
			"cancelled: done so far: 2 created; may be half done: creating data nodes, creating worker nodes\n", "next: devctl up goes on"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.env.up, w.env.destroy, w.env.failCancelled = creation(), creation(), tc.fail
			ctx, cancel := context.WithCancel(t.Context())
			hard, kill := context.WithCancel(t.Context())
			w.deps.hard = hard
			until := func(text string) {
				for !strings.Contains(w.err.String(), text) {
					runtime.Gosched()
				}
			}
			if tc.hard {
				w.env.up = append(w.env.up, begun)
			}
			w.env.onRun = func(context.Context) {
				if slices.Equal(w.env.calls, []string{"open", "preview"}) {
					return // before up changes anything
				}
				cancel()
				until("Ctrl-C again stops at once")
				if tc.hard {
					kill()
					until("Stopping at once")
				}
			}
			w.runContext(ctx, strings.Fields(tc.args)...).want(t, 130, tc.want...)
		})
	}
}

// An interrupt is told once; the same words of the engine are news when nobody interrupted it.
func TestEngineRepeatsNoInterrupt(t *testing.T) {
	t.Parallel()
	for interrupted, want := range map[bool]string{true: "", false: "12:00:00 error: update canceled\n"} {
		w := newWorld(t)
		show := w.deps.display()
		view := runView{show: show, busy: map[string]engine.Event{}, interrupted: func() bool { return interrupted }}
		view.event(engine.Event{Kind: engine.KindDiagnostic, Severity: engine.SeverityError, Message: engineCancelled})
		show.Close()
		if got := w.err.String(); got != want {
			t.Errorf("interrupted %v: %q, want %q", interrupted, got, want)
		}
	}
}

// TestInterruptedWhileItChecks: before there is anything to say of the run, it says at least how to begin it again.
func TestInterruptedWhileItChecks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.deps.preflight = func(context.Context, localcloud.PreflightArgs) []error { cancel(); return nil }
	w.runContext(ctx, "up", "--yes").want(t, 130, "cancelled: interrupted\n", "next: devctl up begins again\n")
	if w.touched() {
		t.Errorf("touched: %v", w.env.calls)
	}
}

// TestInterruptedWhileItDeploys: the machines are there, and heal from then on.
func TestInterruptedWhileItDeploys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.cluster.onStatus = func(int) { cancel() }
	w.runContext(ctx, "up", "--yes").want(t, 130, "cancelled: interrupted\n",
		"next: the controllers go on by themselves: devctl status --watch shows how far they are\n")
	if d := cmp.Diff([]string{"open", "preview", "up", "supervise"}, w.env.calls); d != "" {
		t.Error(d)
	}
}
