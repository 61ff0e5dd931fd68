package controller

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/pki"
)

// testAgent acts as the agent of a node: it beats, and "runs" what is assigned at once. Everything goes through
// etcd, with the node's own certificate.
type testAgent struct {
	id   api.Identity
	mu   sync.Mutex
	runs map[string]api.UnitStatus
	stop func()
	wake chan struct{}
	// broken units fail when they are started.
	broken map[string]string
}

func startAgent(t *testing.T, c *cluster, id api.Identity, cert pki.Pair) *testAgent {
	t.Helper()
	a := &testAgent{id: id, runs: map[string]api.UnitStatus{}, wake: make(chan struct{}, 1), broken: map[string]string{}}
	cli := c.etcd(cert)
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(testLog{t}, nil)).With("agent", id.Name)
	var group sync.WaitGroup
	group.Go(func() {
		presence := discovery.Presence{Client: cli, Keys: a.keys, Wake: a.wake, Log: log, TTL: 3 * time.Second}
		_ = presence.Run(ctx)
	})
	group.Go(func() {
		_ = discovery.Follow(ctx, cli, discovery.AssignmentsOf(id.Name), log, func(s discovery.Snapshot) {
			assigned, err := discovery.ParseAssignments(s.Values)
			if err != nil {
				t.Error(err)
				return
			}
			a.apply(assigned)
		})
	})
	a.stop = sync.OnceFunc(func() { cancel(); group.Wait() })
	t.Cleanup(a.stop)
	return a
}

func (a *testAgent) apply(assigned map[string]api.Assignment) {
	a.mu.Lock()
	a.runs = map[string]api.UnitStatus{}
	for name, as := range assigned {
		u := api.UnitStatus{Name: name, Active: "active", Sub: "running", Hash: as.Hash}
		if message := a.broken[name]; message != "" {
			u = api.UnitStatus{Name: name, Active: "failed", Sub: "failed", Hash: as.Hash, Message: message}
		}
		a.runs[name] = u
	}
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *testAgent) keys(now time.Time) (map[string][]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := api.NodeRecord{Identity: a.id, ID: "machine-of-" + a.id.Name, LastHeartbeat: now,
		Units: []api.UnitStatus{{Name: "devctl-agent.service", Active: "active", Sub: "running"}}}
	if a.runs["haproxy.service"].Ready() {
		r.LoadBalancer = &api.LoadBalancer{Backends: 3, Up: 3}
	}
	r.HoldsEndpoint = a.runs["keepalived.service"].Ready() && a.id.Name == "worker-1"
	out := map[string][]byte{}
	for name, u := range a.runs {
		text, err := json.Marshal(u)
		if err != nil {
			return nil, err
		}
		out[discovery.ObservedKey(a.id.Name, name)] = text
	}
	text, err := json.Marshal(r)
	out[discovery.NodeKey(a.id.Name)] = text
	return out, err
}
