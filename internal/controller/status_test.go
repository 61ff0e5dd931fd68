package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/plan"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// wholeState is a stack on which everything runs and everything has been told.
func wholeState() state {
	d := testDeployment(2, 3)
	s := state{deployment: &d, deployed: revisionOf(d), units: map[string]map[string]api.UnitStatus{}}
	for _, op := range plan.Assignments(d, nil) {
		s.assignments = append(s.assignments, op.Assignment)
	}
	for _, n := range d.Nodes {
		r := api.NodeRecord{Identity: n, ID: "machine-of-" + n.Name, LastHeartbeat: noon, HoldsEndpoint: n.Name == "worker-1"}
		if n.Role == api.RoleWorker {
			r.LoadBalancer = &api.LoadBalancer{Backends: 3, Up: 3}
		}
		s.nodes = append(s.nodes, r)
		s.units[n.Name] = map[string]api.UnitStatus{"devctl-agent.service": {Name: "devctl-agent.service", Active: "active"}}
	}
	for _, a := range s.assignments {
		s.units[a.Node][a.Unit] = api.UnitStatus{Name: a.Unit, Active: "active", Sub: "running", Hash: a.Hash}
	}
	s.redis = sighting{
		RedisStatus: api.RedisStatus{State: "ok", SlotsAssigned: redisSlots, Primaries: 3, Replicas: 3},
		Machines:    map[string]string{},
	}
	for _, n := range s.nodes {
		s.redis.Machines[n.Name] = n.ID
	}
	_, s.told = narrate(s, s.status(testStack, noon), nil, noon)
	s.told.Deployed = s.deployed
	return s
}

func (s *state) record(name string) *api.NodeRecord {
	for i := range s.nodes {
		if s.nodes[i].Name == name {
			return &s.nodes[i]
		}
	}
	return nil
}

func (s *state) lose(name string) {
	var left []api.NodeRecord
	for _, n := range s.nodes {
		if n.Name != name {
			left = append(left, n)
		}
	}
	s.nodes = left
	delete(s.units, name)
}

// TestWhatIsWrongAndWhatIsTold breaks a whole stack in one way after the other.
func TestWhatIsWrongAndWhatIsTold(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		breaks   func(*state)
		problems []string
		events   []string // level: message
		settled  bool
	}{
		"nothing": {breaks: func(*state) {}, settled: true},
		"a main node is gone": {
			breaks:   func(s *state) { s.lose("main-1") },
			problems: []string{"main-1 does not beat any more"},
			events:   []string{"warning: main-1 stopped beating (last heartbeat 11:59:48 UTC)"},
			settled:  true,
		},
		"a data node has been gone for a while": {
			breaks: func(s *state) {
				s.lose("data-2")
				s.told.Nodes["data-2"] = toldNode{ID: "machine-of-data-2", Silent: noon.Add(-90 * time.Second)}
			},
			problems: []string{"data-2 has been silent for 1m30s"},
		},
		"a node never came": {
			breaks: func(s *state) {
				s.lose("data-2")
				delete(s.told.Nodes, "data-2")
			},
			problems: []string{"data-2 has not joined yet"},
		},
		"a node is back": {
			breaks: func(s *state) {
				s.told.Nodes["data-2"] = toldNode{ID: "machine-of-data-2", Silent: noon.Add(-20 * time.Second)}
			},
			events:  []string{"info: data-2 beats again, after 20s"},
			settled: true,
		},
		"a node is another machine": {
			breaks:  func(s *state) { s.record("data-2").ID, s.redis.Machines["data-2"] = "new", "new" },
			events:  []string{"info: data-2 joined anew, on another machine (data, zone b, 127.0.0.102)"},
			settled: true,
		},
		"a unit failed": {
			breaks: func(s *state) {
				a := s.assignments[0]
				s.units["data-1"]["redis-1.service"] = api.UnitStatus{Name: a.Unit, Active: "activating", Sub: "auto-restart", Hash: a.Hash, Message: "exit status 1\nno memory\n"}
			},
			problems: []string{"redis-1.service on data-1 is activating (auto-restart)"},
			events:   []string{"error: redis-1.service on data-1 failed: exit status 1; no memory"},
		},
		"a disk is full": {
			breaks: func(s *state) {
				s.record("data-1").Redis = []api.RedisInstance{{Shard: 1, Role: "replica", DiskFull: true}, {Shard: 3, Role: "primary"}}
			},
			problems: []string{"the disk of redis-1.service on data-1 is full; make room for /var/lib/devctl/data/redis-1 there, and it goes on by itself"},
		},
		"a worker is back, and not all of its own units": {
			breaks: func(s *state) {
				s.units["worker-2"]["devctl-agent.service"] = api.UnitStatus{Name: "devctl-agent.service", Active: "activating", Sub: "start"}
			},
			problems: []string{"devctl-agent.service on worker-2 is activating (start)"},
		},
		"a worker is back, and has not looked at its units": {
			breaks: func(s *state) {
				s.units["worker-2"] = map[string]api.UnitStatus{}
			},
			problems: []string{"worker-2 has not told yet how its units are", "haproxy.service on worker-2 has not been started yet", "keepalived.service on worker-2 has not been started yet"},
		},
		"a failed unit tries again": {
			breaks: func(s *state) {
				a := s.assignments[0]
				s.units["data-1"]["redis-1.service"] = api.UnitStatus{Name: a.Unit, Active: "activating", Sub: "start", Hash: a.Hash}
				s.told.Units["data-1/redis-1.service"] = toldUnit{Hash: a.Hash}
			},
			problems: []string{"redis-1.service on data-1 is activating (start)"},
		},
		"a unit is not started": {
			breaks:   func(s *state) { delete(s.units["data-1"], "redis-1.service") },
			problems: []string{"redis-1.service on data-1 has not been started yet"},
		},
		"a unit is old": {
			breaks: func(s *state) {
				s.units["data-1"]["redis-1.service"] = api.UnitStatus{Name: "redis-1.service", Active: "active", Hash: "old"}
			},
			problems: []string{"redis-1.service on data-1 still runs as it was before the last change"},
		},
		"a replica lags": {
			breaks:   func(s *state) { s.redis.Replicas = 2 },
			problems: []string{"Redis has 3 of 3 primaries, and 2 of 3 replicas in sync"},
			events:   []string{"info: Redis: every slot is served, replicas in sync 2 of 3"},
		},
		"Redis is down": {
			breaks: func(s *state) {
				s.redis.RedisStatus = api.RedisStatus{State: "fail", SlotsAssigned: 10923, Primaries: 2, Problems: []string{"shard 2 has no primary"}}
			},
			problems: []string{"shard 2 has no primary"},
			events:   []string{"error: Redis: not whole, 10923 of 16384 slots served: shard 2 has no primary"},
		},
		"a load balancer misses a primary": {
			breaks:   func(s *state) { s.record("worker-2").LoadBalancer = &api.LoadBalancer{Backends: 3, Up: 2} },
			problems: []string{"HAProxy on worker-2 reaches 2 of 3 primaries"},
			events:   []string{"info: HAProxy on worker-2 reaches 2 of 3 backends"},
		},
		"nobody has the endpoint": {
			breaks:   func(s *state) { s.record("worker-1").HoldsEndpoint = false },
			problems: []string{"nobody holds the endpoint's address 198.18.0.10"},
			events:   []string{"warning: nobody holds the endpoint's address 198.18.0.10"},
		},
		"two have the endpoint": {
			breaks:   func(s *state) { s.record("worker-2").HoldsEndpoint = true },
			problems: []string{"worker-1 and worker-2 hold the endpoint's address 198.18.0.10 at the same time"},
			events:   []string{"warning: worker-1 and worker-2 hold the endpoint's address 198.18.0.10 at the same time"},
		},
		"the endpoint moved": {
			breaks: func(s *state) {
				s.record("worker-1").HoldsEndpoint = false
				s.record("worker-2").HoldsEndpoint = true
			},
			events:  []string{"info: the endpoint 198.18.0.10 is held by worker-2"},
			settled: true,
		},
		"an assignment is missing": {
			breaks:   func(s *state) { s.assignments = s.assignments[:len(s.assignments)-1] },
			problems: []string{"the deployment is being carried out, changes left: 1"},
		},
		"it settles again": {
			breaks:  func(s *state) { s.told.Settled = "" },
			events:  []string{"info: settled: everything runs and is ready"},
			settled: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := wholeState()
			tc.breaks(&s)
			st := s.status(testStack, noon)
			if diff := cmp.Diff(append([]string{}, tc.problems...), st.Problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if st.Settled != tc.settled || st.Healthy != (len(tc.problems) == 0) {
				t.Errorf("settled %v, healthy %v", st.Settled, st.Healthy)
			}
			beats := map[string]time.Time{"main-1": noon.Add(-12 * time.Second)}
			events, after := narrate(s, st, beats, noon)
			var got []string
			for _, e := range events {
				got = append(got, e.Level+": "+e.Message)
			}
			if diff := cmp.Diff(tc.events, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			s.told = after
			if again, _ := narrate(s, st, beats, noon); len(again) > 0 {
				t.Errorf("told again: %v", again)
			}
		})
	}
}

// TestMissingNodesAreShown: a node that is expected has its line, in its place, with what was heard of it last.
func TestMissingNodesAreShown(t *testing.T) {
	t.Parallel()
	s := wholeState()
	silent := noon.Add(-90 * time.Second)
	s.lose("worker-2")
	s.told.Nodes["worker-2"] = toldNode{ID: "machine-of-worker-2", Silent: silent}
	s.lose("data-2")
	delete(s.told.Nodes, "data-2")
	st := s.status(testStack, noon)
	var names []string
	for _, n := range st.Nodes {
		names = append(names, n.Name)
	}
	if got, want := strings.Join(names, " "), "main-1 worker-1 data-1 data-3"; got != want {
		t.Errorf("nodes %s, want %s", got, want)
	}
	want := []api.NodeStatus{
		{Name: "worker-2", ID: "machine-of-worker-2", Role: api.RoleWorker, Zone: "b", Address: "127.0.0.22", State: "missing", LastHeartbeat: silent, Units: []api.UnitStatus{}},
		{Name: "data-2", Role: api.RoleData, Zone: "b", Address: "127.0.0.102", State: "missing", Units: []api.UnitStatus{}},
	}
	if diff := cmp.Diff(want, st.Missing); diff != "" {
		t.Errorf("missing nodes (-want +got):\n%s", diff)
	}
}

// TestTheLastHeartbeat: how long a node has been silent is known from then on, to every controller.
func TestTheLastHeartbeat(t *testing.T) {
	t.Parallel()
	s := wholeState()
	s.lose("data-1")
	_, s.told = narrate(s, s.status(testStack, noon), map[string]time.Time{"data-1": noon.Add(-12 * time.Second)}, noon)
	st := s.status(testStack, noon.Add(8*time.Second))
	if want := "data-1 has been silent for 20s"; !strings.HasPrefix(strings.Join(st.Problems, ";"), want) {
		t.Errorf("problems are %q, want %q first", st.Problems, want)
	}
}

// TestObserved: what the planner is told.
func TestObserved(t *testing.T) {
	t.Parallel()
	s := wholeState()
	if got := s.observed(); !got.RedisHealthy || got.Holder != "worker-1" || !got.Live["data-3"] {
		t.Errorf("observed %+v", got)
	}
	s.redis.Replicas = 2
	if s.observed().RedisHealthy {
		t.Error("a cluster with a replica that lags passes for healthy")
	}
	s.record("worker-2").HoldsEndpoint = true
	if holder := s.observed().Holder; holder != "" {
		t.Errorf("two hold the endpoint, and it passes for held by %s", holder)
	}
	s.record("worker-2").LastHeartbeat = noon.Add(missedBeat)
	if holder := s.observed().Holder; holder != "worker-2" {
		t.Errorf("worker-1 stopped beating and worker-2 took the endpoint, and it passes for held by %q", holder)
	}
}

// TestStatusOfReplacedNode has a data node on another machine, while the last look at Redis was at the one before:
// that look says nothing of a cluster that may have lost a member since.
func TestStatusOfReplacedNode(t *testing.T) {
	t.Parallel()
	s := wholeState()
	s.record("worker-2").ID = "new" // holds no data
	if st := s.status(testStack, noon); !st.Healthy || !st.Settled {
		t.Errorf("with another worker: %q", st.Problems)
	}
	s.record("data-2").ID = "new"
	st := s.status(testStack, noon)
	if diff := cmp.Diff([]string{"the Redis Cluster has not been looked at since data-2 came"}, st.Problems); diff != "" || st.Healthy || st.Settled {
		t.Errorf("healthy %t, settled %t, problems (-want +got):\n%s", st.Healthy, st.Settled, diff)
	}
}

// TestReportsOfReplacedNode has reports of a machine whose lease has not run out yet, though its successor beats.
func TestReportsOfReplacedNode(t *testing.T) {
	t.Parallel()
	report := func(unit string, lease int64) *mvccpb.KeyValue {
		return &mvccpb.KeyValue{Key: []byte(discovery.ObservedKey("data-1", unit)), Lease: lease, Value: []byte(`{"name":"` + unit + `","active":"active"}`)}
	}
	nodes := []api.NodeRecord{{Identity: api.Identity{Name: "data-1"}}}
	got := observedUnits(nodes, map[string]int64{"data-1": 2}, []*mvccpb.KeyValue{report("redis-1.service", 1), report("redis-2.service", 2)})
	want := map[string]map[string]api.UnitStatus{"data-1": {"redis-2.service": {Name: "redis-2.service", Active: "active"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
