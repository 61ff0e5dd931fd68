package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
	"devctl/stacks"
)

// rollWorld is a stack on AWS in which main-2, worker-2 and data-2 are outdated, with the groups that keep its machines. A machine
// that is ended is missed by the controllers, and another one is there some polls later.
type rollWorld struct {
	*world
	asked  []string // of Auto Scaling
	polls  int      // until a machine is back
	away   api.NodeStatus
	whole  api.Status // before a machine went
	onEnd  func()     // a machine was ended
	refuse error      // of ending one
	back   func(*api.NodeStatus) bool
	slot   func(node string) (id, state string, err error) // nil: the machine that the controllers see
}

func newRollWorld(t *testing.T) *rollWorld {
	t.Helper()
	w := &rollWorld{world: newWorld(t)}
	w.write("stacks/Pulumi.prod.yaml", exampleSpecs[stacks.ProviderAWS])
	w.environ["DEVCTL_STACK"] = "prod"
	w.cluster.statuses, w.env.outputs = []api.Status{agedStatus()}, withConfigs(testConfigs)
	w.deps.slots = func(context.Context, *stacks.Spec) (slots, error) { return w, nil }
	w.back = func(n *api.NodeStatus) bool {
		n.ID, n.Config = "i-new-"+n.Name, testConfigs[n.Role]
		return true
	}
	w.cluster.onStatus = func(int) {
		if w.away.Name == "" {
			return
		}
		if w.polls--; w.polls > 0 {
			return
		}
		if w.back(&w.away) {
			st := w.whole
			st.Nodes = slices.Clone(st.Nodes)
			st.Nodes[slices.IndexFunc(st.Nodes, func(n api.NodeStatus) bool { return n.Name == w.away.Name })] = w.away
			w.cluster.statuses, w.away = []api.Status{st}, api.NodeStatus{}
		}
	}
	return w
}

func (w *rollWorld) Machine(_ context.Context, node api.Identity) (id, state string, err error) {
	w.asked = append(w.asked, "find "+node.Name)
	if w.slot != nil {
		return w.slot(node.Name)
	}
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	n, live := nodeOf(w.cluster.statuses[0], node.Name)
	if !live {
		return "i-pending", "Pending", nil
	}
	return n.ID, "InService", nil
}

func (w *rollWorld) Replace(_ context.Context, machine string) error {
	w.asked = append(w.asked, "end "+machine)
	if w.refuse != nil {
		return w.refuse
	}
	w.cluster.mu.Lock()
	defer w.cluster.mu.Unlock()
	if w.away.Name != "" {
		w.t.Errorf("%s is ended while %s is away", machine, w.away.Name)
	}
	w.whole = w.cluster.statuses[0]
	st := w.whole
	i := slices.IndexFunc(st.Nodes, func(n api.NodeStatus) bool { return n.ID == machine })
	w.away, w.polls = st.Nodes[i], 3
	st.Nodes = slices.Delete(slices.Clone(st.Nodes), i, i+1)
	st.Healthy, st.Problems = false, []string{w.away.Name + " does not beat."}
	w.cluster.statuses = []api.Status{st}
	if w.onEnd != nil {
		w.onEnd()
	}
	return nil
}

func (w *rollWorld) wantAsked(want ...string) {
	w.t.Helper()
	if d := cmp.Diff(want, w.asked); d != "" {
		w.t.Errorf("Auto Scaling was asked otherwise (-want +got):\n%s", d)
	}
}

const (
	endMain2 = "end main20123456789abcdef"
	endData2 = "end data20123456789abcdef"
)

func TestRoll(t *testing.T) {
	t.Parallel()
	w := newRollWorld(t)
	r := w.run("roll", "--yes").want(t, 0)
	golden(t, "roll.txt", r.err)
	if r.out != "" {
		t.Errorf("stdout:\n%s", r.out)
	}
	w.wantAsked("find main-2", endMain2, "find data-2", endData2)
	w.asked = nil
	if r := w.run("roll", "--yes").want(t, 0); r.err != "No changes: no main or data node of stack prod runs an older machine configuration than the stack's.\n" {
		t.Errorf("stderr:\n%s", r.err)
	}
	w.wantAsked()
	// Who is named is replaced, in the order of the names, and once.
	w.run("roll", "--yes", "data-3", "main-1", "data-3").want(t, 0)
	w.wantAsked("find data-3", "end data30123456789abcdef", "find main-1", "end main10123456789abcdef")
}

func TestRollAsks(t *testing.T) {
	t.Parallel()
	w := newRollWorld(t)
	w.terminal("n")
	w.run("roll").want(t, exitCancelled, "main-2\n", "people notice a short pause: each primary there hands over to a replica before its node goes", "Replace 2 nodes of stack prod, one by one? [y/N]", "nothing was changed")
	w.wantAsked()
}

func TestRollWaitsForTheOthers(t *testing.T) {
	t.Parallel()
	w := newRollWorld(t)
	bad := agedStatus()
	bad.Etcd.Healthy = 2 // another main is away
	good := w.cluster.statuses[0]
	w.cluster.statuses = []api.Status{bad, bad, bad, good}
	w.run("roll", "--yes", "main-2").want(t, 0)
	w.wantAsked("find main-2", endMain2)
	if w.cluster.asked < 4+3 {
		t.Errorf("the controllers were asked %d times", w.cluster.asked)
	}
}

// TestRollStops checks that a roll ends at the first node that something is wrong with, and leaves the rest alone.
func TestRollStops(t *testing.T) {
	t.Parallel()
	never := func(*api.NodeStatus) bool { return false }
	for name, tc := range map[string]struct {
		change func(*rollWorld)
		asked  []string
		want   []string
	}{
		"not back": {func(w *rollWorld) { w.back = never }, []string{"find main-2", endMain2, "find main-2"}, []string{
			"error: replace main-2: waited 60ms until it is back and the stack is healthy:\n  main-2 does not beat.\n  its slot has i-pending (Pending), and no machine says that it is main-2\n  not begun: data-2\n",
			"next: devctl -s prod status --watch shows when the stack is healthy again, then devctl -s prod roll goes on\n"}},
		"back as it was": {func(w *rollWorld) {
			w.back = func(n *api.NodeStatus) bool { n.ID = "i-new"; return true }
		}, []string{"find main-2", endMain2, "find main-2"}, []string{"its slot has i-new (InService), and i-new has joined with configuration old instead of m2\n  not begun: data-2\n"}},
		"back and not healthy": {func(w *rollWorld) {
			back := w.back
			w.back = func(n *api.NodeStatus) bool {
				w.whole.Healthy, w.whole.Problems = false, []string{"data-3 does not beat."}
				return back(n)
			}
		}, []string{"find main-2", endMain2, "find main-2"}, []string{"\n  data-3 does not beat.\n  its slot has i-new-main-2 (InService), and i-new-main-2 has joined and is ready, units 4/4\n  not begun: data-2\n"}},
		"denied": {func(w *rollWorld) {
			w.refuse = errors.New("the permission autoscaling:TerminateInstanceInAutoScalingGroup is missing: AccessDenied (403): no")
		}, []string{"find main-2", endMain2}, []string{"error: replace main-2: the permission autoscaling:TerminateInstanceInAutoScalingGroup is missing"}},
		"an empty slot": {func(w *rollWorld) { w.slot = func(string) (string, string, error) { return "", "", nil } },
			[]string{"find main-2"}, []string{"error: replace main-2: there is no machine in its slot: AWS has to make one first\n  not begun: data-2\n"}},
		"replaced already": {func(w *rollWorld) { w.slot = func(string) (string, string, error) { return "i-other", "Pending", nil } },
			[]string{"find main-2"}, []string{"error: replace main-2: its slot has i-other, but main20123456789abcdef says that it is main-2: it is being replaced already"}},
		"nobody answers": {func(w *rollWorld) { w.cluster.failures = []error{errors.New("no controller answered")} }, nil,
			[]string{`error: reach stack "prod": no controller answered`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newRollWorld(t)
			tc.change(w)
			w.run("roll", "--yes", "--timeout", "60ms").want(t, exitFailed, tc.want...)
			w.wantAsked(tc.asked...)
		})
	}
}

func TestRollInterrupted(t *testing.T) {
	t.Parallel()
	w := newRollWorld(t)
	ctx, interrupt := context.WithCancel(t.Context())
	w.onEnd = func() {
		interrupt()
		for !strings.Contains(w.err.String(), "Interrupted") { // it is told beside the roll
			time.Sleep(time.Millisecond)
		}
	}
	w.runContext(ctx, "roll", "--yes").want(t, exitCancelled, "Interrupted: finishing main-2, so that nothing is left half done. Ctrl-C again stops at once.",
		"replaced main-2 by i-new-main-2 in ", "cancelled: replaced so far: main-2; not begun: data-2\n", "next: devctl -s prod status shows when the stack is healthy, then devctl -s prod roll goes on\n")
	w.wantAsked("find main-2", endMain2)

	w = newRollWorld(t)
	w.back = func(*api.NodeStatus) bool { return false }
	hard, stop := context.WithCancel(t.Context())
	soft, interrupt := context.WithCancel(hard)
	defer interrupt()
	w.deps.hard, w.onEnd = hard, stop
	w.runContext(soft, "roll", "--yes").want(t, exitCancelled, "cancelled: replaced so far: none; AWS still replaces main-2; not begun: data-2\n")

	w = newRollWorld(t)
	st := w.cluster.statuses[0]
	st.Etcd.Healthy = 2
	w.cluster.statuses = []api.Status{st}
	ctx, interrupt = context.WithCancel(t.Context())
	inner := w.cluster.onStatus
	w.cluster.onStatus = func(asked int) {
		inner(asked)
		if asked == 4 {
			interrupt()
		}
	}
	w.runContext(ctx, "roll", "--yes").want(t, exitCancelled, "cancelled: replaced so far: none; not begun: main-2, data-2\n")
	w.wantAsked()
}

func TestRollElsewhere(t *testing.T) {
	t.Parallel()
	w := newRollWorld(t)
	w.write("stacks/Pulumi.do.yaml", exampleSpecs[stacks.ProviderDigitalOcean])
	for args, want := range map[string]struct {
		code int
		said []string
	}{
		"-s local roll":           {exitFailed, []string{`the nodes of stack "local" are on this machine: up itself replaces those that are outdated, one by one`, "next: devctl up\n"}},
		"-s do roll main-3":       {exitFailed, []string{`the nodes of stack "do" are droplets: up replaces the one that it is given`, "next: devctl -s do up --allow-replace main-3\n"}},
		"-s do roll":              {exitFailed, []string{"next: devctl -s do up --allow-replace NODE\n"}},
		"roll dta-2":              {exitUsage, []string{`stack "prod" has no main or data node "dta-2"; did you mean "data-2"?`, "next: devctl roll --help"}},
		"roll worker-0a1b2c3d":    {exitUsage, []string{"worker-0a1b2c3d is a worker: AWS's instance refresh replaces workers by itself"}},
		"-s do roll worker-1":     {exitUsage, []string{"worker-1 is a worker: DigitalOcean's pool replaces workers by itself"}},
		"roll --timeout 0s":       {exitUsage, []string{`--timeout does not take "0s"`}},
		"-s local roll worker-12": {exitUsage, []string{"worker-12 is a worker: up replaces it when its configuration changes"}},
	} {
		w.run(append(strings.Fields(args), "--yes")...).want(t, want.code, want.said...)
	}
	w.wantAsked()
}

// TestNothingSparesTheOnlyCopy: where no copy will ever be, nobody waits for one.
func TestNothingSparesTheOnlyCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alone := testStatus()
	alone.Redis.Replicas = 0
	for i := range alone.Redis.Shards {
		alone.Redis.Shards[i].Replicas = nil
	}
	outputs := func() (*stacks.Outputs, error) { return testOutputs(), nil }
	node := api.Identity{Name: "data-1", Role: api.RoleData}
	w.cluster.statuses = []api.Status{alone}
	const want = "no other node is to have a copy of the Redis slots 0-5460, so nothing was done to data-1: " +
		`with devctl:redis.replicas above 0 "devctl deploy" gives every shard one, then try again`
	if err := gate(w.deps, outputs, sparing)(t.Context(), node); err == nil || err.Error() != want {
		t.Errorf("error = %v\nwant    %s", err, want)
	}
	// While something goes on a copy may come.
	unsettled := alone
	unsettled.Settled = false
	w.cluster.statuses = []api.Status{unsettled, testStatus()}
	if err := gate(w.deps, outputs, sparing)(t.Context(), node); err != nil {
		t.Error(err)
	}
}
