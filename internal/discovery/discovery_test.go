package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/discovery/etcdtest"
)

var quiet = slog.New(slog.DiscardHandler)

func put(t *testing.T, cli *clientv3.Client, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := cli.Put(ctx, key, value); err != nil {
		t.Fatal(err)
	}
}

// start runs f until the test ends, and fails the test when f ends before.
func start(t *testing.T, f func(ctx context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("ended by itself: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func TestKeys(t *testing.T) {
	t.Parallel()
	got := []string{
		discovery.NodeKey("data-1"), discovery.DeploymentKey, discovery.AssignmentKey("data-1", "redis-1.service"),
		discovery.ObservedKey("data-1", "redis-1.service"), discovery.SecretKey("redis-app"), discovery.EventsPrefix,
		discovery.ElectionKey,
	}
	want := []string{
		"/devctl/v1/nodes/data-1", "/devctl/v1/deployment", "/devctl/v1/assignments/data-1/redis-1.service",
		"/devctl/v1/observed/data-1/redis-1.service", "/devctl/v1/secrets/redis-app", "/devctl/v1/events/",
		"/devctl/v1/election/controller",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestParseNodesTrustsOnlyTheirOwnKey(t *testing.T) {
	t.Parallel()
	got := discovery.ParseNodes(map[string][]byte{
		"worker-1": []byte(`{"name":"worker-1"}`),
		"data-1":   []byte(`{"name":"data-1"}`),
		"worker-2": []byte(`{"name":"data-1"}`),
		"worker-3": []byte(`no record`),
	})
	var names []string
	for _, r := range got {
		names = append(names, r.Name)
	}
	if diff := cmp.Diff([]string{"data-1", "worker-1"}, names); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
}

func TestParseAssignmentsIsAllOrNothing(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, value, want string }{
		{"no JSON", "?", "decode assignment of redis-1.service: "},
		{"another unit", `{"unit":"redis-2.service"}`, `assignment of redis-1.service is about "redis-2.service"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := discovery.ParseAssignments(map[string][]byte{
				"haproxy.service": []byte(`{"unit":"haproxy.service"}`),
				"redis-1.service": []byte(tc.value),
			})
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got error %v, want %s", err, tc.want)
			}
		})
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	cli := etcdtest.Dial(t, etcdtest.Start(t))
	ctx := context.Background()
	if _, _, found, err := discovery.Get[api.Deployment](ctx, cli, discovery.DeploymentKey); found || err != nil {
		t.Errorf("of nothing: found %v, error %v", found, err)
	}
	put(t, cli, discovery.DeploymentKey, `{"stack":"local"}`)
	got, revision, found, err := discovery.Get[api.Deployment](ctx, cli, discovery.DeploymentKey)
	if err != nil || !found || got.Stack != "local" || revision != 2 {
		t.Errorf("got %v revision %d found %v error %v", got, revision, found, err)
	}
	put(t, cli, discovery.DeploymentKey, `{`)
	_, _, _, err = discovery.Get[api.Deployment](ctx, cli, discovery.DeploymentKey)
	if want := "decode /devctl/v1/deployment: unexpected end of JSON input"; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

// seen collects what Follow tells.
type seen struct {
	mu    sync.Mutex
	tells int
	last  map[string]string
}

func (s *seen) take(snap discovery.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tells++
	s.last = map[string]string{}
	for k, v := range snap.Values {
		s.last[k] = string(v)
	}
}

func (s *seen) is(want map[string]string) func() error {
	return func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.tells == 0 || !maps.Equal(s.last, want) {
			return fmt.Errorf("after %d tells it is %v, want %v", s.tells, s.last, want)
		}
		return nil
	}
}

func TestFollowKeepsWhatItKnowsWhileEtcdIsDown(t *testing.T) {
	t.Parallel()
	m := etcdtest.Start(t)
	cli := etcdtest.Dial(t, m)
	put(t, cli, "/p/a", "1")
	put(t, cli, "/q/x", "elsewhere")
	var s seen
	start(t, func(ctx context.Context) error { return discovery.Follow(ctx, cli, "/p/", quiet, s.take) })
	etcdtest.Eventually(t, 5*time.Second, s.is(map[string]string{"a": "1"}))
	put(t, cli, "/p/b", "2")
	etcdtest.Eventually(t, 5*time.Second, s.is(map[string]string{"a": "1", "b": "2"}))
	if _, err := cli.Delete(context.Background(), "/p/a"); err != nil {
		t.Fatal(err)
	}
	etcdtest.Eventually(t, 5*time.Second, s.is(map[string]string{"b": "2"}))

	m.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := cli.Get(ctx, "/p/b"); err == nil {
		t.Fatal("etcd answers although it is stopped")
	}
	if err := s.is(map[string]string{"b": "2"})(); err != nil {
		t.Errorf("while etcd was down: %v", err)
	}
	m.Start()
	m.WaitHealthy()
	put(t, cli, "/p/c", "3")
	etcdtest.Eventually(t, 20*time.Second, s.is(map[string]string{"b": "2", "c": "3"}))
}

// names lists the node keys in etcd.
func names(cli *clientv3.Client) ([]string, error) {
	snap, err := discovery.List(context.Background(), cli, discovery.NodesPrefix)
	return slices.Sorted(maps.Keys(snap.Values)), err
}

func nodesAre(cli *clientv3.Client, want ...string) func() error {
	return func() error {
		got, err := names(cli)
		if err != nil {
			return err
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("nodes are %v, want %v", got, want)
		}
		return nil
	}
}

// presence beats fast under a lease of 2 s, the shortest that etcd grants. Every beat writes another record.
func presence(cli *clientv3.Client, name string) *discovery.Presence {
	return &discovery.Presence{
		Client: cli, Log: quiet, TTL: 2 * time.Second,
		Keys: func(now time.Time) (map[string][]byte, error) {
			return map[string][]byte{discovery.NodeKey(name): []byte(fmt.Sprintf(`{"name":%q,"lastHeartbeat":%q}`, name, now.Format(time.RFC3339Nano)))}, nil
		},
	}
}

func TestNodeThatDiesIsForgotten(t *testing.T) {
	t.Parallel()
	cli := etcdtest.Dial(t, etcdtest.Start(t))
	start(t, presence(cli, "data-1").Run)
	stop := start(t, presence(cli, "data-2").Run)
	etcdtest.Eventually(t, 5*time.Second, nodesAre(cli, "data-1", "data-2"))
	stop()
	if err := nodesAre(cli, "data-1", "data-2")(); err != nil {
		t.Errorf("a process that stops must leave its keys to the one that is started next: %v", err)
	}
	died := time.Now()
	etcdtest.Eventually(t, 6*time.Second, nodesAre(cli, "data-1"))
	t.Logf("forgotten after %v with a lease of 2 s", time.Since(died).Round(10*time.Millisecond))
}

func TestPresenceRegistersAgainAfterEtcdWasAway(t *testing.T) {
	t.Parallel()
	m := etcdtest.Start(t)
	cli := etcdtest.Dial(t, m)
	start(t, presence(cli, "data-1").Run)
	etcdtest.Eventually(t, 5*time.Second, nodesAre(cli, "data-1"))
	leases, err := cli.Leases(context.Background())
	if err != nil || len(leases.Leases) != 1 {
		t.Fatalf("leases are %v, error %v; want one", leases, err)
	}
	first := leases.Leases[0].ID

	m.Stop()
	m.Start()
	m.WaitHealthy()
	etcdtest.Eventually(t, 5*time.Second, nodesAre(cli, "data-1"))

	// The lease is gone while the process lives, as after a pause that was too long.
	if _, err := cli.Revoke(context.Background(), first); err != nil {
		t.Fatal(err)
	}
	etcdtest.Eventually(t, 5*time.Second, nodesAre(cli, "data-1"))
	leases, err = cli.Leases(context.Background())
	if err != nil || len(leases.Leases) != 1 || leases.Leases[0].ID == first {
		t.Errorf("leases are %v, error %v; want one that is not %x", leases, err, first)
	}
}

// TestPresenceOfAStranger: only refusals are told to Denied, and only its error ends the beating.
func TestPresenceOfAStranger(t *testing.T) {
	t.Parallel()
	authority := etcdtest.NewAuthority(t)
	m := etcdtest.New(t, "main-1")
	m.Secure(authority)
	m.Start()
	m.WaitHealthy()
	etcdtest.EnableAuth(t, etcdtest.Dial(t, m))
	cli, err := discovery.Dial([]string{m.Client}, authority.Client("data-1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cli.Close() })
	p := presence(cli, "data-1")
	enough, denied := errors.New("enough"), 0
	p.Denied = func() error {
		if denied++; denied == 3 {
			return enough
		}
		return nil
	}
	p.Beaten = func() { t.Error("a stranger's beat is taken") }
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.Run(ctx); !errors.Is(err, enough) || denied != 3 {
		t.Errorf("it ended with %v after %d refusals", err, denied)
	}
}

func TestPresenceWritesWhatChanged(t *testing.T) {
	t.Parallel()
	cli := etcdtest.Dial(t, etcdtest.Start(t))
	var mu sync.Mutex
	want := map[string][]byte{"/p/a": []byte("1"), "/p/b": []byte("1")}
	wake := make(chan struct{}, 1)
	beaten := make(chan struct{}, 100)
	p := &discovery.Presence{
		Client: cli, Log: quiet, Wake: wake,
		Keys: func(time.Time) (map[string][]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			return maps.Clone(want), nil
		},
		Beaten: func() { beaten <- struct{}{} },
	}
	start(t, p.Run)
	<-beaten
	mu.Lock()
	want = map[string][]byte{"/p/a": []byte("2")}
	mu.Unlock()
	wake <- struct{}{}
	<-beaten // with a lease of 10 s the next beat by itself is 3 s away
	resp, err := cli.Get(context.Background(), "/p/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) != 1 || string(resp.Kvs[0].Key) != "/p/a" || string(resp.Kvs[0].Value) != "2" || resp.Kvs[0].Lease == 0 {
		t.Errorf("etcd holds %v, want only a leased /p/a with 2", resp.Kvs)
	}
}

func TestReapRemovesOnlyTheSilent(t *testing.T) {
	t.Parallel()
	m := etcdtest.Start(t)
	cli := etcdtest.Dial(t, m)
	// A record without a lease stands for one whose lease a new etcd leader has just started anew.
	put(t, cli, discovery.NodeKey("main-1"), `{"name":"main-1"}`)
	start(t, presence(cli, "data-1").Run)
	etcdtest.Eventually(t, 5*time.Second, nodesAre(cli, "data-1", "main-1"))
	start(t, func(ctx context.Context) error { return discovery.Reap(ctx, cli, quiet) })
	began := time.Now()
	etcdtest.Eventually(t, 12*time.Second, nodesAre(cli, "data-1"))
	if took := time.Since(began); took < 6*time.Second {
		t.Errorf("removed after %v only", took)
	}
}
