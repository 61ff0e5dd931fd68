package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"devctl/internal/api"
)

// oneView is an error unless every Redis of the status says the same of all of them: the role, whom it follows, the config epoch, the
// slots. So no two can own the same slots.
func oneView(ctx context.Context, o outputs, st api.Status) error {
	var first []string
	for _, shard := range st.Redis.Shards {
		for _, m := range append([]api.ShardMember{shard.Primary}, shard.Replicas...) {
			view, err := viewOf(ctx, o, m.Address)
			if err != nil {
				return fmt.Errorf("ask %s: %w", m.Address, err)
			}
			if first == nil {
				first = view
			}
			if diff := cmp.Diff(first, view); diff != "" {
				return fmt.Errorf("%s has another view than %s:\n%s", m.Address, st.Redis.Shards[0].Primary.Address, diff)
			}
		}
	}
	primaries := slices.DeleteFunc(slices.Clone(first), func(line string) bool { return !strings.Contains(line, "master") })
	if len(primaries) != len(st.Redis.Shards) {
		return fmt.Errorf("the primaries are %q, want %d", primaries, len(st.Redis.Shards))
	}
	return nil
}

// viewOf is what one Redis says of all of them, sorted: ID, address, flags, primary, config epoch, slots.
func viewOf(ctx context.Context, o outputs, address string) ([]string, error) {
	c := o.dial(address)
	defer c.Close()
	text, err := c.ClusterNodes(ctx).Result()
	if err != nil {
		return nil, err
	}
	var view []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 {
			return nil, fmt.Errorf("strange line %q", line)
		}
		flags := strings.TrimPrefix(f[2], "myself,")
		view = append(view, strings.Join(append([]string{f[0], f[1], flags, f[3], "epoch " + f[6]}, f[8:]...), " "))
	}
	slices.Sort(view)
	return view, nil
}

// ownKey sets a key to "old" of which the Redis is the primary.
func ownKey(t *testing.T, c *redis.Client) string {
	t.Helper()
	defer c.Close()
	for i := 0; ; i++ {
		key := fmt.Sprintf("own-%d", i)
		err := c.Set(t.Context(), key, "old", 0).Err()
		if err == nil {
			return key
		}
		if !strings.HasPrefix(err.Error(), "MOVED ") {
			t.Fatal(err)
		}
	}
}

// watchOld asks one Redis for the key until it gives back the function that it returns: for how long did it say "old"? A question that
// a paused Redis is asked is the first that it answers when it returns, before it has heard from anybody.
func watchOld(t *testing.T, c *redis.Client, key string) func() time.Duration {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var first, last time.Time
	asked := make(chan struct{})
	end := sync.OnceFunc(func() { cancel(); <-asked; c.Close() })
	t.Cleanup(end)
	go func() {
		defer close(asked)
		for ctx.Err() == nil {
			if got, err := c.Get(ctx, key).Result(); err == nil && got != "new" {
				if last = time.Now(); first.IsZero() {
					first = last
				}
			}
			time.Sleep(time.Millisecond) // the client's own pace
		}
	}()
	return func() time.Duration {
		end()
		if first.IsZero() {
			t.Log("the old primary never said what it was before")
			return 0
		}
		t.Logf("the old primary said for %v what it was before", last.Sub(first).Round(time.Millisecond))
		return last.Sub(first)
	}
}

// dial is a client of one Redis.
func (o outputs) dial(address string) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: address, Username: o.Redis.Username, Password: o.Redis.Password,
		MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: time.Second,
	})
}
