package redis

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

// replaced is the cluster of three with a third primary d and another replica e of shard 1, after a came back empty
// as x before anybody noticed.
func replaced() (members []Member, seen map[string]observation) {
	members, seen = three()
	members = append(members,
		Member{Node: "data-3", Address: "198.18.0.103:7103", Shard: 3, Ready: true},
		Member{Node: "data-3", Address: "198.18.0.103:7101", Shard: 1, Ready: true})
	nodes := []node{
		{id: "a", primary: true, epoch: 1, slots: []slotRange{{0, 5460}}},
		{id: "b", address: members[1].Address, primaryID: "a"},
		{id: "c", address: members[2].Address, primary: true, epoch: 2, slots: []slotRange{{5461, 10921}}},
		{id: "d", address: members[3].Address, primary: true, epoch: 3, slots: []slotRange{{10922, 16383}}},
		{id: "e", address: members[4].Address, primaryID: "a"},
	}
	for i, m := range members {
		o := observation{nodes: slices.Clone(nodes), state: "ok", open: true, keys: 5, offset: 100}
		o.nodes[i].self = true
		o.self = o.nodes[i]
		seen[m.Address] = o
	}
	x := node{id: "x", address: members[0].Address, self: true, primary: true}
	seen[x.address] = observation{self: x, nodes: []node{x}, state: "fail"}
	return members, seen
}

func TestFailover(t *testing.T) {
	t.Parallel()
	const slots = "shard 1 (slots 0-5460): "
	change := func(seen map[string]observation, m Member, how func(*observation)) {
		o := seen[m.Address]
		o.nodes = slices.Clone(o.nodes)
		how(&o)
		seen[m.Address] = o
	}
	tests := []struct {
		name    string
		change  func(m []Member, seen map[string]observation)
		problem string
		heir    string // address; empty when nobody may take over
	}{
		{"best offset", func(m []Member, seen map[string]observation) {
			change(seen, m[4], func(o *observation) { o.offset = 101 })
		}, "its primary a was replaced by an empty one; data-3 (198.18.0.103:7101), which has its keys, is told to take over", "198.18.0.103:7101"},
		{"before gossip noticed", func(m []Member, seen map[string]observation) {
			change(seen, m[2], func(o *observation) { o.nodes[0].address = m[0].Address })
		}, "its primary a was replaced by an empty one; data-2 (198.18.0.102:7101), which has its keys, is told to take over", "198.18.0.102:7101"},
		{"empty replica beside a copy", func(m []Member, seen map[string]observation) {
			change(seen, m[1], func(o *observation) { o.keys, o.offset, o.open = 0, 0, false })
		}, "its primary a was replaced by an empty one; data-3 (198.18.0.103:7101), which has its keys, is told to take over", "198.18.0.103:7101"},
		{"no copy at all", func(m []Member, seen map[string]observation) {
			for _, i := range []int{1, 4} {
				change(seen, m[i], func(o *observation) { o.keys, o.offset, o.open = 0, 0, false })
			}
		}, "all its members came back empty; its keys are lost, and its slots stay closed until a person decides", ""},
		{"no copy answers", func(m []Member, seen map[string]observation) {
			change(seen, m[1], func(o *observation) { o.keys, o.offset, o.open = 0, 0, false })
			delete(seen, m[4].Address)
		}, "its primary a was replaced by an empty one, and no replica of it answers; its keys are out of reach until data-3 (198.18.0.103:7101) returns", ""},
		{"a replica is silent", func(m []Member, seen map[string]observation) { delete(seen, m[4].Address) },
			"its primary a was replaced by an empty one; data-2 (198.18.0.102:7101) can take over when data-3 (198.18.0.103:7101) answers, which may have a better copy", ""},
		{"its place is silent", func(m []Member, seen map[string]observation) { delete(seen, m[0].Address) },
			"its primary a was replaced by an empty one; data-2 (198.18.0.102:7101) can take over when data-1 (198.18.0.101:7101) answers, which may have a better copy", ""},
		{"somebody has another address for it", func(m []Member, seen map[string]observation) {
			change(seen, m[2], func(o *observation) { o.nodes[0].address = "198.18.0.109:7101" })
		}, "its primary 198.18.0.109:7101 is gone; data-2 (198.18.0.102:7101) is about to take over", ""},
		{"replicas do not know its slots", func(m []Member, seen map[string]observation) {
			for _, i := range []int{1, 4} {
				change(seen, m[i], func(o *observation) { o.nodes[0].slots = nil })
			}
		}, "its primary a was replaced by an empty one; data-2 (198.18.0.102:7101) has its keys, but never learned of its slots: a person decides", ""},
		{"no majority answers", func(m []Member, seen map[string]observation) {
			delete(seen, m[2].Address)
			delete(seen, m[3].Address)
		}, "its primary a was replaced by an empty one; data-2 (198.18.0.102:7101) can take over once a majority of the primaries is back (0 of 3 answer)", ""},
		{"the majority was replaced too", func(m []Member, seen map[string]observation) {
			for _, i := range []int{2, 3} {
				x := node{id: fmt.Sprint("y", i), address: m[i].Address, self: true, primary: true}
				seen[x.address] = observation{self: x, nodes: []node{x}, state: "fail"}
			}
		}, "its primary a was replaced by an empty one; data-2 (198.18.0.102:7101) has its keys, but too many primaries were replaced for a majority: a person decides (CLUSTER FAILOVER TAKEOVER)", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			members, seen := replaced()
			tt.change(members, seen)
			silent := map[string]error{}
			for _, m := range members {
				if _, ok := seen[m.Address]; !ok {
					silent[m.Address] = fmt.Errorf("connection refused")
				}
			}
			p := draw(api.RedisSpec{Shards: 3, Replicas: 1}, members, seen, silent)
			status := p.status()
			if !slices.Contains(status.Problems, slots+tt.problem) || status.State != "fail" {
				t.Errorf("state %s, problems %q\nwant %q", status.State, status.Problems, slots+tt.problem)
			}
			var want []step
			if tt.heir != "" {
				m := members[slices.IndexFunc(members, func(m Member) bool { return m.Address == tt.heir })]
				want = []step{{tt.heir, command{"CLUSTER", "FAILOVER", "FORCE"},
					fmt.Sprintf("tell %s to take over shard 1, whose primary a was replaced by an empty one", m)}}
			}
			if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(p.failover())); diff != "" {
				t.Errorf("failover (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBalance has two of three primaries on one node, each with a replica in sync elsewhere.
func TestBalance(t *testing.T) {
	t.Parallel()
	var members []Member
	for _, p := range ring("198.18.0") {
		members = append(members, Member{
			Node: p.node, Zone: p.zone, Address: fmt.Sprintf("%s:%d", p.address, api.RedisPort(p.shard)), Shard: p.shard, Ready: true,
		})
	}
	draws := func(behind string, primaries ...int) *picture { // by index into members
		var nodes []node
		for i, m := range members {
			n := node{id: fmt.Sprint("n", i), address: m.Address, epoch: uint64(i + 1)}
			for _, at := range primaries {
				if at == i {
					n.primary, n.slots = true, []slotRange{shardRange(m.Shard, 3)}
				} else if members[at].Shard == m.Shard {
					n.primaryID = fmt.Sprint("n", at)
				}
			}
			nodes = append(nodes, n)
		}
		seen := map[string]observation{}
		for i, m := range members {
			o := observation{nodes: slices.Clone(nodes), state: "ok", linkUp: m.Address != behind, open: true, keys: 5}
			o.nodes[i].self = true
			o.self = o.nodes[i]
			seen[m.Address] = o
		}
		return draw(api.RedisSpec{Shards: 3, Replicas: 1}, members, seen, nil)
	}
	// data-1 has members 0 and 1 (shards 1 and 3), data-2 has 2 and 3 (1 and 2), data-3 has 4 and 5 (2 and 3).
	p := draws("", 0, 1, 3)
	want := "[{198.18.0.2:7101 [CLUSTER FAILOVER] tell data-2 (198.18.0.2:7101) to take shard 1 over from data-1 (198.18.0.1:7101), so that no node or zone holds half of the primaries}]"
	if got := fmt.Sprint(p.plan()); got != want {
		t.Errorf("plans %s\nwant %s", got, want)
	}
	problems := []string{"too many primaries are on data-1 or in its zone to lose it; data-2 (198.18.0.2:7101) takes over shard 1"}
	if diff := cmp.Diff(problems, p.status().Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	for name, p := range map[string]*picture{"balanced as formed": draws("", 2, 4, 1), "balanced otherwise": draws("", 0, 3, 5), "not in sync": draws(members[4].Address, 0, 1, 3)} {
		if steps := p.plan(); len(steps) > 0 {
			t.Errorf("%s: plans %v, want nothing", name, steps)
		}
	}
}

// TestRelieve: a primary that cannot write its log is relieved by a replica in sync that can, and by nobody else.
func TestRelieve(t *testing.T) {
	t.Parallel()
	const why = "No space left on device"
	const stuck = "data-1 (198.18.0.101:7101) cannot write its log: " + why + "; "
	for name, tt := range map[string]struct {
		replica  func(*observation)
		problems []string
		steps    []step
	}{
		"in sync": {func(*observation) {}, []string{stuck + "data-2 (198.18.0.102:7101) takes over shard 1"}, []step{{
			"198.18.0.102:7101", command{"CLUSTER", "FAILOVER"},
			"tell data-2 (198.18.0.102:7101) to take shard 1 over from data-1 (198.18.0.101:7101), which cannot write its log: " + why,
		}}},
		"behind": {func(o *observation) { o.linkUp = false }, []string{
			stuck + "shard 1 takes no writes until it can, for it has no replica in sync that could",
			"data-2 (198.18.0.102:7101) is not in sync with data-1 (198.18.0.101:7101) yet",
		}, nil},
		"no room either": {func(o *observation) { o.stuck = why }, []string{
			stuck + "shard 1 takes no writes until it can, for it has no replica in sync that could",
			"data-2 (198.18.0.102:7101) cannot write its log: " + why,
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			members, seen := three()
			primary, replica := seen[members[0].Address], seen[members[1].Address]
			primary.stuck = why
			tt.replica(&replica)
			seen[members[0].Address], seen[members[1].Address] = primary, replica
			p := draw(api.RedisSpec{Shards: 2, Replicas: 1}, members, seen, nil)
			if diff := cmp.Diff(tt.problems, p.status().Problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.steps, p.plan(), cmp.AllowUnexported(step{})); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}
