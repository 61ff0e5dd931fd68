package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"devctl/internal/api"
)

// TestDiskFull gives the two members of a shard disks that are really small, and writes until they are full: the primary's, then the
// replica's, then both. The promise: what was confirmed stays, other shards notice nothing, status says who has no
// room and what becomes of the shard, and everything goes on by itself once there is room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	s := newStack(t, "e2edisk", "198.18.61.0/24")
	s.must(t, 15*time.Minute, "up", "--yes")
	st := s.status(t)
	first := st.Redis.Shards[0]
	home, spare := node(t, st, first.Primary.Node), node(t, st, first.Replicas[0].Node)
	s.ownDisk(t, home)
	s.ownDisk(t, spare)

	c := s.client(t)
	f := &filler{c: c, prefix: shardKey(t, c, "full", first.Primary.Address)}
	var others []*traffic
	for i, shard := range st.Redis.Shards[1:] {
		patiently := s.client(t, patient)
		others = append(others, startTraffic(t, fmt.Sprint("who writes and reads in shard ", i+2),
			settingAndGetting(patiently, shardKey(t, patiently, "other", shard.Primary.Address))))
	}
	full := func(n api.NodeStatus) string {
		return fmt.Sprintf("the disk of redis-1.service on %s is full; make room for %s/redis-1 there, and it goes on by itself", n.Name, api.DataDir)
	}

	t.Run("the primary's disk is full: its replica takes over", func(t *testing.T) {
		s.room(t, home, 8)
		f.writeUntilRefused(t)
		refused := time.Now()
		waitFor(t, "the shard takes writes again", 30*time.Second, func() error { return f.write(t, 1) })
		t.Logf("writes again %v after the first was refused", time.Since(refused).Round(100*time.Millisecond))
		s.complains(t, full(home))
		s.waitStatus(t, "the replica has taken over", 10*time.Second, func(st api.Status) bool {
			return st.Redis.Shards[0].Primary.Node == spare.Name
		})
		s.room(t, home, 128)
		s.healthyAgain(t, home.Name)
	})
	t.Run("the replica's is full: the primary serves on", func(t *testing.T) {
		s.room(t, spare, 3)
		if err := f.write(t, 60); err != nil {
			t.Fatal(err)
		}
		s.complains(t, full(spare))
	})
	var roomy time.Time
	t.Run("both are: the shard refuses writes, and says so", func(t *testing.T) {
		s.room(t, home, 3)
		f.writeUntilRefused(t)
		s.complains(t, full(home), full(spare), fmt.Sprintf("%s (%s) cannot write its log: No space left on device; "+
			"shard 1 takes no writes until it can, for it has no replica in sync that could", home.Name, first.Primary.Address))
		f.check(t, c)
		s.room(t, home, 128)
		roomy = time.Now()
		waitFor(t, "the shard takes writes again", 10*time.Second, func() error { return f.write(t, 1) })
		t.Logf("writes again %v after there is room", time.Since(roomy).Round(100*time.Millisecond))
		s.room(t, spare, 128)
		s.healthyAgain(t, home.Name)
	})
	t.Run("the log of who had no room can be read again", func(t *testing.T) {
		waitFor(t, "a new log is written", 30*time.Second, func() error {
			log := docker(t, "exec", home.ID, "journalctl", "--unit=redis-1", fmt.Sprint("--since=@", roomy.Unix()))
			if !strings.Contains(log, "Background AOF rewrite finished successfully") {
				return errors.New(log)
			}
			return nil
		})
		docker(t, "exec", home.ID, "systemctl", "kill", "--signal=KILL", "redis-1")
		killed := time.Now()
		waitFor(t, "Redis has read it", 30*time.Second, func() error {
			log := docker(t, "exec", home.ID, "journalctl", "--unit=redis-1", fmt.Sprint("--since=@", killed.Unix()))
			if !strings.Contains(log, "DB loaded from append only file") {
				return errors.New(log)
			}
			return nil
		})
		waitFor(t, "the shard takes writes again", 30*time.Second, func() error { return f.write(t, 1) })
		s.healthyAgain(t, home.Name)
	})
	for _, w := range others {
		w.faultless(t)
	}
	f.check(t, c)
	f.check(t, s.client(t)) // somebody who comes later
}

// ownDisk puts what the first shard's member on a node has on a disk of its own, and waits until all is as it was.
func (s *stack) ownDisk(t *testing.T, n api.NodeStatus) {
	t.Helper()
	was := s.status(t).Redis.Shards[0].Primary.Node
	docker(t, "exec", n.ID, "sh", "-ec", fmt.Sprintf(`systemctl stop devctl-agent redis-1 # or the agent would start it again
		cp -a %[1]s/redis-1 /run/redis-1-was
		mount -t tmpfs -o size=128m,mode=0700,uid=7100,gid=7100 own %[1]s/redis-1
		cp -a /run/redis-1-was/. %[1]s/redis-1
		systemctl start redis-1 devctl-agent`, api.DataDir))
	s.healthyAgain(t, was)
}

// room leaves so many MiB of room on the node's own disk.
func (s *stack) room(t *testing.T, n api.NodeStatus, mib int) {
	t.Helper()
	docker(t, "exec", n.ID, "sh", "-ec", fmt.Sprintf(`cd %s/redis-1
		mount -o remount,size=$(($(df --output=used . | tail -n 1) + %d * 1024))k "$PWD"`, api.DataDir, mib))
}

// healthyAgain waits until all is well, and the first shard's primary is on the node where it belongs: one that had to leave it returns.
func (s *stack) healthyAgain(t *testing.T, primary string) {
	t.Helper()
	begun := time.Now()
	s.waitStatus(t, "the stack is healthy again", time.Minute, func(st api.Status) bool {
		return st.Healthy && st.Settled && st.Redis.Shards[0].Primary.Node == primary
	})
	t.Logf("healthy again after %v", time.Since(begun).Round(100*time.Millisecond))
}

// complains waits until the status has these problems, and wants them in its text too.
func (s *stack) complains(t *testing.T, problems ...string) {
	t.Helper()
	begun := time.Now()
	s.waitStatus(t, "status tells what is wrong", 20*time.Second, func(st api.Status) bool {
		return !st.Healthy && !slices.ContainsFunc(problems, func(p string) bool { return !slices.Contains(st.Problems, p) })
	})
	t.Logf("told within %v", time.Since(begun).Round(100*time.Millisecond))
	text := s.must(t, 30*time.Second, "status").stdout
	for _, p := range append(problems, "not healthy") {
		if !strings.Contains(text, p) {
			t.Errorf("status does not say %q:\n%s", p, text)
		}
	}
}

// filler writes values that fill a disk, and knows which were confirmed.
type filler struct {
	c         *redis.ClusterClient
	prefix    string
	tried     int
	confirmed []int
}

// large is 64 KiB that do not compress.
var large = func() string {
	noise := make([]byte, 64<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // it never fails
	return string(noise)
}()

// write writes so many values, each under a key of its own, and returns the first error.
func (f *filler) write(t *testing.T, n int) error {
	t.Helper()
	for range n {
		i := f.tried
		f.tried++
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err := f.c.Set(ctx, fmt.Sprint(f.prefix, i), fmt.Sprint(i, large), 0).Err()
		cancel()
		if err != nil {
			return err
		}
		f.confirmed = append(f.confirmed, i)
	}
	return nil
}

// writeUntilRefused writes until Redis says that its disk is full.
func (f *filler) writeUntilRefused(t *testing.T) {
	t.Helper()
	if err := f.write(t, 400); err == nil || !strings.Contains(err.Error(), "No space left on device") {
		t.Fatalf("a write to a full disk: %v", err)
	}
}

// check wants every confirmed value to be there.
func (f *filler) check(t *testing.T, c *redis.ClusterClient) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lost := 0
	for _, i := range f.confirmed {
		if got, err := c.Get(ctx, fmt.Sprint(f.prefix, i)).Result(); err != nil || got != fmt.Sprint(i, large) {
			lost++
			t.Logf("%s%d: %d bytes, %v", f.prefix, i, len(got), err)
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d confirmed values are lost", lost, len(f.confirmed))
	}
	t.Logf("%d confirmed values, %d lost", len(f.confirmed), lost)
}
