package e2e

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"devctl/internal/api"
)

// TestTenMinutesWithoutControlPlane stops every etcd and every controller for ten minutes. The promise: clients notice nothing, those that
// stay connected and those that come new, and afterwards everything is what it was.
func TestTenMinutesWithoutControlPlane(t *testing.T) {
	t.Parallel()
	s := newStack(t, "e2eoutage", "198.18.81.0/24")
	s.must(t, 15*time.Minute, "up", "--yes")
	before, started := s.status(t), s.startedOn(t, api.RoleWorker, api.RoleData)
	checkStatus(t, before, 8)
	errs, newcomers := serving(t, s), arriving(t, s)

	// The supervisor starts mains that end, so they run on: two of them without what they are there for, and one that gives no answer at
	// all. Calls to the former are refused, calls to the latter hang.
	services := []string{"devctl-controller.service", "etcd.service"}
	on := func(name string, args ...string) {
		docker(t, append([]string{"exec", node(t, before, name).ID, "systemctl"}, append(args, services...)...)...)
	}
	docker(t, "pause", node(t, before, "main-1").ID)
	on("main-2", "stop")
	on("main-3", "stop")
	time.Sleep(10 * time.Minute) // the fault
	if r := s.run(t, time.Minute, "status"); r.code != 1 || !strings.Contains(r.stderr, "next: ") {
		t.Errorf("status without a control plane: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if n := errs(); n > 0 {
		t.Errorf("a client that stays connected had %d errors", n)
	}
	if bad := newcomers(); len(bad) > 0 {
		t.Errorf("new clients had %d errors, the first: %v", len(bad), bad[0])
	}

	docker(t, "unpause", node(t, before, "main-1").ID)
	on("main-2", "start", "--no-block")
	on("main-3", "start", "--no-block")
	s.asItWas(t, before, started, healedSince("main-1", time.Now()))
	s.whole(t, before)
	if again := s.must(t, 2*time.Minute, "up", "--yes"); !strings.Contains(again.stdout, "No changes") {
		t.Errorf("the next up changes something:\n%s%s", again.stdout, again.stderr)
	}
	if n, bad := errs(), newcomers(); n > 0 || len(bad) > 0 {
		t.Errorf("when the control plane returned, clients had errors: %d, %v", n, bad)
	}
}

// arriving lets new clients come through the virtual IP until the test ends: each finds its way by what a load balancer leads it to, writes
// a key, reads it back and goes. It returns how to get what went wrong so far.
func arriving(t *testing.T, s *stack) (errs func() []error) {
	t.Helper()
	o := s.outputs(t, "--show-secrets")
	options := &redis.ClusterOptions{
		Addrs:    []string{net.JoinHostPort(o.Redis.Address, strconv.Itoa(o.Redis.Port))},
		Username: o.Redis.Username, Password: o.Redis.Password,
		DialTimeout: time.Second, ReadTimeout: time.Second, MaxRedirects: -1,
	}
	var mu sync.Mutex
	var bad []error
	visits := 0
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			err := visit(options, visits)
			mu.Lock()
			if visits++; err != nil {
				bad = append(bad, fmt.Errorf("%s: %w", time.Now().Format(time.TimeOnly), err))
			}
			mu.Unlock()
			<-tick.C
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		t.Logf("%d new clients came, %d had errors", visits, len(bad))
	})
	return func() []error {
		mu.Lock()
		defer mu.Unlock()
		return bad
	}
}

// visit is one short client.
func visit(options *redis.ClusterOptions, n int) error {
	c := redis.NewClusterClient(options)
	defer c.Close()
	key := fmt.Sprintf("visit-%d", n%1000)
	if err := c.Set(context.Background(), key, n, 0).Err(); err != nil {
		return err
	}
	got, err := c.Get(context.Background(), key).Int()
	if err == nil && got != n {
		err = fmt.Errorf("%s is %d, and %d was written", key, got, n)
	}
	return err
}
