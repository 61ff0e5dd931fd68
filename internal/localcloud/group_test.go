package localcloud

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	g := Group{Stack: "alpha", Role: api.RoleData, Nodes: alpha.identities(api.RoleData, 3), Config: "now"}
	right := func(i int) Node {
		id := g.Nodes[i]
		return Node{Name: id.Name, ID: "id-" + id.Name, Fingerprint: g.Fingerprint(id), Running: true, Ready: true}
	}
	with := func(n Node, change func(*Node)) Node { change(&n); return n }
	tests := map[string]struct {
		have []Node
		want []string // kind and node
	}{
		"nothing exists":      {nil, []string{"create data-1", "create data-2", "create data-3"}},
		"everything is right": {[]Node{right(0), right(1), right(2)}, nil},
		"one is missing":      {[]Node{right(0), right(2)}, []string{"create data-2"}},
		"one is stopped": {
			[]Node{right(0), with(right(1), func(n *Node) { n.Running = false }), right(2)}, []string{"start data-2"},
		},
		"one was interrupted before its start": {
			[]Node{right(0), right(1), with(right(2), func(n *Node) { n.Running, n.Ready = false, false })}, []string{"replace data-3"},
		},
		"one was interrupted in its boot": {
			[]Node{right(0), right(1), with(right(2), func(n *Node) { n.Ready = false })}, []string{"await data-3"},
		},
		"one is of another config": {
			[]Node{right(0), with(right(1), func(n *Node) { n.Fingerprint = "then" }), right(2)}, []string{"replace data-2"},
		},
		"stopped and of another config": {
			[]Node{right(0), with(right(1), func(n *Node) { n.Fingerprint, n.Running = "then", false }), right(2)}, []string{"replace data-2"},
		},
		"two too many": {
			[]Node{right(0), right(1), right(2), {Name: "data-4"}, {Name: "data-5"}}, []string{"remove data-4", "remove data-5"},
		},
		"what exists comes back before anything is taken away": {
			[]Node{with(right(0), func(n *Node) { n.Fingerprint = "then" }), with(right(1), func(n *Node) { n.Running = false }), {Name: "data-4"}},
			[]string{"start data-2", "create data-3", "replace data-1", "remove data-4"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, s := range plan(g, test.have) {
				got = append(got, string(s.kind)+" "+s.node.Name)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	ids := alpha.identities(api.RoleMain, 5)
	steps := []step{{kind: start, node: ids[0]}, {kind: await, node: ids[1]}, {kind: create, node: ids[2]}, {kind: replace, node: ids[3]}, {kind: remove, node: ids[4]}}
	names := func(steps []step) (all []kind) {
		for _, s := range steps {
			all = append(all, s.kind)
		}
		return all
	}
	tests := map[string]struct {
		role               api.Role
		formed             bool
		together, oneByOne []kind
	}{
		"the first mains":   {api.RoleMain, false, []kind{start, await, create, replace}, []kind{remove}},
		"mains of a quorum": {api.RoleMain, true, []kind{start, await}, []kind{create, replace, remove}},
		"the first data":    {api.RoleData, false, []kind{start, await, create, replace}, []kind{remove}},
		"more data":         {api.RoleData, true, []kind{start, await, create}, []kind{replace, remove}},
	}
	for name, test := range tests {
		together, oneByOne := schedule(test.role, steps, test.formed)
		if diff := cmp.Diff(test.together, names(together)); diff != "" {
			t.Errorf("%s, at the same time:\n%s", name, diff)
		}
		if diff := cmp.Diff(test.oneByOne, names(oneByOne)); diff != "" {
			t.Errorf("%s, one by one:\n%s", name, diff)
		}
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	node := alpha.identities(api.RoleData, 1)[0]
	base := Group{Network: "n", Image: "i", Store: "s", Config: "c", Secrets: "x"}
	of := func(change func(*Group, *api.Identity)) string {
		g, id := base, node
		change(&g, &id)
		return g.Fingerprint(id)
	}
	same := of(func(*Group, *api.Identity) {})
	if again := base.Fingerprint(node); again != same {
		t.Errorf("the same machine has the fingerprints %s and %s", same, again)
	}
	if sized := of(func(g *Group, _ *api.Identity) { g.Nodes = alpha.identities(api.RoleData, 2) }); sized != same {
		t.Error("another size of the group changes the fingerprint of a machine")
	}
	for name, changed := range map[string]string{
		"network": of(func(g *Group, _ *api.Identity) { g.Network = "other" }),
		"image":   of(func(g *Group, _ *api.Identity) { g.Image = "other" }),
		"store":   of(func(g *Group, _ *api.Identity) { g.Store = "other" }),
		"config":  of(func(g *Group, _ *api.Identity) { g.Config = "other" }),
		"secrets": of(func(g *Group, _ *api.Identity) { g.Secrets = "other" }),
		"zone":    of(func(_ *Group, id *api.Identity) { id.Zone = "other" }),
		"address": of(func(_ *Group, id *api.Identity) { id.Address = "other" }),
	} {
		if changed == same {
			t.Errorf("another %s does not change the fingerprint", name)
		}
	}
}

func TestFirstInactive(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ shown, unit, state string }{
		"all active":    {"Id=a.service\nActiveState=active\n\nId=b.service\nActiveState=active\n", "", ""},
		"second is not": {"Id=a.service\nActiveState=active\n\nId=b.service\nActiveState=activating\n", "b.service", "activating"},
		"other order":   {"ActiveState=failed\r\nId=a.service\r\n", "a.service", "failed"},
		"nothing":       {"", "", ""},
	}
	for name, test := range tests {
		if unit, state := firstInactive(test.shown); unit != test.unit || state != test.state {
			t.Errorf("%s: got %q, %q, want %q, %q", name, unit, state, test.unit, test.state)
		}
	}
}

func TestLastLines(t *testing.T) {
	t.Parallel()
	const text = "one\r\n\n\x1b[91mtwo\x1b[0m\r\n  \nthree\n"
	for n, want := range map[int]string{0: "", 1: "three", 2: "two\nthree", 9: "one\ntwo\nthree"} {
		if got := lastLines(text, n); got != want {
			t.Errorf("last %d lines are %q, want %q", n, got, want)
		}
	}
}
