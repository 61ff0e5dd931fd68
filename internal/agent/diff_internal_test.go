package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	running  = unitState{Known: true, Active: "active", Sub: "running"}
	starting = unitState{Known: true, Active: "activating", Sub: "auto-restart"}
	stopping = unitState{Known: true, Active: "deactivating", Sub: "stop"}
	stopped  = unitState{Known: true, Active: "inactive", Sub: "dead"}
	failed   = unitState{Known: true, Active: "failed", Sub: "failed"}
	unknown  = unitState{Active: "inactive", Sub: "dead"}
)

func TestDiff(t *testing.T) {
	t.Parallel()
	const unit = "redis-1.service"
	done := map[string]applied{unit: {Hash: "h1", Content: "c1"}}
	same := map[string]wanted{unit: {Hash: "h1", Content: "c1"}}
	for _, tc := range []struct {
		name  string
		want  map[string]wanted
		owned map[string]applied
		live  unitState
		again bool
		tasks []task
	}{
		{name: "nothing wanted, nothing owned"},
		{name: "new", want: same, live: unknown,
			tasks: []task{{install, unit, "it is new on this node"}}},
		{name: "as it should be", want: same, owned: done, live: running, again: true},
		{name: "agent stopped in the middle", want: same, owned: map[string]applied{unit: {}}, live: unknown,
			tasks: []task{{install, unit, "it was not installed to the end"}}},
		{name: "changed", want: map[string]wanted{unit: {Hash: "h2", Content: "c2"}}, owned: done, live: running,
			tasks: []task{{install, unit, "its assignment changed"}}},
		{name: "secret changed", want: map[string]wanted{unit: {Hash: "h1", Content: "c2"}}, owned: done, live: running,
			tasks: []task{{install, unit, "a secret in its files changed"}}},
		{name: "unit file deleted by hand", want: same, owned: done, live: unknown,
			tasks: []task{{install, unit, "its unit file is gone"}}},
		{name: "stopped by hand, just now", want: same, owned: done, live: stopped},
		{name: "stopped by hand", want: same, owned: done, live: stopped, again: true,
			tasks: []task{{start, unit, "it is inactive"}}},
		{name: "given up by systemd", want: same, owned: done, live: failed, again: true,
			tasks: []task{{start, unit, "it is failed"}}},
		{name: "systemd restarts it", want: same, owned: done, live: starting, again: true},
		{name: "its job has not run yet", want: same, owned: done, again: true,
			live: unitState{Known: true, Active: "inactive", Job: "start"}},
		{name: "cannot be made now: new", want: map[string]wanted{unit: {Hash: "h1", Broken: true}}, live: unknown, again: true},
		{name: "cannot be made now: changed", want: map[string]wanted{unit: {Hash: "h2", Broken: true}}, owned: done, live: running, again: true},
		{name: "withdrawn while it runs", owned: done, live: running,
			tasks: []task{{stop, unit, "it is not assigned any more"}}},
		{name: "withdrawn while it crashes", owned: done, live: starting,
			tasks: []task{{stop, unit, "it is not assigned any more"}}},
		{name: "withdrawn, stop is queued", owned: done, live: unitState{Known: true, Active: "active", Job: "stop"}},
		{name: "withdrawn, stopping", owned: done, live: stopping},
		{name: "withdrawn, stopped", owned: done, live: stopped,
			tasks: []task{{remove, unit, "it is not assigned any more, and has stopped"}}},
		{name: "withdrawn before it was installed to the end", owned: map[string]applied{unit: {}}, live: unknown,
			tasks: []task{{remove, unit, "it is not assigned any more, and has stopped"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := diff(tc.want, tc.owned, map[string]unitState{unit: tc.live}, tc.again)
			if d := cmp.Diff(tc.tasks, got); d != "" {
				t.Errorf("tasks (-want +got):\n%s", d)
			}
		})
	}
}

func TestDiffOrder(t *testing.T) {
	t.Parallel()
	got := diff(
		map[string]wanted{"redis-2.service": {Hash: "h"}, "redis-1.service": {Hash: "h"}},
		map[string]applied{"redis-9.service": {Hash: "h"}, "redis-8.service": {Hash: "h"}},
		map[string]unitState{"redis-9.service": running, "redis-8.service": stopped}, false)
	var order []string
	for _, x := range got {
		order = append(order, string(x.Kind)+" "+x.Unit)
	}
	want := []string{"remove redis-8.service", "stop redis-9.service", "install redis-1.service", "install redis-2.service"}
	if d := cmp.Diff(want, order); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
}

func TestActive(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ state, job, want string }{
		{"active", "", "active"},
		{"active", "restart", "activating"},
		{"active", "start", "activating"},
		{"active", "stop", "deactivating"},
		{"active", "reload", "active"},
		{"failed", "restart", "failed"},
	} {
		if got := active(unitState{Active: tc.state, Job: tc.job}); got != tc.want {
			t.Errorf("%s with job %q is %s, want %s", tc.state, tc.job, got, tc.want)
		}
	}
}
