package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

// healthy is what is observed when everything assigned runs.
func healthy(assignments []api.Assignment) Observed {
	now := Observed{Live: map[string]bool{}, Units: map[string]map[string]api.UnitStatus{}, RedisHealthy: true}
	for _, a := range assignments {
		now.Live[a.Node] = true
		set(now, a.Node, a.Unit, "active", a.Hash)
	}
	return now
}

func set(now Observed, node, unit, active, hash string) {
	if now.Units[node] == nil {
		now.Units[node] = map[string]api.UnitStatus{}
	}
	now.Units[node][unit] = api.UnitStatus{Name: unit, Active: active, Hash: hash}
}

// short names operations: kind, unit, node.
func short(ops []Operation) []string {
	var out []string
	for _, op := range ops {
		out = append(out, strings.Join([]string{string(op.Kind), strings.TrimSuffix(op.Assignment.Unit, ".service"), op.Assignment.Node}, " "))
	}
	return out
}

func TestNext(t *testing.T) {
	t.Parallel()
	base := deployment(2, 3, 3, 1)
	moreMemory := with(base, func(d *api.Deployment) { d.Redis.MaxMemory *= 2 })
	newImages := with(base, func(d *api.Deployment) { d.Images.HAProxy, d.Images.Keepalived = "haproxy:2", "keepalived:2" })
	four := deployment(2, 4, 3, 1)
	fetched := func(d *api.Deployment) { d.Images.Source = "s3://bucket/images" }
	cloud, one := with(base, fetched), with(deployment(1, 1, 1, 0), fetched)
	newRedis := with(cloud, func(d *api.Deployment) { d.Images.Redis = "redis:2" })
	images := []string{"put devctl-image-redis data-1", "put devctl-image-redis data-2", "put devctl-image-redis data-3"}

	cases := map[string]struct {
		from, to api.Deployment
		observe  func(*Observed)
		want     []string
	}{
		"everything new starts at once": {api.Deployment{}, deployment(1, 2, 1, 1), nil, []string{
			"put redis-1 data-1", "put redis-1 data-2", "put haproxy worker-1", "put keepalived worker-1",
		}},
		"Redis members change one at a time": {base, moreMemory, nil, []string{"put redis-1 data-1"}},
		"not while the cluster is ill":       {base, moreMemory, func(o *Observed) { o.RedisHealthy = false }, nil},
		"not while another one is down": {base, moreMemory, func(o *Observed) {
			set(*o, "data-3", "redis-3.service", "activating", "")
		}, []string{"put redis-3 data-3"}},
		"not while another one is still being changed": {base, moreMemory, func(o *Observed) {
			set(*o, "data-3", "redis-3.service", "active", "older")
		}, nil},
		"not while a node is missing": {base, moreMemory, func(o *Observed) { delete(o.Live, "data-3") }, nil},
		"nothing is changed when nobody answers": {base, moreMemory, func(o *Observed) {
			o.Live = map[string]bool{}
		}, nil},
		"everything that is down is repaired at once": {base, moreMemory, func(o *Observed) {
			o.RedisHealthy = false
			set(*o, "data-1", "redis-1.service", "failed", "")
			set(*o, "data-2", "redis-1.service", "failed", "")
		}, []string{"put redis-1 data-1", "put redis-1 data-2"}},
		"an unknown unit is not a unit that is down": {base, moreMemory, func(o *Observed) {
			o.RedisHealthy = false
			delete(o.Units, "data-1")
		}, nil},
		"nothing is changed while a member is only starting": {base, with(four, func(d *api.Deployment) { d.Redis.MaxMemory *= 2 }), nil, []string{
			"put redis-2 data-4",
		}},
		"what runs an image waits for it": {api.Deployment{}, one, nil, []string{
			"put devctl-image-redis data-1", "put devctl-image-haproxy worker-1", "put devctl-image-keepalived worker-1",
		}},
		"a new image is fetched everywhere at once, beside what runs": {cloud, newRedis, func(o *Observed) { o.RedisHealthy = false }, images},
		"images that load keep no load balancer from changing": {cloud, with(cloud, func(d *api.Deployment) { d.Balancer.Port++ }), func(o *Observed) {
			set(*o, "data-1", "devctl-image-redis.service", "activating", "")
			set(*o, "worker-2", "devctl-image-keepalived.service", "activating", "")
		}, []string{"put haproxy worker-1"}},
		"members of a node that left go one at a time": {four, with(four, without("data-4")), func(o *Observed) {}, []string{
			"put redis-2 data-3", "put redis-3 data-1",
		}},
		"the last member that works stays": {four, with(four, without("data-4")), func(o *Observed) {
			delete(o.Live, "data-4")
			set(*o, "data-2", "redis-2.service", "failed", "")
		}, []string{"put redis-2 data-3", "put redis-3 data-1", "delete redis-3 data-4"}},
		"load balancers change worker by worker": {base, newImages, nil, []string{"put haproxy worker-1", "put keepalived worker-1"}},
		"the endpoint's holder comes last": {base, newImages, func(o *Observed) { o.Holder = "worker-1" }, []string{
			"put haproxy worker-2", "put keepalived worker-2",
		}},
		"a load balancer waits for the other one": {base, newImages, func(o *Observed) {
			set(*o, "worker-1", "haproxy.service", "activating", "")
		}, []string{"put haproxy worker-1", "put keepalived worker-1"}},
		"a load balancer waits for a worker that is missing": {base, newImages, func(o *Observed) {
			o.Holder = "worker-2"
			delete(o.Live, "worker-1")
		}, nil},
		"a worker leaves when its successor serves": {deployment(3, 0, 0, 0), with(deployment(3, 0, 0, 0), without("worker-1")), nil, []string{
			"put haproxy worker-3", "put keepalived worker-3",
		}},
		"what a dead worker had is taken away": {deployment(3, 0, 0, 0), with(deployment(3, 0, 0, 0), without("worker-1")), func(o *Observed) {
			delete(o.Live, "worker-1")
		}, []string{"put haproxy worker-3", "put keepalived worker-3", "delete haproxy worker-1", "delete keepalived worker-1"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			current := apply(nil, Assignments(tc.from, nil))
			now := healthy(current)
			if tc.observe != nil {
				tc.observe(&now)
			}
			got := short(Next(Assignments(tc.to, current), current, now))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("next (-want +got):\n%s", diff)
			}
		})
	}
}

// TestImageFirst: a member changes when the image is there that it needs, and not because another node has it already.
func TestImageFirst(t *testing.T) {
	t.Parallel()
	old := with(deployment(2, 3, 3, 1), func(d *api.Deployment) { d.Images.Source = "s3://bucket/images" })
	newer := with(old, func(d *api.Deployment) { d.Images.Redis = "redis:2" })
	current := apply(nil, Assignments(old, nil))
	// All nodes of one member each have to fetch the image, and only data-2 has it.
	current = apply(current, Next(Assignments(newer, current), current, healthy(current)))
	now := healthy(current)
	for _, node := range []string{"data-1", "data-3"} {
		set(now, node, "devctl-image-redis.service", "activating", now.Units[node]["devctl-image-redis.service"].Hash)
	}
	for _, step := range []struct {
		name string
		want []string
	}{
		{"data-2 has it", []string{"put redis-1 data-2"}},
		{"data-2 has changed", []string{"put redis-2 data-2"}},
		{"data-2 has changed all it has", nil},
	} {
		next := Next(Assignments(newer, current), current, now)
		if diff := cmp.Diff(step.want, short(next)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		for _, op := range next {
			set(now, op.Assignment.Node, op.Assignment.Unit, "active", op.Assignment.Hash)
		}
		current = apply(current, next)
	}
}

// TestRolloutEnds carries out a change of everything step by step: what runs is never changed on two nodes that
// serve the same shard or the endpoint at a time, and in the end nothing is left to do.
func TestRolloutEnds(t *testing.T) {
	t.Parallel()
	from := deployment(3, 5, 3, 1)
	to := with(deployment(3, 4, 3, 1), func(d *api.Deployment) {
		d.Redis.MaxMemory *= 2
		d.Images = api.ServiceImages{Redis: "redis:2", HAProxy: "haproxy:2", Keepalived: "keepalived:2"}
		without("worker-1")(d)
	})
	current := apply(nil, Assignments(from, nil))
	for step := 0; ; step++ {
		ops := Assignments(to, current)
		if len(ops) == 0 {
			break
		}
		if step > 50 {
			t.Fatalf("no end in sight; left:\n%s", strings.Join(lines(ops), "\n"))
		}
		next := Next(ops, current, healthy(current))
		redis, workers := 0, map[string]bool{}
		for _, op := range next {
			switch {
			case op.Creates():
			case op.Assignment.Shard > 0:
				redis++
			default:
				workers[op.Assignment.Node] = true
			}
		}
		if len(next) == 0 || redis > 1 || len(workers) > 1 {
			t.Fatalf("step %d carries out %v", step, short(next))
		}
		current = apply(current, next)
	}
	if slices.ContainsFunc(current, func(a api.Assignment) bool { return a.Node == "data-5" || a.Node == "worker-1" }) {
		t.Errorf("something is left on nodes that are gone:\n%s", strings.Join(layout(current), "\n"))
	}
}
