package agent

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
	"devctl/internal/haproxy"
)

func TestSightings(t *testing.T) {
	t.Parallel()
	primary, replica := api.RedisInstance{Shard: 1, Role: "primary"}, api.RedisInstance{Shard: 2, Role: "replica"}
	type look struct {
		shards []int
		found  []api.RedisInstance
		want   []api.RedisInstance
	}
	for _, tc := range []struct {
		name  string
		looks []look
	}{
		{"sorted by shard", []look{{[]int{1, 2}, []api.RedisInstance{replica, primary}, []api.RedisInstance{primary, replica}}}},
		{"never seen", []look{{[]int{1}, nil, nil}}},
		{"missed twice, then gone", []look{
			{[]int{1, 2}, []api.RedisInstance{primary, replica}, []api.RedisInstance{primary, replica}},
			{[]int{1, 2}, []api.RedisInstance{replica}, []api.RedisInstance{primary, replica}},
			{[]int{1, 2}, []api.RedisInstance{replica}, []api.RedisInstance{primary, replica}},
			{[]int{1, 2}, []api.RedisInstance{replica}, []api.RedisInstance{replica}},
		}},
		{"seen again in between", []look{
			{[]int{1}, []api.RedisInstance{primary}, []api.RedisInstance{primary}},
			{[]int{1}, nil, []api.RedisInstance{primary}},
			{[]int{1}, []api.RedisInstance{primary}, []api.RedisInstance{primary}},
			{[]int{1}, nil, []api.RedisInstance{primary}},
			{[]int{1}, nil, []api.RedisInstance{primary}},
			{[]int{1}, nil, nil},
		}},
		{"not assigned any more", []look{
			{[]int{1}, []api.RedisInstance{primary}, []api.RedisInstance{primary}},
			{nil, nil, nil},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var s sightings
			for i, l := range tc.looks {
				found := map[int]api.RedisInstance{}
				for _, r := range l.found {
					found[r.Shard] = r
				}
				if d := cmp.Diff(l.want, s.update(l.shards, found)); d != "" {
					t.Errorf("look %d (-want +got):\n%s", i+1, d)
				}
			}
		})
	}
}

func TestServers(t *testing.T) {
	t.Parallel()
	node := func(name, address string, instances ...api.RedisInstance) api.NodeRecord {
		return api.NodeRecord{Identity: api.Identity{Name: name, Role: api.RoleData, Address: address}, Redis: instances}
	}
	known := []haproxy.Server{{Name: "data-9:7101", Addr: "198.18.0.109", Port: 7101, Primary: true}}
	for _, tc := range []struct {
		name  string
		nodes []api.NodeRecord
		want  []haproxy.Server
	}{
		{"primaries and replicas", []api.NodeRecord{
			node("data-1", "198.18.0.101", api.RedisInstance{Port: 7101, Role: "primary"}, api.RedisInstance{Port: 7102, Role: "replica"}),
			node("data-2", "198.18.0.102", api.RedisInstance{Port: 7102, Role: "primary"}),
			node("worker-1", "198.18.0.21"),
		}, []haproxy.Server{
			{Name: "data-1:7101", Addr: "198.18.0.101", Port: 7101, Primary: true},
			{Name: "data-1:7102", Addr: "198.18.0.101", Port: 7102},
			{Name: "data-2:7102", Addr: "198.18.0.102", Port: 7102, Primary: true},
		}},
		{"every record has vanished", nil, known},
		{"no instance answers", []api.NodeRecord{node("data-1", "198.18.0.101")}, known},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if d := cmp.Diff(tc.want, servers(tc.nodes, known)); d != "" {
				t.Errorf("servers (-want +got):\n%s", d)
			}
		})
	}
}

func TestHoldsEndpoint(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{"127.0.0.1": true, "198.18.255.254": false, "": false, "x": false} {
		owned := map[string]applied{"haproxy.service": {}, "keepalived.service": {Endpoint: address}}
		if got := holdsEndpoint(owned); got != want {
			t.Errorf("holds %q: %v, want %v", address, got, want)
		}
	}
}

// woken tells whether the board has asked for a heartbeat.
func woken(b *board) bool {
	select {
	case <-b.wake:
		return true
	default:
		return false
	}
}

func TestBoardWakesForWhatMatters(t *testing.T) {
	t.Parallel()
	b := newBoard(nil)
	for _, step := range []struct {
		name   string
		change func()
		want   bool
	}{
		{"first sight of Redis", func() { b.setRedis([]api.RedisInstance{{Shard: 1, Role: "replica", Offset: 1}}) }, true},
		{"offset moved", func() { b.setRedis([]api.RedisInstance{{Shard: 1, Role: "replica", Offset: 2}}) }, false},
		{"promoted", func() { b.setRedis([]api.RedisInstance{{Shard: 1, Role: "primary", Offset: 2}}) }, true},
		{"no balancer", func() { b.setBalancer(nil) }, false},
		{"balancer", func() { b.setBalancer(&api.LoadBalancer{Backends: 3}) }, true},
		{"the same", func() { b.setBalancer(&api.LoadBalancer{Backends: 3}) }, false},
		{"one is up", func() { b.setBalancer(&api.LoadBalancer{Backends: 3, Up: 1}) }, true},
		{"address came", func() { b.setHolds(true) }, true},
		{"address stays", func() { b.setHolds(true) }, false},
		{"unit", func() { b.setUnits(nil, nil, []api.UnitStatus{{Name: "a"}}) }, true},
		{"same unit", func() { b.setUnits(nil, nil, []api.UnitStatus{{Name: "a"}}) }, false},
		{"unit of the machine", func() { b.setUnits(nil, []api.UnitStatus{{Name: "b"}}, []api.UnitStatus{{Name: "a"}}) }, true},
	} {
		step.change()
		if got := woken(b); got != step.want {
			t.Errorf("%s: asks for a heartbeat: %v, want %v", step.name, got, step.want)
		}
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*board)
		want   time.Duration
	}{
		{"nothing moves", func(*board) {}, lookInterval},
		{"a unit starts", func(b *board) { b.setUnits(nil, nil, []api.UnitStatus{{Active: "activating"}}) }, hurryInterval},
		{"a unit failed", func(b *board) { b.setUnits(nil, nil, []api.UnitStatus{{Active: "failed"}}) }, lookInterval},
		{"Redis starts", func(b *board) { b.setRedis([]api.RedisInstance{{Role: "primary", State: "fail"}}) }, hurryInterval},
		{"a replica copies", func(b *board) { b.setRedis([]api.RedisInstance{{Role: "replica", State: "ok"}}) }, hurryInterval},
		{"a server is not up", func(b *board) { b.setBalancer(&api.LoadBalancer{Backends: 3, Up: 2}) }, hurryInterval},
		{"nobody holds the address", func(b *board) { b.setUnheld(true) }, hurryInterval},
		{"it came here", func(b *board) { b.setUnheld(true); b.setHolds(true) }, lookInterval},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := newBoard(nil)
			tc.change(b)
			if got := b.pace(); got != tc.want {
				t.Errorf("looks again after %v, want %v", got, tc.want)
			}
		})
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	b := newBoard(nil)
	b.setUnits(nil, []api.UnitStatus{{Name: "devctl-agent.service"}}, []api.UnitStatus{{Name: "redis-1.service", Hash: "h"}})
	b.setRedis([]api.RedisInstance{{Shard: 1}})
	want := api.NodeRecord{
		Identity: api.Identity{Stack: "local", Name: "data-1", Role: api.RoleData, Zone: "a", Address: "198.18.0.101"},
		ID:       "0123", LastHeartbeat: time.Unix(1, 0).UTC(), FreeMemory: 1,
	}
	keys, err := encode(b, want)
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(keys))
	if d := cmp.Diff([]string{"/devctl/v1/nodes/data-1", "/devctl/v1/observed/data-1/redis-1.service"}, names); d != "" {
		t.Errorf("keys (-want +got):\n%s", d)
	}
	want.Units = []api.UnitStatus{{Name: "devctl-agent.service"}, {Name: "redis-1.service", Hash: "h"}}
	want.Redis = []api.RedisInstance{{Shard: 1}}
	var got api.NodeRecord
	if err := json.Unmarshal(keys["/devctl/v1/nodes/data-1"], &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("record (-want +got):\n%s", d)
	}
}

func TestFreeMemory(t *testing.T) {
	t.Parallel()
	free, err := freeMemory()
	if err != nil || free < 1<<20 {
		t.Errorf("free memory is %d, error %v", free, err)
	}
}
