package plan

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"testing/quick"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

// deployment is one as the spec gives it: slot i of a group is in zone i modulo three.
func deployment(workers, data, shards, replicas int) api.Deployment {
	d := api.Deployment{
		Stack:    "test",
		Redis:    api.RedisSpec{Shards: shards, Replicas: replicas, MaxMemory: 64 << 20, NodeTimeoutMS: 2000},
		Balancer: api.BalancerSpec{Instances: 2, Port: 7010, StatsPort: 7020},
		Endpoint: api.EndpointSpec{Address: "198.18.0.10", Prefix: 24, RouterID: 7},
		Images:   api.ServiceImages{Redis: "redis:1", HAProxy: "haproxy:1", Keepalived: "keepalived:1"},
	}
	add := func(role api.Role, count, base int) {
		for i := range count {
			d.Nodes = append(d.Nodes, api.Identity{
				Stack: "test", Role: role, Name: fmt.Sprintf("%s-%d", role, i+1),
				Zone: string(rune('a' + i%3)), Address: fmt.Sprintf("198.18.0.%d", base+i+1),
			})
		}
	}
	add(api.RoleMain, 3, 10)
	add(api.RoleWorker, workers, 20)
	add(api.RoleData, data, 100)
	return d
}

// apply carries out all operations.
func apply(current []api.Assignment, ops []Operation) []api.Assignment {
	out := slices.Clone(current)
	for _, op := range ops {
		out = slices.DeleteFunc(out, func(a api.Assignment) bool { return refOf(a) == refOf(op.Assignment) })
		if op.Kind == Put {
			out = append(out, op.Assignment)
		}
	}
	return out
}

// layout says which shards each data node holds, and which workers balance.
func layout(assignments []api.Assignment) []string {
	shards := map[string][]string{}
	for _, a := range slices.SortedFunc(slices.Values(assignments), compareAssignments) {
		text := strings.TrimSuffix(a.Unit, ".service")
		shards[a.Node] = append(shards[a.Node], text)
	}
	var out []string
	for node, units := range shards {
		out = append(out, node+": "+strings.Join(units, " "))
	}
	slices.SortFunc(out, CompareNames)
	slices.SortStableFunc(out, func(a, b string) int {
		return CompareNames(strings.SplitN(a, ":", 2)[0], strings.SplitN(b, ":", 2)[0])
	})
	return out
}

func lines(ops []Operation) []string {
	var out []string
	for _, op := range ops {
		out = append(out, op.String())
	}
	return out
}

func TestFirstPlacement(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		d    api.Deployment
		want []string
	}{
		"the default": {deployment(2, 3, 3, 1), []string{
			"data-1: redis-1 redis-3", "data-2: redis-1 redis-2", "data-3: redis-2 redis-3",
			"worker-1: haproxy keepalived", "worker-2: haproxy keepalived",
		}},
		"two replicas fill every zone": {deployment(0, 3, 3, 2), []string{
			"data-1: redis-1 redis-2 redis-3", "data-2: redis-1 redis-2 redis-3", "data-3: redis-1 redis-2 redis-3",
		}},
		"one member a node": {deployment(0, 6, 3, 1), []string{
			"data-1: redis-1", "data-2: redis-2", "data-3: redis-3", "data-4: redis-3", "data-5: redis-1", "data-6: redis-2",
		}},
		"a node that would be idle": {deployment(0, 7, 3, 1), []string{
			"data-1: redis-1", "data-2: redis-2", "data-3: redis-3", "data-4: redis-2", "data-5: redis-1", "data-6: redis-1",
			"data-7: redis-3",
		}},
		"more shards than nodes": {deployment(0, 3, 6, 1), []string{
			"data-1: redis-1 redis-3 redis-4 redis-6", "data-2: redis-1 redis-2 redis-4 redis-5",
			"data-3: redis-2 redis-3 redis-5 redis-6",
		}},
		"no replicas":             {deployment(0, 3, 3, 0), []string{"data-1: redis-1", "data-2: redis-2", "data-3: redis-3"}},
		"too few nodes":           {deployment(0, 1, 3, 1), []string{"data-1: redis-1 redis-2 redis-3"}},
		"no data nodes":           {deployment(1, 0, 3, 1), []string{"worker-1: haproxy keepalived"}},
		"workers beyond the need": {deployment(12, 0, 0, 0), []string{"worker-1: haproxy keepalived", "worker-2: haproxy keepalived"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := layout(apply(nil, Assignments(tc.d, nil)))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("layout (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	base := deployment(2, 3, 3, 1)
	cases := map[string]struct {
		from, to api.Deployment
		want     []string
	}{
		"nothing": {base, base, nil},
		"a data node more": {base, deployment(2, 4, 3, 1), []string{
			"put redis-2.service on data-4: an extra replica of shard 2, for a node that would be idle",
		}},
		"a worker more": {base, deployment(3, 3, 3, 1), nil},
		"a data node less": {deployment(2, 4, 3, 1), base, []string{
			"put redis-2.service on data-3: shard 2 needs 2 members",
			"put redis-3.service on data-1: shard 3 needs 2 members",
			"delete redis-2.service on data-4: the node is no longer part of the stack",
			"delete redis-3.service on data-4: the node is no longer part of the stack",
		}},
		"a replica more": {deployment(0, 3, 3, 1), deployment(0, 3, 3, 2), []string{
			"put redis-1.service on data-3: shard 1 needs 3 members",
			"put redis-2.service on data-1: shard 2 needs 3 members",
			"put redis-3.service on data-2: shard 3 needs 3 members",
		}},
		"a replica less": {deployment(0, 3, 3, 2), deployment(0, 3, 3, 1), []string{
			"delete redis-1.service on data-3: the deployment no longer wants it there",
			"delete redis-2.service on data-1: the deployment no longer wants it there",
			"delete redis-3.service on data-2: the deployment no longer wants it there",
		}},
		"other memory": {deployment(0, 3, 1, 0), with(deployment(0, 3, 1, 0), func(d *api.Deployment) { d.Redis.MaxMemory *= 2 }), []string{
			"put redis-1.service on data-1: /etc/devctl/services/redis-1.service/redis.conf changed",
			"put redis-1.service on data-2: /etc/devctl/services/redis-1.service/redis.conf changed",
			"put redis-1.service on data-3: /etc/devctl/services/redis-1.service/redis.conf changed",
		}},
		"other image": {base, with(base, func(d *api.Deployment) { d.Images.HAProxy = "haproxy:2" }), []string{
			"put haproxy.service on worker-1: its unit file changed",
			"put haproxy.service on worker-2: its unit file changed",
		}},
		"the first worker leaves": {deployment(3, 0, 0, 0), with(deployment(3, 0, 0, 0), without("worker-1")), []string{
			"put haproxy.service on worker-3: one of 2 load balancers",
			"put keepalived.service on worker-2: /etc/devctl/services/keepalived.service/keepalived.conf changed",
			"put keepalived.service on worker-3: holds or backs 198.18.0.10",
			"delete haproxy.service on worker-1: the node is no longer part of the stack",
			"delete keepalived.service on worker-1: the node is no longer part of the stack",
		}},
		"no endpoint": {base, with(base, func(d *api.Deployment) { d.Endpoint.Address = "" }), []string{
			"delete keepalived.service on worker-1: the deployment no longer wants it there",
			"delete keepalived.service on worker-2: the deployment no longer wants it there",
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			current := apply(nil, Assignments(tc.from, nil))
			got := lines(Assignments(tc.to, current))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("operations (-want +got):\n%s", diff)
			}
		})
	}
}

func with(d api.Deployment, change func(*api.Deployment)) api.Deployment {
	d.Nodes = slices.Clone(d.Nodes)
	change(&d)
	return d
}

func without(node string) func(*api.Deployment) {
	return func(d *api.Deployment) {
		d.Nodes = slices.DeleteFunc(d.Nodes, func(n api.Identity) bool { return n.Name == node })
	}
}

// TestProperties plays random histories of a stack and checks after every step what must always hold.
func TestProperties(t *testing.T) {
	t.Parallel()
	history := func(seed int64) bool {
		r := rand.New(rand.NewSource(seed))
		d := deployment(r.Intn(4), 1+r.Intn(9), 1+r.Intn(6), r.Intn(3))
		var current []api.Assignment
		for range 5 {
			ops := Assignments(d, current)
			mixed := with(d, func(d *api.Deployment) {
				r.Shuffle(len(d.Nodes), func(i, j int) { d.Nodes[i], d.Nodes[j] = d.Nodes[j], d.Nodes[i] })
			})
			shuffled := slices.Clone(current)
			r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			if diff := cmp.Diff(ops, Assignments(mixed, shuffled)); diff != "" {
				t.Errorf("seed %d: the order of the input changes the plan:\n%s", seed, diff)
				return false
			}
			fresh := len(current) == 0
			current = apply(current, ops)
			if again := Assignments(d, current); len(again) > 0 {
				t.Errorf("seed %d: applied, and still there is to do:\n%s", seed, strings.Join(lines(again), "\n"))
				return false
			}
			if err := sound(d, current, fresh); err != nil {
				t.Errorf("seed %d: %v\n%s", seed, err, strings.Join(layout(current), "\n"))
				return false
			}
			d = mutate(r, d)
		}
		return true
	}
	if err := quick.Check(history, &quick.Config{MaxCount: 300, Rand: rand.New(rand.NewSource(1))}); err != nil {
		t.Error(err)
	}
}

// mutate removes a data node, brings one (back) or changes the number of replicas.
func mutate(r *rand.Rand, d api.Deployment) api.Deployment {
	data := group(d.Nodes, api.RoleData)
	switch r.Intn(3) {
	case 0:
		if len(data) > 1 {
			return with(d, without(data[r.Intn(len(data))].Name))
		}
	case 1:
		for _, n := range group(deployment(0, 12, 1, 0).Nodes, api.RoleData) {
			if !slices.Contains(d.Nodes, n) {
				return with(d, func(d *api.Deployment) { d.Nodes = append(d.Nodes, n) })
			}
		}
	}
	return with(d, func(d *api.Deployment) { d.Redis.Replicas = r.Intn(3) })
}

// sound checks a placement of Redis members.
func sound(d api.Deployment, assignments []api.Assignment, fresh bool) error {
	zones := map[string]string{}
	for _, n := range d.Nodes {
		zones[n.Name] = n.Zone
	}
	data := group(d.Nodes, api.RoleData)
	used, load := map[string]bool{}, map[string]int{}
	for _, n := range data {
		used[n.Zone] = true
	}
	for s := 1; s <= d.Redis.Shards; s++ {
		nodes, in := map[string]bool{}, map[string]bool{}
		members := 0
		for _, a := range assignments {
			if a.Shard == s {
				members++
				nodes[a.Node], in[zones[a.Node]] = true, true
				load[a.Node]++
			}
		}
		copies := 1 + d.Redis.Replicas
		switch {
		case len(nodes) != members:
			return fmt.Errorf("shard %d has two members on a node", s)
		case members < min(copies, len(data)):
			return fmt.Errorf("shard %d has %d members, want %d", s, members, copies)
		case fresh && len(in) < min(copies, len(used)):
			return fmt.Errorf("shard %d is in %d zones of %d", s, len(in), len(used))
		}
	}
	least, most := len(assignments), 0
	for _, n := range data {
		least, most = min(least, load[n.Name]), max(most, load[n.Name])
	}
	if least == 0 {
		return fmt.Errorf("a data node is idle")
	}
	// Zones come before balance: only where all zones have as many nodes can nodes have as many members.
	if fresh && len(data)%3 == 0 && most-least > 1 {
		return fmt.Errorf("a data node has %d members, another %d", most, least)
	}
	return nil
}

// TestAddingANodeMovesNothing: whatever the history, one node more only gets units of its own.
func TestAddingANodeMovesNothing(t *testing.T) {
	t.Parallel()
	for data := 1; data < 12; data++ {
		for shards := 1; shards <= 6; shards++ {
			current := apply(nil, Assignments(deployment(2, data, shards, 1), nil))
			added := fmt.Sprintf("data-%d", data+1)
			for _, op := range Assignments(deployment(2, data+1, shards, 1), current) {
				if op.Assignment.Node != added || !op.Creates() {
					t.Errorf("%d data nodes, %d shards: %s", data, shards, op)
				}
			}
		}
	}
}

func TestHashCoversEverything(t *testing.T) {
	t.Parallel()
	a := api.Assignment{Node: "data-1", Unit: "redis-1.service", Text: "[Unit]", Shard: 1,
		Files: []api.File{{Path: "/f", Mode: 0o640, Content: "x"}}, Dirs: []api.File{{Path: "/d", Mode: 0o700}}}
	hash := sealed(a).Hash
	if len(hash) != 64 || sealed(sealed(a)).Hash != hash {
		t.Fatalf("hash is %q, then %q", hash, sealed(sealed(a)).Hash)
	}
	changes := map[string]func(*api.Assignment){
		"node":    func(a *api.Assignment) { a.Node = "data-2" },
		"unit":    func(a *api.Assignment) { a.Unit = "redis-2.service" },
		"text":    func(a *api.Assignment) { a.Text = "[Service]" },
		"shard":   func(a *api.Assignment) { a.Shard = 2 },
		"content": func(a *api.Assignment) { a.Files = []api.File{{Path: "/f", Mode: 0o640, Content: "y"}} },
		"mode":    func(a *api.Assignment) { a.Files = []api.File{{Path: "/f", Mode: 0o600, Content: "x"}} },
		"owner":   func(a *api.Assignment) { a.Dirs = []api.File{{Path: "/d", Mode: 0o700, UID: 1}} },
	}
	for name, change := range changes {
		b := a
		change(&b)
		if sealed(b).Hash == hash {
			t.Errorf("%s is not part of the hash", name)
		}
	}
}

func TestCompareNames(t *testing.T) {
	t.Parallel()
	names := []string{"worker-1", "data-10", "data-2", "data-1", "data", "data-002"}
	slices.SortFunc(names, CompareNames)
	want := []string{"data", "data-1", "data-002", "data-2", "data-10", "worker-1"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}
