package cli

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
	"devctl/internal/cli/output"
	"devctl/internal/engine"
	"devctl/stacks"
)

var testConfigs = map[api.Role]string{api.RoleMain: "m2", api.RoleWorker: "w2", api.RoleData: "d2"}

// agedStatus is the status of a stack in which one main, one worker and one data node were made before the last change.
func agedStatus() api.Status {
	st := testStatus()
	for i := range st.Nodes {
		n := &st.Nodes[i]
		n.Config = testConfigs[n.Role]
		if strings.HasSuffix(n.Name, "-2") {
			n.Config = "old"
		}
	}
	return st
}

// withConfigs are outputs with what the newest machines are made from.
func withConfigs(configs map[api.Role]string) map[string]engine.Output {
	out := engineOutputs(testOutputs())
	values := map[string]any{}
	for role, hash := range configs {
		values[string(role)] = hash
	}
	out["configs"] = engine.Output{Value: values}
	return out
}

func TestStatusMarksOutdatedNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.statuses, w.env.outputs = []api.Status{agedStatus()}, withConfigs(testConfigs)
	golden(t, "status/outdated.txt", w.run("status").want(t, 0).out)
	var st api.Status
	if err := json.Unmarshal([]byte(w.run("status", "-o", "json").want(t, 0).out), &st); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"main-2", "worker-2", "data-2"}, outdated(st.Nodes)); d != "" {
		t.Error(d)
	}
	w.env.outputs = withConfigs(nil) // of a stack that an older devctl brought up
	if r := w.run("status").want(t, 0); strings.Contains(r.out, "outdated") || strings.Contains(r.out, "older") {
		t.Errorf("marked without knowing:\n%s", r.out)
	}
}

// TestStatusSeesAnUpdateMeanwhile: who watches while somebody else runs up must not see the new machines as old ones.
func TestStatusSeesAnUpdateMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.statuses, w.env.outputs = []api.Status{agedStatus()}, withConfigs(map[api.Role]string{api.RoleMain: "old", api.RoleWorker: "old", api.RoleData: "old"})
	now := testTime
	w.deps.now = func() time.Time { return now }
	w.deps.global.dir = w.dir
	w.deps.global.stack = "local"
	c, err := w.deps.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func() []string {
		st, err := c.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return outdated(st.Nodes)
	}
	before := []string{"main-1", "main-3", "worker-1", "data-1", "data-3"}
	if d := cmp.Diff(before, ask()); d != "" {
		t.Error(d)
	}
	w.env.outputs = withConfigs(testConfigs)
	if d := cmp.Diff(before, ask()); d != "" {
		t.Errorf("the outputs are read for every status: %s", d)
	}
	now = now.Add(configsAge)
	if d := cmp.Diff([]string{"main-2", "worker-2", "data-2"}, ask()); d != "" {
		t.Error(d)
	}
}

func TestUpTellsWhichNodesAreOutdated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.statuses, w.env.outputs = []api.Status{agedStatus()}, withConfigs(testConfigs)
	r := w.run("up", "--yes").want(t, 0)
	const said = "\n3 nodes run an older machine configuration than the stack's: main-2, worker-2, data-2.\n  devctl up replaces them one by one\n"
	if !strings.Contains(r.out, said) {
		t.Errorf("stdout does not say %q:\n%s", said, r.out)
	}
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	d := newWorld(t).deps
	st := agedStatus()
	markOutdated(&st, testConfigs)
	for provider, want := range map[string][]string{
		stacks.ProviderLocal: {"devctl up replaces them one by one"},
		stacks.ProviderAWS: {
			"worker-2: AWS's instance refresh replaces them now, new ones first",
			"main-2, data-2: devctl roll replaces them one by one; AWS never does by itself",
		},
		stacks.ProviderDigitalOcean: {
			"worker-2: DigitalOcean's pool replaces them now",
			"main-2, data-2: devctl up --allow-replace main-2 replaces one; go on with the next when devctl status says healthy",
		},
	} {
		if diff := cmp.Diff(want, renewal(d, provider, st.Nodes)); diff != "" {
			t.Errorf("%s: %s", provider, diff)
		}
		none := slices.Clone(st.Nodes)
		for i := range none {
			none[i].Outdated = false
		}
		if got := renewal(d, provider, none); got != nil {
			t.Errorf("%s: nothing is outdated: %q", provider, got)
		}
	}
	if got := nodeState(api.NodeStatus{State: "degraded", Outdated: true}, output.Style{}); got != "degraded, outdated" {
		t.Errorf("state is %q", got)
	}
}
