package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"devctl/internal/api"
)

// TestTenMinutesWithoutControlPlane stops every etcd and every controller for ten minutes. The promise: clients notice nothing, those that
// stay connected and those that come new, and afterwards everything is what it was. It comes first in this package: most of the ten
// minutes pass while the other tests run.
func TestTenMinutesWithoutControlPlane(t *testing.T) {
	s := newStack(t, "e2eoutage", "198.18.81.0/24")
	s.must(t, 15*time.Minute, "up", "--yes")
	before := s.status(t)
	checkStatus(t, before, 8)
	started := s.startedOn(t, api.RoleWorker, api.RoleData)
	resident := startTraffic(t, "a client that stays connected", settingAndGetting(s.client(t, patient), "resident-"))
	newcomers := startTraffic(t, "new clients", s.arriving(t))

	// The supervisor starts mains that end, so they run on: two of them without what they are there for, and one that gives no answer at
	// all. Calls to the former are refused, calls to the latter hang.
	services := []string{"devctl-controller.service", "etcd.service"}
	on := func(name string, args ...string) {
		docker(t, append([]string{"exec", node(t, before, name).ID, "systemctl"}, append(args, services...)...)...)
	}
	docker(t, "pause", node(t, before, "main-1").ID)
	on("main-2", "stop")
	on("main-3", "stop")
	stopped := time.Now()
	t.Parallel()
	time.Sleep(time.Until(stopped.Add(10 * time.Minute))) // the fault
	if r := s.run(t, time.Minute, "status"); r.code != 1 || !strings.Contains(r.stderr, "next: ") {
		t.Errorf("status without a control plane: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	docker(t, "unpause", node(t, before, "main-1").ID)
	on("main-2", "start", "--no-block")
	on("main-3", "start", "--no-block")
	s.asItWas(t, before, started, healedSince("main-1", time.Now()))
	s.whole(t, before)
	if again := s.must(t, 2*time.Minute, "up", "--yes"); !strings.Contains(again.stdout, "No changes") {
		t.Errorf("the next up changes something:\n%s%s", again.stdout, again.stderr)
	}
	resident.faultless(t)
	newcomers.faultless(t)
}

// arriving is new clients that come through the virtual IP: each finds its way by what a load balancer leads it to, writes a key, reads
// it back, and goes.
func (s *stack) arriving(t *testing.T) func(context.Context, int) error {
	t.Helper()
	options := s.client(t, patient).Options()
	next := time.NewTicker(100 * time.Millisecond) // ten a second
	t.Cleanup(next.Stop)
	return func(ctx context.Context, i int) error {
		<-next.C
		c := redis.NewClusterClient(options)
		defer c.Close()
		return settingAndGetting(c, "new-")(ctx, i)
	}
}
