package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/images"
	"devctl/internal/api"
	"devctl/internal/localcloud"
	"devctl/stacks"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file under testdata, or rewrites it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}

const localSpec = `config:
  devctl:provider: local
  devctl:nodes:
    main: {count: 3}
    worker: {min: 2, max: 2}
    data: {count: 3}
  devctl:redis: {shards: 3, replicas: 1}
`

// world is devctl with a project in a folder of its own and nothing real behind it.
type world struct {
	t        *testing.T
	deps     *deps
	dir      string
	environ  map[string]string
	cluster  *fakeCluster
	env      *fakeEnvironment
	state    *fakeState
	out, err syncBuffer
}

// syncBuffer may be written by several goroutines, as a file may.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), environ: map[string]string{}, cluster: &fakeCluster{}, env: newFakeEnvironment(), state: newFakeState()}
	w.write("Pulumi.yaml", "name: devctl\ndescription: A test\nruntime: go\nmain: .\nstackConfigDir: stacks\n")
	w.write("stacks/Pulumi.local.yaml", localSpec)
	w.environ["DEVCTL_HOME"] = filepath.Join(t.TempDir(), "home")
	w.deps = &deps{
		streams: Streams{In: strings.NewReader(""), Out: &w.out, Err: &w.err},
		program: "devctl",
		hard:    t.Context(),
		getenv:  func(name string) string { return w.environ[name] },
		now:     func() time.Time { return testTime },
		after: func(time.Duration) <-chan time.Time {
			c := make(chan time.Time, 1)
			c <- testTime
			return c
		},
		images: func() (*images.Set, error) { return testImages(), nil },
		hold:   func(string, string) (func(), error) { return func() {}, nil },
		dial: func(o *stacks.Outputs) (cluster, error) {
			w.cluster.mu.Lock()
			defer w.cluster.mu.Unlock()
			w.cluster.dialled = append(w.cluster.dialled, o.Controllers...)
			return w.cluster, nil
		},
		exec: func(context.Context, string, string, localcloud.ExecOptions) (int, error) {
			return 0, errors.New("no node answers in this test")
		},
		preflight:   func(context.Context, localcloud.PreflightArgs) []error { return nil },
		credentials: func(context.Context, *stacks.Spec) error { return nil },
		leftovers:   func(context.Context, string) ([]string, error) { return nil, nil },
		checks:      func() []check { return nil },
	}
	w.wire()
	spec, err := stacks.Parse("Pulumi.local.yaml", []byte(localSpec), "local")
	if err != nil {
		t.Fatal(err)
	}
	w.cluster.assigned = assignments(spec, testImages().Deployed())
	return w
}

var testTime = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// testImages are image references that no change of an image changes.
func testImages() *images.Set {
	var set images.Set
	for _, name := range []string{"etcd", "haproxy", "keepalived", "redis"} {
		set.Services = append(set.Services, images.Image{Name: name, Ref: "localhost/devctl/" + name + ":0123456789ab"})
	}
	return &set
}

func (w *world) write(name, content string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// terminal makes all streams terminals, with a person who types the given lines.
func (w *world) terminal(lines ...string) *world {
	w.deps.streams.InTerminal, w.deps.streams.OutTerminal, w.deps.streams.ErrTerminal = true, true, true
	w.deps.streams.In = strings.NewReader(strings.Join(lines, "\n") + "\n")
	w.deps.streams.Size = func() (int, int) { return 100, 40 }
	w.environ["NO_COLOR"] = "1"
	return w
}

// result is how a run of devctl ended.
type result struct {
	code     int
	out, err string
}

// run runs devctl in the project.
func (w *world) run(args ...string) result {
	w.t.Helper()
	return w.runContext(w.t.Context(), args...)
}

func (w *world) runContext(ctx context.Context, args ...string) result {
	w.t.Helper()
	w.out, w.err = syncBuffer{}, syncBuffer{}
	w.environ["DEVCTL_PROJECT_DIR"] = w.dir
	code := run(ctx, w.deps, args)
	// Where the project is differs from run to run, and commands to paste name it.
	where := strings.NewReplacer(" -C "+w.dir, "", w.dir, "DIR")
	return result{code: code, out: where.Replace(w.out.String()), err: where.Replace(w.err.String())}
}

// want checks the exit code, and that messages contain something.
func (r result) want(t *testing.T, code int, messages ...string) result {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", r.code, code, r.out, r.err)
	}
	for _, message := range messages {
		if !strings.Contains(r.err, message) {
			t.Errorf("stderr does not say %q:\n%s", message, r.err)
		}
	}
	return r
}

// fakeCluster answers from a script: each question for the status gets the next one, the last for ever.
type fakeCluster struct {
	mu       sync.Mutex
	statuses []api.Status
	failures []error // before the statuses
	events   []api.Event
	changed  bool
	deploys  []api.DeployRequest
	refuse   error // of Deploy
	onDeploy func()
	dialled  []string
	health   map[string]api.Health
	asked    int
	onStatus func(asked int)
	assigned []api.Assignment
	desired  *api.Deployment
	deaf     error // of Assignments
	snapshot []byte
	scaled   []int // what Workers was asked for
	scale    func(count int) (api.WorkersResponse, error)
}

func (c *fakeCluster) Workers(_ context.Context, req api.WorkersRequest) (api.WorkersResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scaled = append(c.scaled, req.Count)
	return c.scale(req.Count)
}

func (c *fakeCluster) Snapshot(_ context.Context, w io.Writer) (int64, error) {
	if c.snapshot == nil {
		return 0, errors.New("etcd has no quorum")
	}
	_, err := w.Write(c.snapshot)
	return 42, err
}

func (c *fakeCluster) Assignments(context.Context) (api.Assigned, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return api.Assigned{Deployed: "rev1", Deployment: c.desired, Assignments: c.assigned}, c.deaf
}

func (c *fakeCluster) Deploy(_ context.Context, req api.DeployRequest) (api.DeployResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deploys = append(c.deploys, req)
	if c.onDeploy != nil {
		c.onDeploy()
	}
	return api.DeployResponse{Revision: "rev1", Changed: c.changed, Seq: 7}, c.refuse
}

func (c *fakeCluster) Status(ctx context.Context) (api.Status, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if c.onStatus != nil {
		c.onStatus(c.asked)
	}
	if err := ctx.Err(); err != nil {
		return api.Status{}, err
	}
	if len(c.failures) > 0 {
		err := c.failures[0]
		c.failures = c.failures[1:]
		return api.Status{}, err
	}
	if len(c.statuses) == 0 {
		return api.Status{}, errors.New("no controller answered")
	}
	st := c.statuses[0]
	if len(c.statuses) > 1 {
		c.statuses = c.statuses[1:]
	}
	return st, nil
}

func (c *fakeCluster) Events(ctx context.Context, after int64, f func(api.Event) error) error {
	for _, e := range c.events {
		if e.Seq <= after {
			continue
		}
		if err := f(e); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (c *fakeCluster) Health(context.Context) (api.Health, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.dialled[len(c.dialled)-1]
	health, found := c.health[last]
	if !found {
		return health, fmt.Errorf("ask %s: connection refused", last)
	}
	return health, nil
}

func (c *fakeCluster) Close() {}

// testOutputs are the outputs of a stack that is up.
func testOutputs() *stacks.Outputs {
	return &stacks.Outputs{
		Controllers: []string{"198.18.0.11:9443", "198.18.0.12:9443", "198.18.0.13:9443"},
		CACert:      "ca", AdminCert: "cert", AdminKey: "admin-key-secret",
		Secrets: map[string]string{
			api.SecretRedisAdmin: "admin-secret", api.SecretRedisReplication: "replication-secret", api.SecretRedisCheck: "check-secret",
			api.SecretRedisApp: "app-secret", api.SecretStats: "stats-secret",
		},
		Redis:    stacks.RedisOutput{Address: "198.18.0.10", Port: 7010, Username: api.RedisUserApp},
		StatsURL: "http://198.18.0.10:7020/stats",
	}
}

// testStatus is the status of a healthy stack.
func testStatus() api.Status {
	st := api.Status{
		Stack: "local", Healthy: true, Problems: []string{}, Deployed: "rev1", Settled: true,
		Etcd: api.EtcdStatus{Members: 3, Healthy: 3, Leader: "main-2"},
		Redis: api.RedisStatus{State: "ok", SlotsAssigned: 16384, Primaries: 3, Replicas: 3, Shards: []api.ShardStatus{
			testShard("0-5460", "data-1", "a", "data-2", "b", 7101),
			testShard("5461-10922", "data-2", "b", "data-3", "c", 7102),
			testShard("10923-16383", "data-3", "c", "data-1", "a", 7103),
		}},
		Endpoint: api.EndpointStatus{Address: "198.18.0.10", Port: 7010, StatsURL: "http://198.18.0.10:7020/stats", Holder: "worker-1"},
	}
	units := map[api.Role][]string{
		api.RoleMain:   {"devctl-setup.service", "etcd.service", "devctl-controller.service", "devctl-agent.service"},
		api.RoleWorker: {"devctl-setup.service", "devctl-agent.service", "haproxy.service", "keepalived.service"},
		api.RoleData:   {"devctl-setup.service", "devctl-agent.service", "redis-1.service", "redis-2.service"},
	}
	first := map[api.Role]int{api.RoleMain: 11, api.RoleWorker: 21, api.RoleData: 101}
	for _, role := range api.Roles() {
		for i := range map[api.Role]int{api.RoleMain: 3, api.RoleWorker: 2, api.RoleData: 3}[role] {
			n := api.NodeStatus{
				Name: fmt.Sprintf("%s-%d", role, i+1), ID: fmt.Sprintf("%s%d0123456789abcdef", role, i+1), Role: role, Zone: string(rune('a' + i)),
				Address: fmt.Sprintf("198.18.0.%d", first[role]+i), State: "ready", LastHeartbeat: testTime.Add(-2 * time.Second),
			}
			for _, name := range units[role] {
				n.Units = append(n.Units, api.UnitStatus{Name: name, Active: "active", Sub: "running"})
			}
			st.Nodes = append(st.Nodes, n)
		}
	}
	return st
}

func testShard(slots, primary, zone, replica, replicaZone string, port int) api.ShardStatus {
	at := map[string]string{"data-1": "198.18.0.101", "data-2": "198.18.0.102", "data-3": "198.18.0.103"}
	return api.ShardStatus{
		Slots:    slots,
		Primary:  api.ShardMember{Node: primary, Zone: zone, Address: fmt.Sprintf("%s:%d", at[primary], port), InSync: true},
		Replicas: []api.ShardMember{{Node: replica, Zone: replicaZone, Address: fmt.Sprintf("%s:%d", at[replica], port), InSync: true}},
	}
}

// brokenStatus is the status of a stack that lost a node and has a unit that does not start.
func brokenStatus() api.Status {
	st := testStatus()
	st.Healthy, st.Settled = false, false
	st.Problems = []string{"data-3 has been silent for 1m15s", "redis-2.service on data-2 is activating (auto-restart)", "Redis has no replica of slots 5461-10922."}
	missing := st.Nodes[7]
	missing.State, missing.Units, missing.LastHeartbeat = api.NodeMissing, []api.UnitStatus{}, testTime.Add(-75*time.Second)
	st.Nodes, st.Missing = st.Nodes[:7], []api.NodeStatus{missing}
	st.Nodes[6].State = "degraded"
	st.Nodes[6].Units[3] = api.UnitStatus{Name: "redis-2.service", Active: "activating", Sub: "auto-restart",
		Message: "exit code 1\nFatal error, can't open config file\n"}
	st.Etcd.Healthy = 2
	st.Redis.State, st.Redis.Replicas = "fail", 1
	st.Redis.Shards[1].Replicas[0].InSync = false
	st.Redis.Shards[2].Primary = api.ShardMember{}
	st.Endpoint.Holder = ""
	return st
}
