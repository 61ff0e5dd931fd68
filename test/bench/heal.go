package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"devctl/internal/api"
)

const (
	healRuns = 5
	healTime = 2 * time.Minute // after which it has not healed

	lookPause = 200 * time.Millisecond // between two looks at the status
	askPause  = 10 * time.Millisecond  // between two questions of a client

	maxMove   = 1 * time.Second // for the virtual IP to move
	maxResume = 5 * time.Second // for writes to a shard that lost its primary
)

// fault is something that happens to nodes.
type fault struct {
	name  string
	nodes func(st api.Status, run int) []string
	cmd   []string // of docker
	bound time.Duration
}

var (
	killed  = []string{"kill"}
	removed = []string{"rm", "--force", "--volumes"} // disks and all
	faults  = []fault{
		{"the holder of the virtual IP is killed", holder, killed, maxMove},
		{"a worker is removed", otherWorker, removed, 0},
		{"the node of a primary is killed", primary, killed, maxResume},
		{"the node of a primary is removed", primary, removed, maxResume},
		{"the leader of etcd is killed", etcdLeader, killed, 0},
		{"the leader of etcd is removed", etcdLeader, removed, 0},
		{"a whole zone is killed", zone, killed, 0},
	}
)

func holder(st api.Status, _ int) []string { return []string{st.Endpoint.Holder} }

func otherWorker(st api.Status, _ int) []string {
	if st.Endpoint.Holder == "worker-1" {
		return []string{"worker-2"}
	}
	return []string{"worker-1"}
}

func primary(st api.Status, run int) []string {
	return []string{st.Redis.Shards[run%len(st.Redis.Shards)].Primary.Node}
}

func etcdLeader(st api.Status, _ int) []string { return []string{st.Etcd.Leader} }

// zone is that of the virtual IP's holder: nothing has a copy in it alone, and everything has one there.
func zone(st api.Status, _ int) []string {
	i := slices.IndexFunc(st.Nodes, func(n api.NodeStatus) bool { return n.Name == st.Endpoint.Holder })
	var all []string
	for _, n := range st.Nodes {
		if n.Zone == st.Nodes[i].Zone {
			all = append(all, n.Name)
		}
	}
	return all
}

// heal measures how long faults are felt.
func (b *bench) heal() (section, error) {
	s := section{
		title: "Time to heal",
		text: fmt.Sprintf("*Served again* is the longest time that one of four clients had no answer: three that each write to one shard, by a client that knows the\n"+
			"virtual IP alone, and one that connects anew through the address each time; each asks every %s. *Healthy* is from the fault\n"+
			"until `devctl status` says that the stack is, with all nodes. Median and worst of %d; bounds are for the worst.", askPause, healRuns),
		head: []string{"fault", "served again: median", "worst", "bound", "", "healthy: median", "worst"},
	}
	if err := b.stand(); err != nil {
		return s, err
	}
	a, err := b.access()
	if err != nil {
		return s, err
	}
	asking, stop := context.WithCancel(b.ctx)
	clients := startClients(asking, a)
	defer clients.wait.Wait()
	defer stop()
	for _, f := range faults {
		var served, healthy []time.Duration
		for run := range healRuns {
			felt, healed, err := b.suffer(f, run, clients)
			if err != nil {
				return s, fmt.Errorf("%s: %w", f.name, err)
			}
			served, healthy = append(served, felt), append(healthy, healed)
			progress("%s: clients served again after %s, healthy after %s", f.name, seconds(felt), seconds(healed))
		}
		row := []string{f.name, seconds(median(served)), seconds(slices.Max(served))}
		bound := unbounded()
		if f.bound > 0 {
			bound = bounded("at most "+f.bound.String(), slices.Max(served) <= f.bound)
		}
		s.rows = append(s.rows, append(append(row, bound...), seconds(median(healthy)), seconds(slices.Max(healthy))))
	}
	return s, nil
}

// suffer injects a fault, and returns the longest time that a client was without an answer, and the time until the stack was
// healthy.
func (b *bench) suffer(f fault, run int, clients *clients) (felt, healed time.Duration, err error) {
	st, err := b.status()
	if err != nil {
		return 0, 0, err
	}
	nodes := f.nodes(st, run)
	args := slices.Clone(f.cmd)
	for _, n := range st.Nodes {
		if slices.Contains(nodes, n.Name) {
			args = append(args, n.ID)
		}
	}
	clients.reset()
	begun := time.Now()
	if _, err := b.command("docker", args...); err != nil {
		return 0, 0, err
	}
	injected := time.Now()
	for {
		// No answer is no error: the controller that was asked may be the one that is gone.
		st, err := b.status()
		if healed == 0 && err == nil && healthyWith(st, nodes, injected) {
			healed = time.Since(begun)
		}
		switch {
		case healed > 0 && clients.servedSince(begun.Add(healed)):
			return clients.longest(), healed, nil
		case b.ctx.Err() != nil:
			return 0, 0, b.ctx.Err()
		case time.Since(begun) > healTime:
			if err == nil {
				err = errors.New(strings.Join(st.Problems, "; "))
			}
			return 0, 0, fmt.Errorf("not healed after %s: %w", healTime, err)
		}
		time.Sleep(lookPause)
	}
}

// healthyWith wants the stack healthy, with the nodes heard of after the moment.
func healthyWith(st api.Status, nodes []string, moment time.Time) bool {
	heard := 0
	for _, n := range st.Nodes {
		if slices.Contains(nodes, n.Name) && n.LastHeartbeat.After(moment) && n.State == "ready" {
			heard++
		}
	}
	return heard == len(nodes) && st.Healthy && st.Settled && len(st.Nodes) == shipped.nodes()
}

// clients ask all the time.
type clients struct {
	wait sync.WaitGroup // for all of them to end

	mu     sync.Mutex
	served map[string]time.Time // by client: its last answer
	gap    time.Duration        // the longest one between two answers
}

// startClients starts the clients, which end with ctx.
func startClients(ctx context.Context, a access) *clients {
	logging.Disable() // that the library cannot connect is what is measured
	c := &clients{served: map[string]time.Time{}}
	cluster := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{a.endpoint()}, Username: a.Username, Password: a.Password,
		DialTimeout: 300 * time.Millisecond, DialerRetries: 1, ReadTimeout: 500 * time.Millisecond,
	})
	context.AfterFunc(ctx, func() { _ = cluster.Close() })
	for _, key := range thirds {
		c.start(ctx, key, func() error { return cluster.Set(ctx, key, "asked", 0).Err() })
	}
	c.start(ctx, "through the address", func() error {
		plain := redis.NewClient(&redis.Options{
			Addr: a.endpoint(), Username: a.Username, Password: a.Password, MaxRetries: -1,
			DialTimeout: 300 * time.Millisecond, DialerRetries: 1, ReadTimeout: 500 * time.Millisecond,
		})
		defer plain.Close()
		return plain.Ping(ctx).Err()
	})
	return c
}

func (c *clients) start(ctx context.Context, name string, ask func() error) {
	c.answered(name)
	c.wait.Go(func() {
		for tick := time.NewTicker(askPause); ctx.Err() == nil; <-tick.C {
			if ask() == nil {
				c.answered(name)
			}
		}
	})
}

func (c *clients) answered(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if since, asked := c.served[name]; asked {
		c.gap = max(c.gap, time.Since(since))
	}
	c.served[name] = time.Now()
}

// reset forgets what has been.
func (c *clients) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gap = 0
	for name := range c.served {
		c.served[name] = time.Now()
	}
}

// servedSince tells whether every client has had an answer after the moment.
func (c *clients) servedSince(moment time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.served {
		if at.Before(moment) {
			return false
		}
	}
	return true
}

// longest is the longest time since reset between two answers to one client.
func (c *clients) longest() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gap
}
