package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"devctl/internal/api"
)

const (
	// moved is how long the virtual IP may be away when its holder fails.
	moved = time.Second
	// back is how long a stack may take until it is healthy again by itself, once all that was taken from it may run again.
	back = 30 * time.Second
)

// TestFaults breaks one stack in one way after the other. Nobody calls devctl for it to heal; and what is not broken stays what it is.
func TestFaults(t *testing.T) {
	s := newStack(t, "e2efault", "198.18.80.0/24")
	s.must(t, 15*time.Minute, "up", "--yes")
	writeAndReadBack(t, s.client(t), "before")
	for _, fault := range []struct {
		name   string
		inject func(t *testing.T, s *stack, before api.Status)
	}{
		{"HAProxy hangs on the holder of the virtual IP", hangBalancer},
		{"the holder of the virtual IP is killed", killHolder},
		{"etcd loses its quorum", loseQuorum},
		{"the holder of the virtual IP is paused", pauseHolder},
		{"the node of a primary is paused", pausePrimary},
		{"a zone is killed", killZone},
		{"everything is stopped and started", restartEverything},
	} {
		whole := t.Run(fault.name, func(t *testing.T) {
			before := s.status(t)
			checkStatus(t, before, 8)
			fault.inject(t, s, before)
			s.whole(t, before)
			readBack(t, s.client(t), "before")
		})
		if !whole {
			return // what it left says nothing about the next
		}
	}
}

// hangBalancer stops the processes of HAProxy, which then take connections and say nothing.
func hangBalancer(t *testing.T, s *stack, before api.Status) {
	k := startTraffic(t, "a client of the endpoint", knocking(before.Endpoint))
	holder := node(t, before, before.Endpoint.Holder)
	signal := func(name string) { docker(t, "exec", holder.ID, "pkill", "-"+name, "-x", "haproxy") }
	signal("STOP")
	k.more(t, 20)
	k.stop(t, moved)
	if names := holders(before); len(names) != 1 || names[0] == holder.Name {
		t.Errorf("the virtual IP is held by %v, HAProxy hangs on %s", names, holder.Name)
	}
	signal("CONT")
	injected := time.Now()
	oneHolder(t, before, 3*time.Second)
	after := s.waitStatus(t, "the stack is healthy again", back, healedSince(holder.Name, injected))
	if after.Endpoint.Holder == holder.Name {
		t.Errorf("%s has taken the virtual IP back", holder.Name)
	}
}

func killHolder(t *testing.T, s *stack, before api.Status) {
	k := startTraffic(t, "a client of the endpoint", knocking(before.Endpoint))
	holder := node(t, before, before.Endpoint.Holder)
	docker(t, "kill", holder.ID)
	injected := time.Now()
	k.more(t, 20)
	k.stop(t, moved)
	after := s.waitStatus(t, "the stack is healthy again", back, healedSince(holder.Name, injected))
	oneHolder(t, before, 3*time.Second)
	if after.Endpoint.Holder == holder.Name {
		t.Errorf("%s has taken the virtual IP back", holder.Name)
	}
}

// loseQuorum pauses two of three mains for longer than anybody's lease lasts. Without an answer nothing is changed.
func loseQuorum(t *testing.T, s *stack, before api.Status) {
	started := s.startedOn(t, api.RoleWorker, api.RoleData)
	w := startTraffic(t, "a client", settingAndGetting(s.client(t, patient), "quorum-"))
	leader := before.Etcd.Leader
	paused := []string{node(t, before, leader).ID, node(t, before, map[string]string{"main-1": "main-2", "main-2": "main-3", "main-3": "main-1"}[leader]).ID}
	docker(t, append([]string{"pause"}, paused...)...)
	time.Sleep(15 * time.Second) // the fault: a lease lasts 10 s
	if names := holders(before); !slices.Equal(names, []string{before.Endpoint.Holder}) {
		t.Errorf("without a quorum the virtual IP is held by %v, was by %s", names, before.Endpoint.Holder)
	}
	if r := s.run(t, 30*time.Second, "status"); r.code != 1 || !strings.Contains(r.stderr, "next: ") {
		t.Errorf("status without a quorum: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	docker(t, append([]string{"unpause"}, paused...)...)
	s.asItWas(t, before, started, healedSince(leader, time.Now()))
	w.faultless(t)
}

// asItWas wants a stack whose control plane was away healthy in time, and all the rest to be as it was: the same processes, and what
// status says of them.
func (s *stack) asItWas(t *testing.T, before api.Status, started map[string]string, healed func(api.Status) bool) {
	t.Helper()
	returned := time.Now()
	s.waitStatus(t, "the stack is healthy again", back, healed)
	t.Logf("healthy %v after the control plane returned", time.Since(returned).Round(100*time.Millisecond))
	// An agent that could not read its secrets says so until it has tried again.
	s.waitStatus(t, "the status is what it was", time.Minute, func(st api.Status) bool { return cmp.Equal(whatItIs(before), whatItIs(st)) })
	if diff := cmp.Diff(started, s.startedOn(t, api.RoleWorker, api.RoleData)); diff != "" {
		t.Errorf("something was restarted (-before +after):\n%s", diff)
	}
}

// pauseHolder lets a worker return that was paused for longer than its lease lasts, and took itself for the holder of the virtual IP.
func pauseHolder(t *testing.T, s *stack, before api.Status) {
	k := startTraffic(t, "a client of the endpoint", knocking(before.Endpoint))
	holder := node(t, before, before.Endpoint.Holder)
	docker(t, "pause", holder.ID)
	k.more(t, 20)
	k.stop(t, moved)
	s.silent(t, before, holder.Name)
	docker(t, "unpause", holder.ID)
	returned := time.Now()
	waitFor(t, "one worker holds the virtual IP", 2*time.Second, func() error {
		if names := holders(before); len(names) != 1 {
			return fmt.Errorf("it is held by %v", names)
		}
		return nil
	})
	oneHolder(t, before, 3*time.Second)
	s.waitStatus(t, "the stack is healthy again", back, healedSince(holder.Name, returned))
	t.Logf("healthy %v after it returned", time.Since(returned).Round(100*time.Millisecond))
}

// pausePrimary lets a data node return whose primary was replaced meanwhile.
func pausePrimary(t *testing.T, s *stack, before api.Status) {
	primary := before.Redis.Shards[0].Primary
	paused := node(t, before, primary.Node)
	c := s.client(t)
	key := shardKey(t, c, "own", primary.Address)
	if err := c.Set(t.Context(), key, "old", 0).Err(); err != nil {
		t.Fatal(err)
	}
	docker(t, "pause", paused.ID)
	injected := time.Now()
	s.writable(t, "all shards take writes again")
	t.Logf("all shards took writes %v after the pause", time.Since(injected).Round(100*time.Millisecond))
	c = s.client(t)
	if err := c.Set(t.Context(), key, "new", 0).Err(); err != nil {
		t.Fatal(err)
	}
	writeAndReadBack(t, c, "meanwhile")
	s.silent(t, before, paused.Name)

	old := redis.NewClient(&redis.Options{Addr: primary.Address, Username: c.Options().Username, Password: c.Options().Password, ReadTimeout: time.Second})
	t.Cleanup(func() { old.Close() })
	var lastOld atomic.Int64 // when it last said "old", rather than "new" or that somebody else is to be asked
	startTraffic(t, "a client of the old primary", func(ctx context.Context, _ int) error {
		if got, err := old.Get(ctx, key).Result(); err == nil && got != "new" {
			lastOld.Store(time.Now().UnixNano())
		}
		return nil
	})
	docker(t, "unpause", paused.ID)
	returned := time.Now()
	s.waitStatus(t, "the stack is healthy again", back, healedSince(paused.Name, returned))
	t.Logf("healthy %v after it returned", time.Since(returned).Round(100*time.Millisecond))
	if last := time.Unix(0, lastOld.Load()); last.After(returned.Add(time.Second)) {
		t.Errorf("the old primary said what it was before until %v after it returned", last.Sub(returned))
	}
	readBack(t, c, "meanwhile")
}

// killZone kills all nodes in the zone of the virtual IP's holder, and while the zone is away nothing can be started in it.
func killZone(t *testing.T, s *stack, before api.Status) {
	supervisor := "devctl-" + s.name + "-supervisor"
	docker(t, "stop", supervisor)
	k := startTraffic(t, "a client of the endpoint", knocking(before.Endpoint))
	zone := node(t, before, before.Endpoint.Holder).Zone
	kill := []string{"kill"}
	for _, n := range before.Nodes {
		if n.Zone == zone {
			kill = append(kill, n.ID)
		}
	}
	docker(t, kill...)
	injected := time.Now()
	k.more(t, 20)
	k.stop(t, moved)
	s.writable(t, "the other zones serve")
	t.Logf("all shards took writes %v after zone %s was killed", time.Since(injected).Round(100*time.Millisecond), zone)
	writeAndReadBack(t, s.client(t), "zone")
	s.silent(t, before, before.Endpoint.Holder)

	docker(t, "start", supervisor)
	returned := time.Now()
	s.waitStatus(t, "the stack is healthy again", time.Minute, healedSince(before.Endpoint.Holder, returned))
	t.Logf("healthy %v after the zone returned", time.Since(returned).Round(100*time.Millisecond))
	readBack(t, s.client(t), "zone")
}

func restartEverything(t *testing.T, s *stack, _ api.Status) {
	all := strings.Fields(docker(t, "ps", "--quiet", "--filter", "label=devctl.stack="+s.name))
	if len(all) != 9 {
		t.Errorf("%d containers, want 8 nodes and a supervisor", len(all))
	}
	docker(t, append([]string{"stop"}, all...)...)
	begun := time.Now()
	docker(t, append([]string{"start"}, all...)...) // one after the other
	started := time.Now()
	s.waitStatus(t, "the stack is healthy again", back, healedSince("main-1", begun))
	t.Logf("healthy %v after the last was started, which took %v", time.Since(started).Round(100*time.Millisecond), started.Sub(begun).Round(100*time.Millisecond))
}

// silent waits until a node that gives no sign of life is missed. Nothing of what it runs goes elsewhere.
func (s *stack) silent(t *testing.T, before api.Status, name string) {
	t.Helper()
	st := s.waitStatus(t, name+" is missed", 30*time.Second, func(st api.Status) bool {
		return !st.Healthy && !slices.ContainsFunc(st.Nodes, func(n api.NodeStatus) bool { return n.Name == name })
	})
	want := unitsOf(before)
	maps.DeleteFunc(want, func(node string, _ []string) bool {
		return !slices.ContainsFunc(st.Nodes, func(n api.NodeStatus) bool { return n.Name == node })
	})
	if diff := cmp.Diff(want, unitsOf(st)); diff != "" {
		t.Errorf("without %s others run something else (-before +now):\n%s", name, diff)
	}
}

// unitsOf are the names of the units on every node.
func unitsOf(st api.Status) map[string][]string {
	all := map[string][]string{}
	for _, n := range st.Nodes {
		for _, u := range n.Units {
			all[n.Name] = append(all[n.Name], u.Name)
		}
	}
	return all
}

// writable waits until a client that knows only the endpoint can write to every shard.
func (s *stack) writable(t *testing.T, what string) {
	t.Helper()
	c := s.client(t)
	waitFor(t, what, 20*time.Second, func() error {
		for i := range keys {
			if err := c.Set(t.Context(), fmt.Sprintf("writable-%d", i), i, 0).Err(); err != nil {
				c.ReloadState(t.Context()) // by itself it looks every ten seconds only
				return err
			}
		}
		return nil
	})
}

// whole wants a healthy stack of the same machines as before, each with the same units, one holder of the virtual IP, and one view of
// the Redis Cluster.
func (s *stack) whole(t *testing.T, before api.Status) {
	t.Helper()
	after := s.status(t)
	checkStatus(t, after, len(before.Nodes))
	sameMachines(t, before, after)
	if diff := cmp.Diff(unitsOf(before), unitsOf(after)); diff != "" {
		t.Errorf("something is assigned elsewhere (-before +after):\n%s", diff)
	}
	if names := holders(after); !slices.Equal(names, []string{after.Endpoint.Holder}) {
		t.Errorf("the virtual IP is on %v, and %s says that it holds it", names, after.Endpoint.Holder)
	}
	c := s.client(t)
	waitFor(t, "all of Redis agree", 10*time.Second, func() error { return oneView(t, c, after) })
}

// oneView is an error unless every Redis says the same of all of them: the role, whom it follows, the config epoch, the slots. So no two
// can own the same slots.
func oneView(t *testing.T, c *redis.ClusterClient, st api.Status) error {
	t.Helper()
	var first []string
	for _, shard := range st.Redis.Shards {
		for _, m := range append(slices.Clone(shard.Replicas), shard.Primary) {
			var view []string
			for line := range strings.Lines(clusterNodes(t, c, m.Address)) {
				f := strings.Fields(line) // ID, address, flags, primary, ping, pong, config epoch, link, slots
				f[2], f[4], f[5], f[7] = strings.TrimPrefix(f[2], "myself,"), "", "", ""
				view = append(view, strings.Join(f, " "))
			}
			slices.Sort(view)
			if first == nil {
				first = view
			}
			if diff := cmp.Diff(first, view); diff != "" {
				return fmt.Errorf("%s has another view than %s:\n%s", m.Address, st.Redis.Shards[0].Replicas[0].Address, diff)
			}
		}
	}
	if n := strings.Count(strings.Join(first, "\n"), " master "); n != len(st.Redis.Shards) {
		return fmt.Errorf("there are %d primaries, want %d:\n%s", n, len(st.Redis.Shards), strings.Join(first, "\n"))
	}
	return nil
}
