package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/discovery/etcdtest"
	"devctl/internal/plan"
)

// events follows the events of a cluster from the beginning until the test ends.
func (c *cluster) events(cli *api.Client) func() []api.Event {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var got []api.Event
	lock, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		_ = cli.Events(ctx, 0, func(e api.Event) error {
			lock <- struct{}{}
			defer func() { <-lock }()
			c.t.Logf("event %d: %s: %s", e.Seq, e.Level, e.Message)
			got = append(got, e)
			return nil
		})
	}()
	c.t.Cleanup(func() { cancel(); <-done })
	return func() []api.Event {
		lock <- struct{}{}
		defer func() { <-lock }()
		return slices.Clone(got)
	}
}

// waitEvent waits until there is an event that says so.
func waitEvent(t *testing.T, events func() []api.Event, text string) api.Event {
	t.Helper()
	var found api.Event
	etcdtest.Eventually(t, 30*time.Second, func() error {
		for _, e := range events() {
			if strings.Contains(e.Message, text) {
				found = e
				return nil
			}
		}
		return fmt.Errorf("no event says %q", text)
	})
	return found
}

func eventuallyStatus(t *testing.T, cli *api.Client, check func(api.Status) error) api.Status {
	t.Helper()
	var st api.Status
	etcdtest.Eventually(t, 30*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var err error
		if st, err = cli.Status(ctx); err != nil {
			return err
		}
		if err := check(st); err != nil {
			return fmt.Errorf("%w; problems: %s", err, strings.Join(st.Problems, "; "))
		}
		return nil
	})
	return st
}

func settled(st api.Status) error {
	if !st.Settled || !st.Healthy {
		return fmt.Errorf("settled %v, healthy %v", st.Settled, st.Healthy)
	}
	return nil
}

// TestDeployUntilSettled brings up a whole stack of pretended nodes through the API and etcd as they are in production.
func TestDeployUntilSettled(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.control(1, wholeRedis())
	cli := c.admin()
	events := c.events(cli)
	d := testDeployment(2, 3)
	agents := map[string]*testAgent{}
	for _, n := range d.Nodes {
		if n.Role == api.RoleMain {
			agents[n.Name] = startAgent(t, c, n, c.issue(n.Name, "devctl:main"))
			continue
		}
		cert, got := c.join(n)
		if cert.Cert == "" {
			t.Fatalf("%s may not join: %d %s", n.Name, got.status, got.body)
		}
		agents[n.Name] = startAgent(t, c, n, cert)
	}
	for _, n := range d.Nodes {
		waitEvent(t, events, n.Name+" joined (")
	}
	if st := eventuallyStatus(t, cli, func(api.Status) error { return nil }); st.Healthy || !slices.Contains(st.Problems, "nothing is deployed yet") {
		t.Errorf("before the deployment the status is healthy %v with problems %q", st.Healthy, st.Problems)
	}

	resp, err := cli.Deploy(t.Context(), api.DeployRequest{Deployment: d, Secrets: testSecrets})
	if err != nil {
		t.Fatal(err)
	}
	if !resp.Changed || resp.Seq == 0 {
		t.Errorf("the first deployment gives %+v", resp)
	}
	st := eventuallyStatus(t, cli, settled)
	if st.Deployed != resp.Revision || st.Endpoint.Holder != "worker-1" || st.Etcd != (api.EtcdStatus{Members: 1, Healthy: 1, Leader: "main-1"}) {
		t.Errorf("status is of %s, endpoint %+v, etcd %+v", st.Deployed, st.Endpoint, st.Etcd)
	}
	var names []string
	for _, n := range st.Nodes {
		names = append(names, n.Name+" "+n.State)
	}
	if got := strings.Join(names, ", "); got != "main-1 ready, worker-1 ready, worker-2 ready, data-1 ready, data-2 ready, data-3 ready" {
		t.Errorf("nodes are %s", got)
	}
	for _, text := range []string{
		"deployment " + resp.Revision + " is what should run now",
		"redis-1.service on data-1 starts: first member of shard 1",
		"redis-1.service on data-1 is active",
		"Redis: forming, 8192 of 16384 slots",
		"Redis: slots assigned",
		"Redis: whole, 3 primaries and 3 replicas in sync",
		"HAProxy on worker-2 is up with 3 backends",
		"the endpoint 198.18.0.10 is held by worker-1",
		"settled: everything runs and is ready",
	} {
		if e := waitEvent(t, events, text); e.Seq <= resp.Seq {
			t.Errorf("%q has number %d, but the answer says that all before %d is older", text, e.Seq, resp.Seq)
		}
	}

	assigned, err := cli.Assignments(t.Context())
	if err != nil || assigned.Deployed != resp.Revision || len(assigned.Assignments) != 10 {
		t.Errorf("assigned is %d units of %s, %v", len(assigned.Assignments), assigned.Deployed, err)
	}
	if len(assigned.Live) != len(d.Nodes) || len(assigned.Silent) > 0 {
		t.Errorf("live are %v, silent %v", assigned.Live, assigned.Silent)
	}
	if left := plan.Assignments(d, assigned.Assignments); len(left) > 0 {
		t.Errorf("what is assigned is not what was deployed: %v", left)
	}

	again, err := cli.Deploy(t.Context(), api.DeployRequest{Deployment: d, Secrets: testSecrets})
	if err != nil || again.Changed || again.Revision != resp.Revision {
		t.Errorf("the same deployment again gives %+v, %v", again, err)
	}

	agents["data-2"].stop()
	waitEvent(t, events, "data-2 stopped beating (last heartbeat ")
	eventuallyStatus(t, cli, func(st api.Status) error {
		if st.Settled || st.Healthy || !slices.ContainsFunc(st.Problems, func(p string) bool { return strings.HasPrefix(p, "data-2 has been silent for ") }) {
			return errors.New("data-2 is not missed")
		}
		return nil
	})
	cert, _ := c.join(testNode(api.RoleData, 2, 100))
	startAgent(t, c, testNode(api.RoleData, 2, 100), cert)
	waitEvent(t, events, "data-2 beats again, after ")
	eventuallyStatus(t, cli, settled)

	checkSequence(t, events())
}

// checkSequence checks that events are numbered without gap, and that nothing was told twice in a row.
func checkSequence(t *testing.T, events []api.Event) {
	t.Helper()
	for i, e := range events {
		if e.Seq != int64(i+1) || e.Time.IsZero() {
			t.Errorf("event %d has number %d, time %v", i+1, e.Seq, e.Time)
		}
		if i > 0 && e.Message == events[i-1].Message {
			t.Errorf("told twice: %s", e.Message)
		}
	}
}

// TestFailedUnit: a unit that cannot start is told with its last words, and repaired by the next deployment.
func TestFailedUnit(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.control(1, wholeRedis())
	cli := c.admin()
	events := c.events(cli)
	d := testDeployment(1, 1)
	d.Redis = api.RedisSpec{}
	d.Nodes = []api.Identity{testNode(api.RoleWorker, 1, 20)}
	cert, _ := c.join(d.Nodes[0])
	agent := startAgent(t, c, d.Nodes[0], cert)
	agent.mu.Lock()
	agent.broken["haproxy.service"] = "exit status 1\ncannot bind to :7010"
	agent.mu.Unlock()
	if _, err := cli.Deploy(t.Context(), api.DeployRequest{Deployment: d, Secrets: testSecrets}); err != nil {
		t.Fatal(err)
	}
	if e := waitEvent(t, events, "haproxy.service on worker-1 failed: exit status 1; cannot bind to :7010"); e.Level != "error" || e.Node != "worker-1" || e.Unit != "haproxy.service" {
		t.Errorf("the event is %+v", e)
	}
	eventuallyStatus(t, cli, func(st api.Status) error {
		if !slices.Contains(st.Problems, "haproxy.service on worker-1 is failed (failed)") {
			return errors.New("the failed unit is no problem")
		}
		if st.Settled || st.Nodes[0].State != "degraded" {
			return fmt.Errorf("settled %v, %s is %s", st.Settled, st.Nodes[0].Name, st.Nodes[0].State)
		}
		return nil
	})
	agent.mu.Lock()
	delete(agent.broken, "haproxy.service")
	agent.mu.Unlock()
	d.Images.HAProxy = "haproxy:2"
	if _, err := cli.Deploy(t.Context(), api.DeployRequest{Deployment: d, Secrets: testSecrets}); err != nil {
		t.Fatal(err)
	}
	eventuallyStatus(t, cli, settled)
	waitEvent(t, events, "haproxy.service on worker-1 is changed: its unit file changed")
}

// TestHandover stops the leading controller: another goes on where it was, and what the old one still wants to
// write is refused.
func TestHandover(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	stop := c.control(1, wholeRedis())
	cli := c.admin()
	root := c.etcd(c.load("controller"))
	elected := func(name string) *leader {
		var l *leader
		etcdtest.Eventually(t, 30*time.Second, func() error {
			resp, err := root.Get(t.Context(), discovery.ElectionKey+"/", clientv3.WithFirstCreate()...)
			if err != nil {
				return err
			}
			if len(resp.Kvs) == 0 || string(resp.Kvs[0].Value) != name {
				return errors.New("nobody is elected, or another")
			}
			kv := resp.Kvs[0]
			l = &leader{controller: &controller{etcd: root}, elected: clientv3.Compare(clientv3.CreateRevision(string(kv.Key)), "=", kv.CreateRevision)}
			return nil
		})
		return l
	}
	old := elected("main-1")
	if err := old.write(t.Context(), clientv3.OpPut("/test", "1")); err != nil {
		t.Fatalf("the leader cannot write: %v", err)
	}
	c.control(2, wholeRedis())
	second := api.NewClient(c.apis[1:], c.clientTLS(c.issue("admin", "devctl:admin")))
	t.Cleanup(second.Close)
	events := c.events(second)
	cert, _ := c.join(testNode(api.RoleWorker, 1, 20))
	startAgent(t, c, testNode(api.RoleWorker, 1, 20), cert)
	waitEvent(t, events, "worker-1 joined")
	if h, err := cli.Health(t.Context()); err != nil || !h.Leader || h.Node != "main-1" {
		t.Errorf("the first controller says %+v, %v", h, err)
	}
	if h, err := second.Health(t.Context()); err != nil || h.Leader {
		t.Errorf("the second controller says %+v, %v", h, err)
	}

	stop()
	elected("main-2")
	if err := old.write(t.Context(), clientv3.OpPut("/test", "2")); !errors.Is(err, errDeposed) {
		t.Errorf("the old leader's write gives %v, want %v", err, errDeposed)
	}
	c.apis = c.apis[1:]
	cert, _ = c.join(testNode(api.RoleWorker, 2, 20))
	startAgent(t, c, testNode(api.RoleWorker, 2, 20), cert)
	waitEvent(t, events, "worker-2 joined")
	checkSequence(t, events())
	if count := len(slices.DeleteFunc(events(), func(e api.Event) bool { return !strings.HasPrefix(e.Message, "worker-1 joined") })); count != 1 {
		t.Errorf("the new leader told %d times that worker-1 joined", count)
	}
}

// TestLostSession: a leader whose lease is gone stops leading, and stands for election again.
func TestLostSession(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.control(1, wholeRedis())
	root := c.etcd(c.load("controller"))
	var first int64
	leaderSince := func() (clientv3.LeaseID, int64) {
		resp, err := root.Get(t.Context(), discovery.ElectionKey+"/", clientv3.WithFirstCreate()...)
		if err != nil || len(resp.Kvs) == 0 {
			return 0, 0
		}
		return clientv3.LeaseID(resp.Kvs[0].Lease), resp.Kvs[0].CreateRevision
	}
	etcdtest.Eventually(t, 30*time.Second, func() error {
		lease, since := leaderSince()
		if since == 0 {
			return errors.New("nobody is elected")
		}
		first = since
		_, err := root.Revoke(t.Context(), lease)
		return err
	})
	etcdtest.Eventually(t, 30*time.Second, func() error {
		if _, since := leaderSince(); since <= first {
			return errors.New("it does not lead again")
		}
		return nil
	})
}

// TestNoQuorum: with one of three members left nothing can be asked or changed, and the error says who answers.
func TestNoQuorum(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.control(1, wholeRedis())
	cli := c.admin()
	st := eventuallyStatus(t, cli, func(st api.Status) error {
		if st.Etcd.Healthy != 3 {
			return fmt.Errorf("%d members are healthy", st.Etcd.Healthy)
		}
		return nil
	})
	if st.Etcd.Members != 3 || !strings.HasPrefix(st.Etcd.Leader, "main-") {
		t.Errorf("etcd is %+v", st.Etcd)
	}
	c.members[1].Stop()
	eventuallyStatus(t, cli, func(st api.Status) error {
		if st.Etcd.Healthy != 2 || !slices.Contains(st.Problems, "etcd member main-2 does not serve") {
			return fmt.Errorf("etcd is %+v", st.Etcd)
		}
		return nil
	})
	c.members[2].Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	want := "etcd has no quorum: members that answer: main-1; that do not: main-2, main-3"
	_, err := cli.Status(ctx)
	if refusal := (*api.Error)(nil); !errors.As(err, &refusal) || refusal.Status != 503 || refusal.Message != want {
		t.Errorf("status gives %v, want %s", err, want)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	if _, err := cli.Deploy(ctx, api.DeployRequest{Deployment: testDeployment(2, 3)}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("deploy gives %v, want %s", err, want)
	}
}
