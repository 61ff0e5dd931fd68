package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"

	"devctl/internal/api"
)

// testCluster is members and the servers they run on.
type testCluster struct {
	t       *testing.T
	spec    api.RedisSpec
	members []Member
	servers map[string]*server // by address
	root    string
	keeper  Keeper
}

func (c *testCluster) add(node, zone, address string, shard int) Member {
	c.t.Helper()
	s := newServer(c.t, c.root, c.spec, shard, node, address)
	m := Member{Node: node, Zone: zone, Address: s.address, Shard: shard, Ready: true}
	c.members, c.servers[s.address] = append(c.members, m), s
	s.start()
	return m
}

func (c *testCluster) reconcile() (api.RedisStatus, []string) {
	c.t.Helper()
	status, done, err := c.keeper.Reconcile(c.t.Context(), c.spec, c.members, adminCreds)
	if err != nil {
		c.t.Logf("reconcile: %v", err) // gossip lags behind: the next pass goes on
	}
	for _, d := range done {
		c.t.Logf("done: %s", d)
	}
	return status, done
}

// settle reconciles until the cluster is whole: no problem is left.
func (c *testCluster) settle() api.RedisStatus {
	c.t.Helper()
	var status api.RedisStatus
	start := time.Now()
	eventually(c.t, "the cluster is whole", func() error {
		status, _ = c.reconcile()
		if status.State != "ok" || len(status.Problems) > 0 {
			return fmt.Errorf("state %s: %s", status.State, strings.Join(status.Problems, "; "))
		}
		return nil
	})
	c.t.Logf("whole after %v", time.Since(start).Round(time.Millisecond))
	if _, done := c.reconcile(); len(done) > 0 {
		c.t.Errorf("a whole cluster was changed: %q", done)
	}
	return status
}

// app is a cluster-aware client with the user that people get.
func (c *testCluster) app() *goredis.ClusterClient {
	creds := credentials(api.RedisUserApp, api.SecretRedisApp)
	client := goredis.NewClusterClient(&goredis.ClusterOptions{
		Addrs: []string{c.members[0].Address}, Username: creds.User, Password: creds.Password, Protocol: 2, DisableIdentity: true,
		MaxRedirects: 2, DialerRetries: 1,
	})
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// place is where a member is.
type place struct {
	node, zone, address string
	shard               int
}

// ring is three shards of two members on three nodes, in the given network of the loopback.
func ring(network string) []place {
	return []place{
		{"data-1", "a", network + ".1", 1}, {"data-1", "a", network + ".1", 3},
		{"data-2", "b", network + ".2", 1}, {"data-2", "b", network + ".2", 2},
		{"data-3", "c", network + ".3", 2}, {"data-3", "c", network + ".3", 3},
	}
}

const keyCount = 300

func write(t *testing.T, client *goredis.ClusterClient) {
	t.Helper()
	for i := range keyCount {
		if err := client.Set(t.Context(), fmt.Sprint("key-", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// readable counts the keys that have the value they were given.
func readable(t *testing.T, client *goredis.ClusterClient) int {
	t.Helper()
	count := 0
	for i := range keyCount {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		got, err := client.Get(ctx, fmt.Sprint("key-", i)).Result()
		cancel()
		if err == nil && got == fmt.Sprint(i) {
			count++
		} else if err == nil || errors.Is(err, goredis.Nil) {
			t.Errorf("key-%d is %q: %v", i, got, err)
		}
	}
	return count
}

func primaries(status api.RedisStatus) []string {
	var out []string
	for _, s := range status.Shards {
		out = append(out, s.Primary.Node)
	}
	return out
}

// TestCluster follows a real cluster from blank members through growth, the loss of a primary and its disk, to the
// loss of a whole shard.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := &testCluster{t: t, root: t.TempDir(), servers: map[string]*server{}}
	c.spec = api.RedisSpec{Shards: 3, Replicas: 1, MaxMemory: 64 << 20, NodeTimeoutMS: 500}
	place := ring(loopback(0))
	for _, p := range place[:5] {
		c.add(p.node, p.zone, p.address, p.shard)
	}

	status, done := c.reconcile()
	want := api.RedisStatus{State: "forming", Shards: []api.ShardStatus{}, Problems: []string{
		"shard 3 has 1 of 2 members; the cluster is formed when all are there",
	}}
	if diff := cmp.Diff(want, status); diff != "" || len(done) > 0 {
		t.Fatalf("with a member missing, done %q, status (-want +got):\n%s", done, diff)
	}

	last := place[5]
	c.add(last.node, last.zone, last.address, last.shard)
	c.members[5].Ready = false
	if status, done = c.reconcile(); len(done) > 0 || status.State != "forming" {
		t.Fatalf("with a member that is not ready: done %q, status %+v", done, status)
	}
	c.members[5].Ready = true

	status = c.settle()
	if got := primaries(status); len(slices.Compact(slices.Sorted(slices.Values(got)))) != 3 {
		t.Errorf("primaries are on %v, want three nodes", got)
	}
	if status.SlotsAssigned != slotCount || status.Primaries != 3 || status.Replicas != 3 || status.Shards[1].Slots != "5461-10921" {
		t.Errorf("status %+v", status)
	}
	app := c.app()
	write(t, app)

	for _, m := range c.members {
		cli := exec.Command("redis-cli", "-c", "-u", "redis://"+m.Address, "--user", api.RedisUserApp, "--no-auth-warning", "GET", "key-7")
		cli.Env = append(cli.Environ(), "REDISCLI_AUTH="+password(api.SecretRedisApp))
		if out, err := cli.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "7" {
			t.Errorf("stock redis-cli -c by way of %s: %v\n%s", m, err, out)
		}
	}

	t.Log("a seventh member joins")
	grown := c.add("data-4", "c", loopback(0)+".4", 1)
	status = c.settle()
	if got := status.Shards[0].Replicas; len(got) != 2 || got[1].Node != grown.Node || !got[1].InSync {
		t.Errorf("replicas of shard 1 are %+v, want data-4 in sync among them", got)
	}

	t.Log("a primary loses its process and its disk")
	lost := status.Shards[1].Primary
	replica := status.Shards[1].Replicas[0]
	before, err := Inspect(t.Context(), lost.Address, adminCreds)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	c.servers[lost.Address].kill()
	status, done = c.reconcile()
	wantProblem := fmt.Sprintf("shard 2 (slots 5461-10921): its primary %s (%s) is gone; %s (%s) is about to take over",
		lost.Node, lost.Address, replica.Node, replica.Address)
	if status.State != "fail" || !slices.Contains(status.Problems, wantProblem) || len(done) > 0 {
		t.Errorf("after the kill: done %q, state %s, problems %q, want %q", done, status.State, status.Problems, wantProblem)
	}
	eventually(t, "the replica took over", func() error {
		if status, _ = c.reconcile(); status.State != "ok" || status.Shards[1].Primary.Address != replica.Address {
			return fmt.Errorf("state %s, primary %+v", status.State, status.Shards[1].Primary)
		}
		return nil
	})
	t.Logf("failover took %v with a node timeout of %d ms", time.Since(start).Round(time.Millisecond), c.spec.NodeTimeoutMS)
	c.servers[lost.Address].wipe()
	c.servers[lost.Address].start()
	status = c.settle()
	if got := status.Shards[1]; got.Primary.Address != lost.Address || !got.Replicas[0].InSync || got.Replicas[0].Address != replica.Address {
		t.Errorf("shard 2 is %+v, want %s as primary again and %s as replica", got, lost.Address, replica.Address)
	}
	for _, m := range c.members {
		text, err := c.servers[m.Address].as(adminCreds).ClusterNodes(t.Context()).Result()
		if err != nil || strings.Contains(text, before.NodeID) {
			t.Errorf("%s still knows %s: %v\n%s", m, before.NodeID, err, text)
		}
	}
	eventually(t, "the client has found the new primary", func() error {
		if got := readable(t, app); got != keyCount {
			return fmt.Errorf("%d of %d keys are readable", got, keyCount)
		}
		return nil
	})

	t.Log("a shard loses all its copies")
	for _, m := range c.members {
		if m.Shard == 3 {
			c.servers[m.Address].kill()
			c.servers[m.Address].wipe()
			c.servers[m.Address].start()
		}
	}
	wantProblem = "shard 3 (slots 10922-16383): all its members came back empty; its keys are lost, and its slots stay closed until a person decides"
	eventually(t, "the loss is reported", func() error {
		status, _ = c.reconcile()
		if status.State != "fail" || status.SlotsAssigned != slotCount || !slices.Contains(status.Problems, wantProblem) {
			return fmt.Errorf("state %s, %d slots, problems %q, want %q", status.State, status.SlotsAssigned, status.Problems, wantProblem)
		}
		return nil
	})
	if got := readable(t, app); got < keyCount/2 || got == keyCount {
		t.Errorf("%d of %d keys are readable, want those of two shards", got, keyCount)
	}
}

// TestRandomFaults does to real members what TestPlanInAnyOrder does to a model: in any order some are killed, wiped and started
// again, at once or later, while one copy of every shard keeps its disk. Afterwards everything is there.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	const seed, rounds = 10753, 6
	random := rand.New(rand.NewPCG(seed, 0))
	c := &testCluster{t: t, root: t.TempDir(), servers: map[string]*server{}}
	c.spec = api.RedisSpec{Shards: 3, Replicas: 1, MaxMemory: 64 << 20, NodeTimeoutMS: 500}
	for _, p := range ring(loopback(5)) {
		c.add(p.node, p.zone, p.address, p.shard)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.evidence()
		}
	})
	c.settle()
	for round := range rounds {
		app := c.app()
		write(t, app)
		status := c.copied()
		// Not the disks of two primaries: the one that is left of three is no majority, and a person has to decide.
		shard := status.Shards[random.IntN(len(status.Shards))]
		lost, kept := shard.Primary.Address, shard.Replicas[0].Address
		if random.IntN(3) == 0 {
			lost, kept = kept, lost
		}
		faults := []func(){func() { c.servers[lost].kill(); c.servers[lost].wipe() }}
		for _, m := range c.members {
			if m.Address != lost && random.IntN(4) == 0 {
				faults = append(faults, c.servers[m.Address].kill)
			}
		}
		random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
		for _, fault := range faults {
			fault()
			if random.IntN(2) == 0 {
				c.reconcile()
			}
		}
		t.Logf("round %d: %s lost its disk, %s has the copy, %d members are down", round, lost, kept, len(faults))
		for _, i := range random.Perm(len(c.members)) {
			if s := c.servers[c.members[i].Address]; !s.running() {
				s.start()
				for range random.IntN(4) {
					c.reconcile()
				}
			}
		}
		c.settle()
		eventually(t, "everything is there", func() error {
			if got := readable(t, c.app()); got != keyCount {
				return fmt.Errorf("%d of %d keys are readable", got, keyCount)
			}
			return nil
		})
	}
}

// evidence prints the last that every member has logged.
func (c *testCluster) evidence() {
	for _, m := range c.members {
		log, err := os.ReadFile(c.servers[m.Address].log)
		lines := strings.Split(strings.TrimSpace(string(log)), "\n")
		c.t.Logf("log of %s (%v):\n%s", m, err, strings.Join(lines[max(0, len(lines)-60):], "\n"))
	}
}

// copied waits until all replicas have what their primaries have.
func (c *testCluster) copied() api.RedisStatus {
	c.t.Helper()
	var status api.RedisStatus
	eventually(c.t, "everything is copied", func() error {
		status, _ = c.reconcile()
		offsets := map[int]int64{}
		for _, m := range c.members {
			instance, err := Inspect(c.t.Context(), m.Address, adminCreds)
			if err != nil {
				return err
			}
			if other, seen := offsets[m.Shard]; seen && other != instance.Offset {
				return fmt.Errorf("members of shard %d are at %d and %d", m.Shard, other, instance.Offset)
			}
			offsets[m.Shard] = instance.Offset
		}
		return nil
	})
	return status
}

// TestReplacedFasterThanDetected rolls a real cluster: node by node loses all its members and their disks, and has
// them back at the same addresses before anybody noticed. No key may be lost, and nobody may take the cluster for
// whole in between.
func TestReplacedFasterThanDetected(t *testing.T) {
	t.Parallel()
	c := &testCluster{t: t, root: t.TempDir(), servers: map[string]*server{}}
	c.spec = api.RedisSpec{Shards: 3, Replicas: 1, MaxMemory: 64 << 20, NodeTimeoutMS: 2000}
	for _, p := range ring(loopback(3)) {
		c.add(p.node, p.zone, p.address, p.shard)
	}
	status := c.settle()
	app := c.app()
	write(t, app)
	for _, node := range []string{"data-1", "data-2", "data-3"} {
		held := 0
		for _, primary := range primaries(status) {
			if primary == node {
				held++
			}
		}
		if held != 1 {
			t.Errorf("before it is replaced %s has %d primaries, want 1: %v", node, held, primaries(status))
		}
		start := time.Now()
		for _, m := range c.members {
			if m.Node == node {
				s := c.servers[m.Address]
				s.kill()
				s.wipe()
				s.start()
			}
		}
		if status, _ = c.reconcile(); len(status.Problems) == 0 {
			t.Errorf("just after %s was replaced the cluster is taken for whole: %+v", node, status)
		}
		status = c.settle()
		t.Logf("%s was replaced in %v", node, time.Since(start).Round(time.Millisecond))
		for _, m := range c.members {
			text, err := c.servers[m.Address].as(adminCreds).ClusterNodes(t.Context()).Result()
			// Members that meet again are there twice for a moment, once in a handshake.
			if known := strings.Count(text, "\n") - strings.Count(text, "handshake"); err != nil || known != len(c.members) {
				t.Errorf("%s knows others than the %d members: %v\n%s", m, len(c.members), err, text)
			}
		}
		eventually(t, "the client has found the new primaries", func() error {
			if got := readable(t, app); got != keyCount {
				return fmt.Errorf("%d of %d keys are readable", got, keyCount)
			}
			return nil
		})
	}
}
