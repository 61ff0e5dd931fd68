package agent

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"devctl/internal/api"
	"devctl/internal/redis"
)

const (
	// passwordInterval is how often the password is read again: it may have been changed.
	passwordInterval = 30 * time.Second
	// patience is how many looks in a row an instance may miss before it is reported no more. HAProxy's own checks
	// notice sooner; a record that flickers would only disturb.
	patience = 2
)

// inspectRedis looks at the node's Redis instances again and again until ctx ends.
func inspectRedis(ctx context.Context, c Config, b *board, secrets func(context.Context, string) (string, error)) error {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	var (
		seen     sightings
		password string
		readAt   time.Time
	)
	for {
		tick.Reset(b.pace())
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		shards := assignedShards(b.assigned())
		if len(shards) > 0 && time.Since(readAt) > passwordInterval {
			if value, err := secrets(ctx, api.SecretRedisAdmin); err == nil {
				password, readAt = value, time.Now()
			} else if password == "" {
				c.Log.Warn("cannot look at Redis yet", "error", err)
				continue
			}
		}
		creds := redis.Credentials{User: api.RedisUserAdmin, Password: password}
		b.setRedis(seen.update(shards, inspectAll(ctx, c.Identity.Address, shards, creds)))
	}
}

func assignedShards(owned map[string]applied) []int {
	var shards []int
	for _, o := range owned {
		if o.Shard > 0 {
			shards = append(shards, o.Shard)
		}
	}
	slices.Sort(shards)
	return shards
}

// inspectAll asks all instances at once. Those that give no answer are missing in what it returns.
func inspectAll(ctx context.Context, address string, shards []int, creds redis.Credentials) map[int]api.RedisInstance {
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		out = map[int]api.RedisInstance{}
	)
	for _, shard := range shards {
		wg.Go(func() {
			at := net.JoinHostPort(address, strconv.Itoa(api.RedisPort(shard)))
			instance, err := redis.Inspect(ctx, at, creds)
			if err != nil {
				return // its unit's state and log say why
			}
			instance.Shard, instance.DiskFull = shard, full(redis.DataFolder(shard))
			mu.Lock()
			out[shard] = instance
			mu.Unlock()
		})
	}
	wg.Wait()
	return out
}

// leastFree is the room, in bytes, below which a disk counts as full.
const leastFree = 1 << 20

// full tells whether the disk that a folder is on has no room left for a service, which is not root. One that cannot be asked has
// not: Redis itself says then what is wrong.
func full(folder string) bool {
	var disk syscall.Statfs_t
	err := syscall.Statfs(folder, &disk)
	return err == nil && disk.Bavail*uint64(disk.Bsize) < leastFree
}

// sightings remembers instances over looks that miss them.
type sightings struct {
	last   map[int]api.RedisInstance // by shard
	misses map[int]int
}

// update takes note of a look at the given shards, and returns the instances to report, by shard.
func (s *sightings) update(shards []int, found map[int]api.RedisInstance) []api.RedisInstance {
	last, misses := map[int]api.RedisInstance{}, map[int]int{}
	for _, shard := range shards {
		if instance, ok := found[shard]; ok {
			last[shard] = instance
		} else if instance, ok := s.last[shard]; ok && s.misses[shard] < patience {
			last[shard], misses[shard] = instance, s.misses[shard]+1
		}
	}
	s.last, s.misses = last, misses
	var out []api.RedisInstance
	for _, instance := range last {
		out = append(out, instance)
	}
	slices.SortFunc(out, func(a, b api.RedisInstance) int { return cmp.Compare(a.Shard, b.Shard) })
	return out
}
