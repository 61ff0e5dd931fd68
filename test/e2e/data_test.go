package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"devctl/internal/api"
)

// writesResume is how soon a shard takes writes again whose primary is lost.
const writesResume = 5 * time.Second

// TestPrimaryLost takes the node of a primary away, or what it keeps, under a client that writes to its shard. The promise: writes go
// on within seconds, the shard has its replica again by itself, everybody forgets who is gone, and nothing confirmed is lost.
func TestPrimaryLost(t *testing.T) {
	s := newStack(t, "e2esafe", "198.18.84.0/24")
	s.editSpec(t, three, four)
	s.must(t, 15*time.Minute, "up", "--yes")
	t.Run("a node is wanted no more", func(t *testing.T) { loseWanted(t, s) })

	for i, fault := range []struct {
		name   string
		inject func(id, unit string)
	}{
		{"the node is killed", func(id, _ string) { docker(t, "kill", id) }},
		{"the node is removed", func(id, _ string) { docker(t, "rm", "--force", "--volumes", id) }},
		{"Redis is killed, wiped, and started again before anybody misses it", func(id, unit string) {
			docker(t, "exec", id, "sh", "-c", fmt.Sprintf("systemctl kill --signal=KILL %s.service && rm -r %s/%[1]s/*", unit, api.DataDir))
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			st := s.status(t)
			checkStatus(t, st, 8)
			shard := st.Redis.Shards[i]
			lost := node(t, st, shard.Primary.Node)
			c := s.client(t)
			l := &ledger{c: c, prefix: shardKey(t, c, fmt.Sprint("fault-", i), shard.Primary.Address)}
			w := startTraffic(t, "the writer", l.set)
			w.more(t, 200)

			id := clusterID(t, c, shard.Primary.Address)
			fault.inject(lost.ID, fmt.Sprint("redis-", i+1))
			injected := time.Now()
			w.more(t, 10)
			after := s.waitStatus(t, "the stack is healthy again", time.Minute, healedSince(lost.Name, injected))
			t.Logf("healthy again after %v", time.Since(injected).Round(100*time.Millisecond))
			checkStatus(t, after, 8)
			if is := node(t, after, lost.Name); is.Zone != lost.Zone || is.Address != lost.Address {
				t.Errorf("%s is in zone %s at %s, was in %s at %s", is.Name, is.Zone, is.Address, lost.Zone, lost.Address)
			}
			waitFor(t, "nobody remembers who is gone", 10*time.Second, func() error { return remembered(t, c, after) })
			if back := clusterID(t, c, shard.Primary.Address); (i > 0) == (back == id) {
				t.Errorf("the member at %s is %s, was %s", shard.Primary.Address, back, id)
			}
			w.more(t, 100)
			w.stop(t, writesResume)
			l.check(t)
			l.c = s.client(t) // of somebody who comes later
			l.check(t)
		})
	}
}

// The number of data nodes in the shipped spec, and one more.
const three, four = "count: 3                 # Redis", "count: 4                 # Redis"

// loseWanted takes the fourth data node out of the spec, which has the only replicas of two shards.
func loseWanted(t *testing.T, s *stack) {
	before := s.status(t)
	checkStatus(t, before, 9)
	c := s.client(t)
	l := &ledger{c: s.client(t), prefix: "shrunk-"}
	confirmed := startTraffic(t, "the writer that waits for replicas", l.set)
	var clients []*traffic
	for i, shard := range before.Redis.Shards {
		clients = append(clients, startTraffic(t, fmt.Sprint("who writes and reads in shard ", i+1),
			settingAndGetting(s.client(t), shardKey(t, c, "shrinking", shard.Primary.Address))))
	}
	s.editSpec(t, four, three)
	for count, want := range map[string]string{
		three:                              "this would take away what nobody can make again, nothing was touched:\n  data-4 is deleted",
		"count: 1                 # Redis": "devctl:nodes.data.count",
	} {
		s.editSpec(t, three, count)
		if r := s.run(t, time.Minute, "up", "--yes"); r.code == 0 || !strings.Contains(r.stderr, want) {
			t.Errorf("up with %s: exit %d, want %q:\n%s", count, r.code, want, r.stderr)
		}
		s.editSpec(t, count, three)
	}
	sameMachines(t, before, s.status(t))

	up := s.must(t, 5*time.Minute, "up", "--yes", "--allow-replace", "data-4")
	if want := "Moved what Redis had on data-4 to the others"; !strings.Contains(up.stderr, want) {
		t.Errorf("up does not say %q:\n%s", want, up.stderr)
	}
	after := s.waitStatus(t, "the node that is gone is not waited for", 12*time.Second, func(st api.Status) bool { return len(st.Nodes) == 8 })
	checkStatus(t, after, 8)
	waitFor(t, "nobody remembers who is gone", 10*time.Second, func() error { return remembered(t, c, after) })
	for _, w := range clients {
		w.stop(t, unserved)
	}
	confirmed.end()
	l.check(t)
}

// clusterID asks the member at an address who it is.
func clusterID(t *testing.T, c *redis.ClusterClient, address string) string {
	t.Helper()
	for line := range strings.Lines(clusterNodes(t, c, address)) {
		if strings.Contains(line, "myself") {
			return strings.Fields(line)[0]
		}
	}
	t.Fatalf("%s does not know itself", address)
	return ""
}

// clusterNodes asks the member at an address whom it knows.
func clusterNodes(t *testing.T, c *redis.ClusterClient, address string) string {
	t.Helper()
	member := redis.NewClient(&redis.Options{Addr: address, Username: c.Options().Username, Password: c.Options().Password})
	defer member.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	known, err := member.ClusterNodes(ctx).Result()
	if err != nil {
		t.Fatalf("CLUSTER NODES of %s: %v", address, err)
	}
	return known
}

// remembered wants every member of the Redis Cluster to know all the others, and nobody else.
func remembered(t *testing.T, c *redis.ClusterClient, st api.Status) error {
	t.Helper()
	var members []string
	for _, shard := range st.Redis.Shards {
		for _, m := range append(slices.Clone(shard.Replicas), shard.Primary) {
			members = append(members, m.Address)
		}
	}
	for _, address := range members {
		known := clusterNodes(t, c, address)
		for line := range strings.Lines(known) {
			fields := strings.Fields(line)
			at, _, _ := strings.Cut(fields[1], "@")
			if !slices.Contains(members, at) || strings.Contains(fields[2], "fail") || strings.Contains(fields[2], "noaddr") {
				return fmt.Errorf("%s knows %s", address, line)
			}
		}
		if n := strings.Count(known, "\n"); n != len(members) {
			return fmt.Errorf("%s knows %d members, want %d:\n%s", address, n, len(members), known)
		}
	}
	return nil
}
