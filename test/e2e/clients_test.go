package e2e

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// client is a stock cluster-aware client that knows nothing but the virtual IP. It gives up on a node that does not answer within
// half a second, and asks the cluster anew up to four times; options change that.
func (s *stack) client(t *testing.T, options ...func(*redis.ClusterOptions)) *redis.ClusterClient {
	t.Helper()
	o := s.outputs(t, "--show-secrets")
	settings := &redis.ClusterOptions{
		Addrs:         []string{net.JoinHostPort(o.Redis.Address, strconv.Itoa(o.Redis.Port))},
		Username:      o.Redis.Username,
		Password:      o.Redis.Password,
		DialTimeout:   500 * time.Millisecond,
		DialerRetries: 1,
		ReadTimeout:   500 * time.Millisecond,
		MaxRedirects:  4,
	}
	for _, change := range options {
		change(settings)
	}
	c := redis.NewClusterClient(settings)
	t.Cleanup(func() { c.Close() })
	return c
}

// patient makes a client that never tries again, and shows every error: it waits rather than take a busy machine for a dead one.
func patient(o *redis.ClusterOptions) { o.MaxRedirects, o.ReadTimeout = -1, 3*time.Second }

// traffic is somebody who does one operation after the other until it is stopped, and how it is served.
type traffic struct {
	name string
	end  func()

	mu     sync.Mutex
	served int
	errs   []error
	last   time.Time     // when an operation succeeded last
	pause  time.Duration // the longest time from one success to the next, however it was spent
	paused time.Time     // when that was over
}

// clock is how times of a test are written.
const clock = "15:04:05.000"

// pace is how long one waits from one operation to the next.
const pace = 5 * time.Millisecond

// startTraffic does op with 0, 1, … until it is stopped, and at the latest until the test ends.
func startTraffic(t *testing.T, name string, op func(ctx context.Context, i int) error) *traffic {
	t.Helper()
	w := &traffic{name: name, last: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	w.end = sync.OnceFunc(func() {
		cancel()
		<-ended
		w.took(nil)
		t.Logf("%s: %d operations, %d errors, the longest pause %v (until %s)", name, w.served, len(w.errs),
			w.pause.Round(time.Millisecond), w.paused.Format(clock))
	})
	t.Cleanup(w.end)
	go func() {
		defer close(ended)
		tick := time.NewTicker(pace)
		defer tick.Stop()
		said := ""
		for i := 0; ; i++ {
			err := op(context.WithoutCancel(ctx), i)
			w.took(err)
			if err != nil && err.Error() != said { // once, however often it is tried
				said = err.Error()
				t.Logf("%s at %s: %v", name, time.Now().Format(clock), err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return w
}

// took takes note of an operation that ends.
func (w *traffic) took(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.errs = append(w.errs, err)
		return
	}
	w.served++
	now := time.Now()
	if pause := now.Sub(w.last); pause > w.pause {
		w.pause, w.paused = pause, now
	}
	w.last = now
}

// count is how many operations have succeeded, and how many have not.
func (w *traffic) count() (served, failed int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.served, len(w.errs)
}

// more waits until so many more operations have succeeded.
func (w *traffic) more(t *testing.T, n int) {
	t.Helper()
	begun, _ := w.count()
	waitFor(t, w.name+" is served", 10*time.Second, func() error {
		if served, _ := w.count(); served-begun < n {
			return fmt.Errorf("only %d times", served-begun)
		}
		return nil
	})
}

// stop ends the traffic, and wants it to have been served without a pause longer than this.
func (w *traffic) stop(t *testing.T, longest time.Duration) {
	t.Helper()
	w.end()
	if w.pause > longest {
		t.Errorf("%s was not served for %v until %s, want at most %v", w.name, w.pause, w.paused.Format(clock), longest)
	}
	if w.served == 0 {
		t.Errorf("%s was never served", w.name)
	}
}

// faultless ends the traffic, and wants it to have had no error.
func (w *traffic) faultless(t *testing.T) {
	t.Helper()
	w.stop(t, time.Minute)
	if len(w.errs) > 0 {
		t.Errorf("%s had %d errors, the first: %v", w.name, len(w.errs), w.errs[0])
	}
}

// setting writes a new key each time.
func setting(c *redis.ClusterClient, prefix string) func(context.Context, int) error {
	return func(ctx context.Context, i int) error { return c.Set(ctx, fmt.Sprint(prefix, i), i, 0).Err() }
}

// settingAndGetting writes a new key each time and reads it back.
func settingAndGetting(c *redis.ClusterClient, prefix string) func(context.Context, int) error {
	set := setting(c, prefix)
	return func(ctx context.Context, i int) error {
		if err := set(ctx, i); err != nil {
			return err
		}
		got, err := c.Get(ctx, fmt.Sprint(prefix, i)).Int()
		if err == nil && got != i {
			err = fmt.Errorf("%s%d is %d", prefix, i, got)
		}
		return err
	}
}

// ledger writes keys, and takes note of those that were in two places when Redis said so (WAIT 1): they must never be lost.
type ledger struct {
	c         *redis.ClusterClient
	prefix    string
	confirmed []int // to be read when the traffic has ended
}

// set writes a new key. It is no error that no replica has it yet.
func (l *ledger) set(ctx context.Context, i int) error {
	key := fmt.Sprint(l.prefix, i)
	primary, err := l.c.MasterForKey(ctx, key)
	if err != nil {
		return err
	}
	var copies *redis.Cmd
	_, err = primary.Pipelined(ctx, func(p redis.Pipeliner) error { // one connection, as WAIT wants it
		p.Set(ctx, key, i, 0)
		copies = p.Do(ctx, "WAIT", 1, 100)
		return nil
	})
	if err != nil {
		l.c.ReloadState(ctx) // the primary may be another now
	} else if n, _ := copies.Int(); n > 0 {
		l.confirmed = append(l.confirmed, i)
	}
	return err
}

// check wants every confirmed key to be there.
func (l *ledger) check(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lost := 0
	for _, i := range l.confirmed {
		if got, err := l.c.Get(ctx, fmt.Sprint(l.prefix, i)).Int(); err != nil || got != i {
			lost++
			t.Logf("%s%d is %d: %v", l.prefix, i, got, err)
		}
	}
	if lost > 0 || len(l.confirmed) == 0 {
		t.Errorf("%d of %d confirmed writes are lost", lost, len(l.confirmed))
	}
	t.Logf("%s: %d confirmed writes, %d lost", l.prefix, len(l.confirmed), lost)
}

// shardKey returns a prefix whose keys are all in the shard of the primary at the address.
func shardKey(t *testing.T, c *redis.ClusterClient, name, address string) string {
	t.Helper()
	for n := range 1000 {
		prefix := fmt.Sprintf("%s{%d}-", name, n)
		primary, err := c.MasterForKey(t.Context(), prefix)
		if err != nil {
			t.Fatal(err)
		}
		if primary.Options().Addr == address {
			return prefix
		}
	}
	t.Fatalf("no key belongs to %s", address)
	return ""
}
