package redis

import (
	"context"
	"strings"
	"testing"
	"time"

	"devctl/internal/api"
)

// TestYield hands the slots of a primary over, as before it is stopped, while somebody writes.
func TestYield(t *testing.T) {
	t.Parallel()
	c := &testCluster{t: t, root: t.TempDir(), servers: map[string]*server{}}
	c.spec = api.RedisSpec{Shards: 3, Replicas: 1, MaxMemory: 64 << 20, NodeTimeoutMS: 2000}
	for _, p := range ring(loopback(4)) {
		c.add(p.node, p.zone, p.address, p.shard)
	}
	status := c.settle()
	app := c.app()
	write(t, app)
	primary, replica := status.Shards[0].Primary.Address, status.Shards[0].Replicas[0].Address

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	begun := time.Now()
	heir, err := Yield(ctx, primary, adminCreds)
	if err != nil || heir != replica {
		t.Fatalf("Yield(%s) = %q, %v, want %q", primary, heir, err, replica)
	}
	t.Logf("handed over in %v", time.Since(begun).Round(time.Millisecond))
	if got := readable(t, app); got != keyCount {
		t.Errorf("%d of %d keys are readable", got, keyCount)
	}
	c.servers[primary].kill() // at once: nobody has to find out first
	if got := readable(t, app); got != keyCount {
		t.Errorf("with the old primary gone %d of %d keys are readable", got, keyCount)
	}

	if heir, err := Yield(ctx, status.Shards[1].Replicas[0].Address, adminCreds); heir != "" || err != nil {
		t.Errorf("a replica hands over to %q: %v", heir, err)
	}
	if _, err := Yield(ctx, replica, adminCreds); err == nil || !strings.Contains(err.Error(), "hand over the slots of "+replica+": it has no replica in sync") {
		t.Errorf("without a replica: %v", err)
	}
	if _, err := Yield(ctx, primary, adminCreds); err == nil || !strings.Contains(err.Error(), "ask "+primary+" what it has") {
		t.Errorf("of who is gone: %v", err)
	}
}
