package redis

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

// TestPlanInAnyOrder runs plans in between random crashes, lost disks, late gossip and lost commands. The model fails
// the test at any step that could lose data; in the end what is not lost for good must be whole.
func TestPlanInAnyOrder(t *testing.T) {
	t.Parallel()
	whole := 0
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed)
			for range 300 {
				switch n := w.rand.IntN(100); {
				case n < 3+int(seed%5):
					w.fault()
				case n < 70:
					w.gossip(w.nodes[w.address()], w.nodes[w.address()])
				case n < 75:
					w.elect(w.nodes[w.address()])
				default:
					for _, s := range w.picture().plan() {
						if w.rand.IntN(10) > 0 { // else the command gets lost
							w.do(s)
						}
					}
				}
			}
			for range 20 {
				w.calm()
				for _, s := range w.picture().plan() {
					w.do(s)
				}
			}
			w.calm()
			p := w.picture()
			if steps := p.plan(); len(steps) > 0 {
				t.Errorf("never done: still plans %v", steps)
			}
			status := p.status()
			if w.checkEnd(p, status); status.State == "ok" {
				whole++
			}
			if t.Failed() {
				t.Logf("%+v\n%+v", status, p.seen)
			}
		})
	}
	if whole < 50 {
		t.Errorf("only %d worlds ended whole: the faults are too many to say anything", whole)
	}
}

// checkEnd compares the status with the truth when nothing happens any more.
func (w *world) checkEnd(p *picture, status api.RedisStatus) {
	w.t.Helper()
	lost := 0
	for shard := 1; shard <= w.spec.Shards; shard++ {
		owner, ok := p.primaryOf(shard)
		if !ok || w.byID(owner.id) == nil {
			lost++
		}
	}
	switch {
	case lost == 0:
		if status.State != "ok" || len(status.Problems) > 0 || status.Replicas != len(w.members)-w.spec.Shards {
			w.t.Errorf("nothing is lost, but the state is %s with %d replicas: %s", status.State, status.Replicas, strings.Join(status.Problems, "; "))
		}
	case status.State == "ok":
		w.t.Errorf("%d shards are lost, but the state is ok", lost)
	case len(status.Problems) == 0:
		w.t.Errorf("%d shards are lost, and no problem is reported", lost)
	case regexp.MustCompile("(is told|is about) to take over").MatchString(strings.Join(status.Problems, "; ")):
		w.t.Errorf("a replica that could take over does not: %s", strings.Join(status.Problems, "; "))
	}
}

func TestPlanIgnoresOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 7)
	for range 20 {
		w.calm()
		first := w.picture().plan()
		for range 5 {
			if diff := cmp.Diff(fmt.Sprint(first), fmt.Sprint(w.picture().plan())); diff != "" {
				t.Fatalf("the same observations in another order make another plan:\n%s", diff)
			}
		}
		for _, s := range first {
			w.do(s)
		}
	}
}

func TestFirstPrimaries(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		members []Member
		perZone int // most primaries in a zone
		perNode int
	}{
		{"chain", []Member{
			{Node: "1", Zone: "a", Shard: 1}, {Node: "2", Zone: "b", Shard: 1},
			{Node: "1", Zone: "a", Shard: 2}, {Node: "3", Zone: "c", Shard: 2},
			{Node: "1", Zone: "a", Shard: 3}, {Node: "2", Zone: "b", Shard: 3},
		}, 1, 1},
		{"zone before node", []Member{
			{Node: "1", Zone: "a", Shard: 1}, {Node: "2", Zone: "b", Shard: 1},
			{Node: "4", Zone: "a", Shard: 2}, {Node: "5", Zone: "b", Shard: 2},
			{Node: "4", Zone: "a", Shard: 3}, {Node: "3", Zone: "c", Shard: 3},
		}, 1, 1},
		{"two in a zone, on two nodes", []Member{
			{Node: "1", Zone: "a", Shard: 1}, {Node: "2", Zone: "b", Shard: 1},
			{Node: "1", Zone: "a", Shard: 2}, {Node: "2", Zone: "b", Shard: 2},
			{Node: "3", Zone: "a", Shard: 3}, {Node: "4", Zone: "b", Shard: 3},
		}, 2, 1},
		{"one zone, one node", []Member{
			{Node: "1", Zone: "a", Shard: 1}, {Node: "1", Zone: "a", Shard: 2}, {Node: "1", Zone: "a", Shard: 3},
		}, 3, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			zones, nodes, chosen := map[string]int{}, map[string]int{}, firstPrimaries(tt.members)
			for shard, m := range chosen {
				if m.Shard != shard {
					t.Errorf("shard %d got %+v", shard, m)
				}
				zones[m.Zone]++
				nodes[m.Node]++
			}
			if len(chosen) != 3 || most(zones) != tt.perZone || most(nodes) != tt.perNode {
				t.Errorf("chose %v: %d in a zone and %d on a node, want %d and %d", chosen, most(zones), most(nodes), tt.perZone, tt.perNode)
			}
		})
	}
}

func TestShardRangesCoverAllSlots(t *testing.T) {
	t.Parallel()
	for shards := 1; shards <= 100; shards++ {
		next := 0
		for shard := 1; shard <= shards; shard++ {
			r := shardRange(shard, shards)
			if r.first != next || countSlots([]slotRange{r}) < slotCount/shards {
				t.Fatalf("%d of %d shards has %s, want it to start at %d", shard, shards, r, next)
			}
			next = r.last + 1
		}
		if next != slotCount {
			t.Fatalf("%d shards cover %d slots", shards, next)
		}
	}
}

// three is one shard's primary a, its replica b, and a primary c of another shard.
func three() (members []Member, seen map[string]observation) {
	members = []Member{
		{Node: "data-1", Address: "198.18.0.101:7101", Shard: 1, Ready: true},
		{Node: "data-2", Address: "198.18.0.102:7101", Shard: 1, Ready: true},
		{Node: "data-2", Address: "198.18.0.102:7102", Shard: 2, Ready: true},
	}
	nodes := []node{
		{id: "a", address: members[0].Address, primary: true, epoch: 1, slots: []slotRange{{0, 8191}}},
		{id: "b", address: members[1].Address, primaryID: "a"},
		{id: "c", address: members[2].Address, primary: true, epoch: 2, slots: []slotRange{{8192, 16383}}},
	}
	seen = map[string]observation{}
	for i, m := range members {
		o := observation{nodes: slices.Clone(nodes), state: "ok", linkUp: true, open: true, keys: 5}
		o.nodes[i].self = true
		o.self = o.nodes[i]
		seen[m.Address] = o
	}
	return members, seen
}

func TestStatus(t *testing.T) {
	t.Parallel()
	spec := api.RedisSpec{Shards: 2, Replicas: 1}
	refused := fmt.Errorf("connection refused")
	tests := []struct {
		name     string
		change   func(members []Member, seen map[string]observation) []Member
		state    string
		problems []string
	}{
		{"whole", func(m []Member, _ map[string]observation) []Member { return m }, "ok", nil},
		{"nobody", func([]Member, map[string]observation) []Member { return nil }, "none", nil},
		{"replica behind", func(m []Member, seen map[string]observation) []Member {
			o := seen[m[1].Address]
			o.linkUp = false
			seen[m[1].Address] = o
			return m
		}, "ok", []string{"data-2 (198.18.0.102:7101) is not in sync with data-1 (198.18.0.101:7101) yet"}},
		{"replica gone", func(m []Member, seen map[string]observation) []Member {
			delete(seen, m[1].Address)
			return m
		}, "ok", []string{"data-2 (198.18.0.102:7101) gives no answer: connection refused"}},
		{"no majority", func(m []Member, seen map[string]observation) []Member {
			delete(seen, m[0].Address)
			return m
		}, "fail", []string{
			"data-1 (198.18.0.101:7101) gives no answer: connection refused",
			"shard 1 (slots 0-8191): its primary data-1 (198.18.0.101:7101) is gone; data-2 (198.18.0.102:7101) can take over once a majority of the primaries is back (1 of 2 answer)",
		}},
		{"no copy", func(m []Member, seen map[string]observation) []Member {
			delete(seen, m[2].Address)
			return m
		}, "fail", []string{
			"data-2 (198.18.0.102:7102) gives no answer: connection refused",
			"shard 2 (slots 8192-16383): its primary data-2 (198.18.0.102:7102) is gone, and no replica of it answers; its keys are out of reach until data-2 (198.18.0.102:7102) returns",
		}},
		{"starting", func(m []Member, seen map[string]observation) []Member {
			o := seen[m[0].Address]
			o.state = "fail"
			seen[m[0].Address] = o
			return m
		}, "forming", nil},
		{"two clusters", func(m []Member, seen map[string]observation) []Member {
			o := seen[m[0].Address]
			o.nodes = o.nodes[:2]
			seen[m[0].Address] = o
			o = seen[m[2].Address]
			o.nodes = o.nodes[2:]
			seen[m[2].Address] = o
			return m
		}, "fail", []string{
			"data-1 (198.18.0.101:7101) and data-2 (198.18.0.102:7102) own slots but belong to different clusters; nothing is changed",
			"data-2 (198.18.0.102:7101) is not in sync with data-1 (198.18.0.101:7101) yet",
		}},
		{"keys of its own", func(m []Member, seen map[string]observation) []Member {
			self := node{id: "x", self: true, primary: true}
			seen[m[1].Address] = observation{self: self, nodes: []node{self}, state: "fail", keys: 3}
			return m
		}, "ok", []string{"data-2 (198.18.0.102:7101) holds 3 keys but belongs to no cluster; it is left alone"}},
		{"empty primary", func(m []Member, seen map[string]observation) []Member {
			o := seen[m[0].Address]
			o.keys = 0
			seen[m[0].Address] = o
			o = seen[m[1].Address]
			o.self.primaryID = "gone"
			o.nodes[1] = o.self
			seen[m[1].Address] = o
			return m
		}, "ok", []string{"data-2 (198.18.0.102:7101) holds 5 keys and data-1 (198.18.0.101:7101) none; nothing is changed"}},
		{"more shards than slots", func(m []Member, seen map[string]observation) []Member {
			self := node{id: "x", address: "198.18.0.101:7103", self: true, primary: true}
			o := observation{self: self, nodes: append(slices.Clone(seen[m[2].Address].nodes), self), state: "ok"}
			o.nodes[2].self = false
			seen[self.address] = o
			return append(m, Member{Node: "data-1", Address: self.address, Shard: 3, Ready: true})
		}, "ok", []string{
			"data-2 (198.18.0.102:7102) waits for slots: those of shard 2 belong to shard 1",
			"data-1 (198.18.0.101:7103) waits for slots: those of shard 3 belong to shard 2",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			members, seen := three()
			members = tt.change(members, seen)
			silent := map[string]error{}
			for _, m := range members {
				if _, ok := seen[m.Address]; !ok {
					silent[m.Address] = refused
				}
			}
			p := draw(spec, members, seen, silent)
			status := p.status()
			if diff := cmp.Diff(tt.problems, status.Problems); diff != "" || status.State != tt.state {
				t.Errorf("state %s, want %s, problems (-want +got):\n%s", status.State, tt.state, diff)
			}
			if steps := p.plan(); len(steps) > 0 {
				t.Errorf("plans %v, want nothing", steps)
			}
		})
	}
}
