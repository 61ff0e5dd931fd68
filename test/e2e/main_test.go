package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"devctl/internal/api"
)

// TestFromNothingToDestroyed is the life of a stack: up, use, look, change, lose a node, destroy.
func TestFromNothingToDestroyed(t *testing.T) {
	s := newStack(t, "e2e", "198.18.90.0/24")

	up := s.must(t, 15*time.Minute, "up", "--yes")
	t.Logf("up printed:\n%s%s", up.stdout, up.stderr)

	c := s.client(t)
	writeAndReadBack(t, c, "first")

	st := s.status(t)
	checkStatus(t, st, 8)
	started := s.started(t)

	t.Run("secrets are masked unless asked for", func(t *testing.T) {
		shown, masked := s.outputs(t, "--show-secrets"), s.outputs(t)
		if masked.Redis.Password == shown.Redis.Password || masked.Redis.Password == "" {
			t.Errorf("the password without --show-secrets is %q", masked.Redis.Password)
		}
	})

	t.Run("stock redis-cli", func(t *testing.T) {
		o := s.outputs(t, "--show-secrets")
		cmd := exec.Command("redis-cli", "-c", "-h", o.Redis.Address, "-p", strconv.Itoa(o.Redis.Port), "--user", o.Redis.Username, "set", "stock", "client")
		cmd.Env = append(cmd.Environ(), "REDISCLI_AUTH="+o.Redis.Password)
		if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "OK" {
			t.Errorf("redis-cli set: %v: %q", err, out)
		}
	})

	t.Run("a second up changes nothing", func(t *testing.T) {
		again := s.must(t, time.Minute, "up", "--yes")
		if !strings.Contains(again.stdout+again.stderr, "No changes") {
			t.Errorf("the second up does not say that nothing changed:\n%s%s", again.stdout, again.stderr)
		}
		sameMachines(t, st, s.status(t))
		sameProcesses(t, started, s.started(t))
		if r := s.run(t, time.Minute, "preview", "--detailed-exitcode"); r.code != 0 {
			t.Errorf("preview --detailed-exitcode: exit %d with nothing to change\n%s", r.code, r.stdout)
		}
	})

	t.Run("one more data node", func(t *testing.T) {
		s.editSpec(t, "count: 3                 # Redis", "count: 4                 # Redis")
		if r := s.run(t, time.Minute, "preview", "--detailed-exitcode"); r.code != 2 {
			t.Errorf("preview --detailed-exitcode: exit %d with a node to add\n%s%s", r.code, r.stdout, r.stderr)
		}
		s.must(t, 5*time.Minute, "up", "--yes")
		grown := s.status(t)
		checkStatus(t, grown, 9)
		sameMachines(t, st, grown)
		sameProcesses(t, started, s.started(t))
		if n := node(t, grown, "data-4"); n.Zone != "a" {
			t.Errorf("data-4 is in zone %q", n.Zone)
		}
		writeAndReadBack(t, c, "grown")
	})

	t.Run("the holder of the virtual IP dies", func(t *testing.T) { loseHolder(t, s, c) })

	s.must(t, 3*time.Minute, "destroy", "--yes")
	if left := s.labelled(t); len(left) > 0 {
		t.Errorf("destroy left %v", left)
	}
	if out, _ := exec.Command("pgrep", "--full", "--list-full", s.home).CombinedOutput(); len(out) > 0 {
		t.Errorf("processes of the stack are left:\n%s", out)
	}
}

// loseHolder kills the worker that holds the virtual IP while clients write, one of them through the
// address alone, and wants both to go on.
func loseHolder(t *testing.T, s *stack, c *redis.ClusterClient) {
	before := s.status(t)
	holder := before.Endpoint.Holder
	o := s.outputs(t, "--show-secrets")
	docker(t, "kill", node(t, before, holder).ID)
	killed := time.Now()

	waitFor(t, "the virtual IP answers again", 10*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		plain := redis.NewClient(&redis.Options{
			Addr:     fmt.Sprintf("%s:%d", o.Redis.Address, o.Redis.Port),
			Username: o.Redis.Username, Password: o.Redis.Password, MaxRetries: -1, DialTimeout: 300 * time.Millisecond,
		})
		defer plain.Close()
		return plain.Ping(ctx).Err()
	})
	t.Logf("the virtual IP answered %v after its holder was killed", time.Since(killed).Round(time.Millisecond))
	writeAndReadBack(t, c, "failover")
	writeAndReadBack(t, s.client(t), "new client")

	// Nobody calls up: the group keeps its size by itself.
	back := s.waitStatus(t, "the dead node is back", time.Minute, healedSince(holder, killed))
	checkStatus(t, back, len(before.Nodes))
	if back.Endpoint.Holder == holder {
		t.Errorf("the endpoint is held by %s, which was dead", holder)
	}
}

func writeAndReadBack(t *testing.T, c *redis.ClusterClient, prefix string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := range keys {
		key := fmt.Sprintf("%s-%d", prefix, i)
		if err := c.Set(ctx, key, i, 0).Err(); err != nil {
			t.Fatalf("set %s: %v", key, err)
		}
	}
	readBack(t, c, prefix)
}

// keys is how many keys are written and read: enough for every shard to have its part.
const keys = 200

func readBack(t *testing.T, c *redis.ClusterClient, prefix string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := range keys {
		key := fmt.Sprintf("%s-%d", prefix, i)
		if got, err := c.Get(ctx, key).Int(); err != nil || got != i {
			t.Fatalf("get %s = %d, %v", key, got, err)
		}
	}
}

// checkStatus wants a healthy stack of so many nodes.
func checkStatus(t *testing.T, st api.Status, nodes int) {
	t.Helper()
	if !st.Healthy || !st.Settled || len(st.Problems) > 0 {
		t.Errorf("healthy %v, settled %v, problems %q", st.Healthy, st.Settled, st.Problems)
	}
	if len(st.Nodes) != nodes {
		t.Errorf("%d nodes, want %d", len(st.Nodes), nodes)
	}
	for _, n := range st.Nodes {
		if n.State != "ready" || n.ID == "" || n.Zone == "" || time.Since(n.LastHeartbeat) > 12*time.Second {
			t.Errorf("node %+v", n)
		}
		for _, u := range n.Units {
			if u.Active != "active" {
				t.Errorf("%s on %s is %s (%s): %s", u.Name, n.Name, u.Active, u.Sub, u.Message)
			}
		}
	}
	if st.Etcd.Members != 3 || st.Etcd.Healthy != 3 || st.Etcd.Leader == "" {
		t.Errorf("etcd %+v", st.Etcd)
	}
	r := st.Redis
	if r.State != "ok" || r.SlotsAssigned != 16384 || r.Primaries != 3 || r.Replicas < 3 || len(r.Shards) != 3 {
		t.Errorf("redis %+v", r)
	}
	for _, shard := range r.Shards {
		if len(shard.Replicas) == 0 {
			t.Errorf("slots %s have no replica", shard.Slots)
		}
		for _, replica := range shard.Replicas {
			if replica.Zone == shard.Primary.Zone || !replica.InSync {
				t.Errorf("slots %s: replica %+v of primary %+v", shard.Slots, replica, shard.Primary)
			}
		}
	}
	if st.Endpoint.Holder == "" {
		t.Error("nobody holds the endpoint")
	}
}

// sameMachines wants every node of before in after as it was: the same machine.
func sameMachines(t *testing.T, before, after api.Status) {
	t.Helper()
	for _, was := range before.Nodes {
		is := node(t, after, was.Name)
		if is.ID != was.ID {
			t.Errorf("%s was replaced", was.Name)
		}
	}
}

// sameProcesses wants every unit of before in after, started when it was.
func sameProcesses(t *testing.T, before, after map[string]string) {
	t.Helper()
	for unit, was := range before {
		if is := after[unit]; is != was {
			t.Errorf("%s: was %q, is %q", unit, was, is)
		}
	}
}
