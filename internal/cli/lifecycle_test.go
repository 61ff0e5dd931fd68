package cli

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
	"devctl/internal/cli/planview"
	"devctl/internal/engine"
	"devctl/internal/localcloud"
	"devctl/stacks"
)

func TestUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.up = creation()
	w.cluster.changed = true
	w.cluster.statuses = []api.Status{testStatus()}
	r := w.run("up", "--yes").want(t, 0)
	golden(t, "up.txt", r.out)
	golden(t, "up.log", r.err)
	if d := cmp.Diff([]string{"open", "preview", "up", "supervise"}, w.env.calls); d != "" {
		t.Error(d)
	}
}

func TestUpWithNothingToChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.statuses = []api.Status{testStatus()}
	r := w.run("up", "--yes").want(t, 0)
	if !strings.HasPrefix(r.out, "No changes: stack local is up, 8 nodes, 3 Redis shards.\n") {
		t.Errorf("stdout:\n%s", r.out)
	}
}

// TestUpUpdatesOnlyWhatIsToBeUpdated: the engine does not run again to find out what its preview has found out.
func TestUpUpdatesOnlyWhatIsToBeUpdated(t *testing.T) {
	t.Parallel()
	moved := testOutputs()
	moved.StatsURL = "http://198.18.0.10:7021/stats"
	for name, c := range map[string]struct {
		made    *stacks.Outputs
		preview []engine.Event
		want    []string
	}{
		"nothing":               {testOutputs(), nil, []string{"open", "preview", "supervise"}},
		"an output":             {moved, nil, []string{"open", "preview", "up", "supervise"}},
		"a resource":            {testOutputs(), []engine.Event{event(engine.KindPlanned, engine.OpUpdate, "local:NodeGroup", "worker")}, []string{"open", "preview", "up", "supervise"}},
		"what nobody knows yet": {nil, nil, []string{"open", "preview", "up", "supervise"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.env.made, w.env.preview = c.made, c.preview
			w.cluster.statuses = []api.Status{testStatus()}
			w.run("up", "--yes").want(t, 0)
			if d := cmp.Diff(c.want, w.env.calls); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestUpAsksOnATerminal(t *testing.T) {
	t.Parallel()
	plan := []engine.Event{event(engine.KindPlanned, engine.OpCreate, "local:Network", "network")}
	for answer, code := range map[string]int{"y": 0, "yes": 0, "n": 130, "": 130, "sure": 130} {
		w := newWorld(t).terminal(answer)
		w.env.preview, w.env.up = plan, creation()
		w.cluster.statuses = []api.Status{testStatus()}
		r := w.run("up").want(t, code, "+ create network", "Stack local: 1 to create.", "Make these changes to stack local? [y/N]")
		want := []string{"open", "preview", "up", "supervise"}
		if code != 0 {
			want = want[:2]
			r.want(t, code, "cancelled: nothing was changed")
		}
		if d := cmp.Diff(want, w.env.calls); d != "" {
			t.Errorf("answer %q: %s", answer, d)
		}
	}
}

func TestUpDoesNotAskWhenThereIsNothingToChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t).terminal()
	w.env.preview = []engine.Event{event(engine.KindPlanned, engine.OpSame, "local:Network", "network")}
	w.cluster.statuses = []api.Status{testStatus()}
	if r := w.run("up").want(t, 0); strings.Contains(r.err, "[y/N]") || !strings.Contains(r.out, "No changes") {
		t.Errorf("stdout:\n%s\nstderr:\n%s", r.out, r.err)
	}
}

func TestUpChecksEverythingFirst(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		prepare func(*world)
		code    int
		want    []string
	}{
		"spec": {func(w *world) {
			w.write("stacks/Pulumi.local.yaml", strings.Replace(localSpec, "count: 3", "count: 4", 1))
		}, 2, []string{"devctl:nodes.main.count", "nothing was touched"}},
		"neighbour": {func(w *world) { w.write("stacks/Pulumi.alpha.yaml", localSpec) }, 2, []string{"must not overlap", "alpha", "nothing was touched"}},
		"stack":     {func(w *world) { w.environ["DEVCTL_STACK"] = "locla" }, 2, []string{`stack "locla" does not exist`, "local"}},
		"machine": {func(w *world) {
			w.deps.preflight = func(context.Context, localcloud.PreflightArgs) []error {
				return []error{errors.New("no Docker engine answers: start it"), errors.New("the network overlaps: choose another")}
			}
		}, 1, []string{"not ready for stack \"local\", nothing was touched:\n  no Docker engine answers: start it\n  the network overlaps: choose another\n", "next: devctl doctor"}},
		"credentials": {func(w *world) {
			w.deps.credentials = func(context.Context, *stacks.Spec) error { return errors.New("there are no credentials; sign in") }
		}, 1, []string{"not ready for stack \"local\", nothing was touched:\n  there are no credentials; sign in\n", "next: devctl doctor"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.prepare(w)
			w.run("up", "--yes").want(t, tc.code, tc.want...)
			if w.touched() {
				t.Errorf("touched: %v", w.env.calls)
			}
		})
	}
}

func TestUpThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.exists = false
	w.env.up = creation()[:3]
	w.env.fail = &engine.FailedError{Op: "up", Dir: "/runs/1", Failures: []engine.Failure{
		{Type: "devctl:local:NodeGroup", Name: "main", Op: engine.OpCreate, Message: "main-1: unit etcd.service failed\nlast line of its log"},
		{Message: "the program stopped"},
	}}
	w.run("up", "--yes").want(t, 1,
		"error: up failed:\n  create main nodes: main-1: unit etcd.service failed\n    last line of its log\n  the program stopped\n",
		"next: devctl up goes on where it stopped; devctl doctor checks this machine; the log is in /runs/1\n")
	if len(w.cluster.deploys) != 0 {
		t.Error("deployed on a stack that failed")
	}
}

// TestDeploymentIsHandedOverWhileMachinesBoot: as soon as there are main nodes to talk to, and not before.
func TestDeploymentIsHandedOverWhileMachinesBoot(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		exists bool
		events []engine.Event
		early  bool
	}{
		"main nodes begin": {false, creation()[:3], true},
		"only the network": {false, creation()[:2], false},
		"it is not new":    {true, creation()[:3], false},
	} {
		w := newWorld(t)
		w.env.exists, w.env.made, w.env.up = tc.exists, testOutputs(), tc.events
		w.env.fail = errors.New("the machines do not come up")
		handed := make(chan struct{})
		w.cluster.onDeploy = sync.OnceFunc(func() { close(handed) })
		w.env.onRun = func(context.Context) {
			if tc.early {
				select {
				case <-handed:
				case <-time.After(10 * time.Second):
				}
			}
		}
		w.run("up", "--yes").want(t, 1)
		if early := len(w.cluster.deploys) > 0; early != tc.early {
			t.Errorf("%s: handed over: %v", name, early)
		}
	}
}

func TestUpOfAStackThatSomebodyElseChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.fail = &engine.LockedError{Stack: "local", PID: 42, User: "alice", Host: "here", Since: testTime, Lock: "/lock"}
	w.run("up", "--yes").want(t, 1, `stack "local" is being changed by process 42 of alice on here`)
}

func TestPreview(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.preview = []engine.Event{
		event(engine.KindPlanned, engine.OpSame, "local:Network", "network"),
		event(engine.KindPlanned, engine.OpCreate, "local:NodeGroup", "data"),
	}
	r := w.run("preview").want(t, 0)
	golden(t, "preview.txt", r.out)
	w.run("preview", "--detailed-exitcode").want(t, 2)
	var plan planview.Plan
	if err := json.Unmarshal([]byte(w.run("preview", "-o", "json").want(t, 0).out), &plan); err != nil || len(plan.Changes) != 1 || plan.Summary["create"] != 1 {
		t.Errorf("plan %+v, %v", plan, err)
	}
	w.env.preview = w.env.preview[:1]
	w.run("preview", "--detailed-exitcode").want(t, 0)
	for _, call := range w.env.calls {
		if call != "open" && call != "preview" {
			t.Errorf("preview called %s", call)
		}
	}
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("refresh", "--yes").want(t, 0, "No changes: stack local is as its state says.")
	w.env.refresh = []engine.Event{
		event(engine.KindFinished, engine.OpSame, "local:Network", "network"),
		event(engine.KindFinished, engine.OpUpdate, "local:NodeGroup", "data"),
	}
	w.run("refresh", "--yes").want(t, 0, "data nodes: not as they were", "devctl up repairs it.")
	w.env.exists = false
	w.run("refresh", "--yes").want(t, 1, `stack "local" is not up`, "next: devctl up")
}

func TestDestroy(t *testing.T) {
	t.Parallel()
	for typed, code := range map[string]int{"local": 0, "loca": 130, "y": 130, "": 130} {
		w := newWorld(t).terminal(typed)
		r := w.run("destroy").want(t, code, "This removes stack local with all of its data: 8 nodes on local.\nType the name of the stack to go on: ")
		if code != 0 {
			r.want(t, code, "nothing was changed")
			if w.touched() {
				t.Errorf("typed %q: touched %v", typed, w.env.calls)
			}
			continue
		}
		r.want(t, 0, "Stack local is gone, nothing of it is left.")
		if d := cmp.Diff([]string{"open", "destroy", "remove"}, w.env.calls); d != "" {
			t.Error(d)
		}
	}
}

// TestDestroyRemovesWhatNoStateKnows: what a killed run made, with a state, with a spec only, and with neither.
func TestDestroyRemovesWhatNoStateKnows(t *testing.T) {
	t.Parallel()
	const said = "Removing what is left of stack local and in no state: container devctl-local-data-1, network devctl-local."
	for name, tc := range map[string]struct {
		prepare func(*world)
		calls   []string
	}{
		"state":    {func(*world) {}, []string{"open", "destroy", "sweep", "remove"}},
		"no state": {func(w *world) { w.env.exists = false }, []string{"open", "sweep"}},
		"no state and no usable spec": {func(w *world) {
			w.env.exists = false
			w.write("stacks/Pulumi.local.yaml", "no: spec\n")
		}, []string{"open", "sweep"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.env.leftover = []string{"container devctl-local-data-1", "network devctl-local"}
			tc.prepare(w)
			w.run("destroy", "--yes").want(t, 0, said, "Stack local is gone, nothing of it is left.")
			if d := cmp.Diff(tc.calls, w.env.calls); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDestroyTellsWhatIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.leftover, w.env.stubborn = []string{"container devctl-local-data-1", "network devctl-local"}, true
	w.run("destroy", "--yes", "--purge-cache").want(t, 1,
		"remove what is left of stack \"local\": there is still:\n  container devctl-local-data-1\n  network devctl-local\n", "next: devctl destroy tries again")
	if d := cmp.Diff([]string{"open", "destroy", "sweep"}, w.env.calls); d != "" {
		t.Error(d)
	}
}

func TestDestroyWithoutDocker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deps.leftovers = func(context.Context, string) ([]string, error) { return nil, errors.New("no Docker engine answers") }
	w.run("destroy", "--yes").want(t, 1, "error: nothing was touched: no Docker engine answers", "next: devctl doctor")
	if w.touched() {
		t.Error("something was touched")
	}
}

// TestCommandsForLocalNodes: there is no looking into machines of a cloud as if they were containers.
func TestCommandsForLocalNodes(t *testing.T) {
	t.Parallel()
	aws, err := os.ReadFile("../../stacks/Pulumi.aws.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"exec main-1 -- true", "ssh main-1", "logs main-1", "logs etcd"} {
		w := newWorld(t)
		w.write("stacks/Pulumi.local.yaml", string(aws))
		w.run(strings.Fields(command)...).want(t, 1, `error: the nodes of stack "local" are machines on AWS: this command is for local stacks`, "next: ssh core@ADDRESS")
		if w.touched() {
			t.Errorf("%s touched something", command)
		}
	}
}

func TestMessagesDuringProgressDoNotTearIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.onRun = func(context.Context) { w.deps.say("The passphrase is in a file.") }
	w.run("preview").want(t, 0, "12:00:00 The passphrase is in a file.\n")
}

func TestDestroyOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.exists = false
	w.run("destroy", "--yes", "--purge-cache").want(t, 0, "Nothing to destroy: stack local is not up", "Cached images and volumes are gone")
	if d := cmp.Diff([]string{"open", "purge"}, w.env.calls); d != "" {
		t.Error(d)
	}
}

func TestDestroyWithoutAUsableSpec(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("stacks/Pulumi.local.yaml", "no: spec\n")
	w.run("destroy", "--yes").want(t, 0, "warning: ", "going by the state of stack local", "Stack local is gone")
	w.env.exists, w.env.calls = false, nil
	w.run("destroy", "--yes").want(t, 2)
	if w.touched() {
		t.Errorf("touched: %v", w.env.calls)
	}
}

func TestStackList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("stacks/Pulumi.alpha.yaml", localSpec)
	w.write("stacks/Pulumi.broken.yaml", "no: spec\n")
	w.deps.list = func(context.Context) ([]engine.StackInfo, error) {
		return []engine.StackInfo{
			{Name: "gone", LastUpdate: testTime, Resources: 12},
			{Name: "local", LastUpdate: testTime, Resources: 12},
			{Name: "alpha", Resources: 1},
			{Name: "previewed", Resources: 0},
		}, nil
	}
	var got []stackView
	if err := json.Unmarshal([]byte(w.run("stack", "ls", "-o", "json").want(t, 0).out), &got); err != nil {
		t.Fatal(err)
	}
	updated := testTime
	want := []stackView{
		{Name: "alpha", Provider: "local", State: "not created", Nodes: 8, Spec: "ok"},
		{Name: "broken", State: "not created", Spec: "invalid"},
		{Name: "gone", State: "created", Updated: &updated, Spec: "missing"},
		{Name: "local", Provider: "local", State: "created", Nodes: 8, Updated: &updated, Spec: "ok", Selected: true},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestQuietLeavesDataOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.up = creation()
	w.cluster.statuses = []api.Status{testStatus()}
	r := w.run("up", "--yes", "-q").want(t, 0)
	if r.err != "" || r.out == "" {
		t.Errorf("stdout:\n%s\nstderr:\n%s", r.out, r.err)
	}
}

func TestHealthGate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.statuses = []api.Status{brokenStatus(), deploying(5), testStatus()}
	outputs := func() (*stacks.Outputs, error) { return testOutputs(), nil }
	gate := gate(w.deps, outputs, healing)
	if err := gate(t.Context(), api.Identity{Name: "data-3"}); err != nil {
		t.Error(err)
	}
	if w.cluster.asked != 3 {
		t.Errorf("asked %d times", w.cluster.asked)
	}
	w.cluster.statuses = append(slices.Repeat([]api.Status{brokenStatus()}, healTell), testStatus())
	if err := gate(t.Context(), api.Identity{Name: "data-3"}); err != nil {
		t.Error(err)
	}
	const told = "data-3: waiting until the stack is healthy again:\n" +
		"  data-3 has been silent for 1m15s\n  redis-2.service on data-2 is activating (auto-restart)\n  Redis has no replica of slots 5461-10922.\n"
	if got := w.err.String(); got != told {
		t.Errorf("told %q, want %q", got, told)
	}
	nothing := api.Status{Nodes: testStatus().Nodes}
	one, unknown := api.Identity{Name: "data-1"}, api.Identity{Name: "data-9"}
	if !healthyWith(nothing, one) || healthyWith(nothing, unknown) || healthyWith(brokenStatus(), one) {
		t.Error("healthyWith is wrong")
	}
}

// TestSpares asks which node of a stack may be taken away.
func TestSpares(t *testing.T) {
	t.Parallel()
	change := func(f func(*api.Status)) api.Status {
		st := testStatus()
		f(&st)
		return st
	}
	without := func(name string) func(*api.Status) {
		return func(st *api.Status) {
			st.Nodes = slices.DeleteFunc(st.Nodes, func(n api.NodeStatus) bool { return n.Name == name })
		}
	}
	shard := testStatus().Redis.Shards[0]
	for name, test := range map[string]struct {
		st   api.Status
		node api.Identity
		want bool
	}{
		"a main of three":                   {testStatus(), api.Identity{Name: "main-1", Role: api.RoleMain}, true},
		"a main while another is away":      {change(func(st *api.Status) { st.Etcd.Healthy = 2 }), api.Identity{Name: "main-1", Role: api.RoleMain}, false},
		"the main that is away":             {change(func(st *api.Status) { st.Etcd.Healthy = 2; without("main-1")(st) }), api.Identity{Name: "main-1", Role: api.RoleMain}, true},
		"a data node":                       {testStatus(), api.Identity{Name: shard.Primary.Node, Role: api.RoleData}, true},
		"a primary whose replica lags":      {change(func(st *api.Status) { st.Redis.Shards[0].Replicas[0].InSync = false }), api.Identity{Name: shard.Primary.Node, Role: api.RoleData}, false},
		"the replica that lags":             {change(func(st *api.Status) { st.Redis.Shards[0].Replicas[0].InSync = false }), api.Identity{Name: shard.Replicas[0].Node, Role: api.RoleData}, true},
		"a replica whose primary is gone":   {change(func(st *api.Status) { st.Redis.Shards[0].Primary = api.ShardMember{} }), api.Identity{Name: shard.Replicas[0].Node, Role: api.RoleData}, false},
		"a data node with Redis unknown":    {change(func(st *api.Status) { st.Redis = api.RedisStatus{State: "fail"} }), api.Identity{Name: "data-1", Role: api.RoleData}, false},
		"a data node before any deployment": {api.Status{}, api.Identity{Name: "data-1", Role: api.RoleData}, true},
		"a worker":                          {testStatus(), api.Identity{Name: "worker-1", Role: api.RoleWorker}, true},
		"the last worker":                   {change(without("worker-2")), api.Identity{Name: "worker-1", Role: api.RoleWorker}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := spares(test.st, test.node); got != test.want {
				t.Errorf("spares = %v", got)
			}
		})
	}
}
