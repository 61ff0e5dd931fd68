package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

// fakeSystemd does what systemd would to units whose files are in dir, at once.
type fakeSystemd struct {
	dir   string
	state map[string]unitState
	calls []string
	fail  map[string]error // by call
	hold  bool             // jobs stay queued
}

func (f *fakeSystemd) call(verb, unit string) error {
	call := strings.TrimSpace(verb + " " + unit)
	f.calls = append(f.calls, call)
	return f.fail[call]
}

func (f *fakeSystemd) units(_ context.Context, names []string) (map[string]unitState, error) {
	out := map[string]unitState{}
	for _, name := range names {
		s, ok := f.state[name]
		if !ok {
			s = unitState{Active: "inactive", Sub: "dead"}
		}
		_, err := os.Stat(filepath.Join(f.dir, name))
		s.Known = err == nil
		out[name] = s
	}
	return out, f.fail["units"]
}

func (f *fakeSystemd) reload(context.Context) error                 { return f.call("reload", "") }
func (f *fakeSystemd) enable(_ context.Context, unit string) error  { return f.call("enable", unit) }
func (f *fakeSystemd) disable(_ context.Context, unit string) error { return f.call("disable", unit) }
func (f *fakeSystemd) forget(_ context.Context, unit string) error  { return f.call("forget", unit) }

func (f *fakeSystemd) restart(_ context.Context, unit string) error {
	if f.hold {
		f.state[unit] = unitState{Active: "active", Sub: "running", Job: "restart"}
	} else {
		f.state[unit] = unitState{Active: "active", Sub: "running"}
	}
	return f.call("restart", unit)
}

func (f *fakeSystemd) start(_ context.Context, unit string) error {
	f.state[unit] = unitState{Active: "active", Sub: "running"}
	return f.call("start", unit)
}

func (f *fakeSystemd) stop(_ context.Context, unit string) error {
	f.state[unit] = unitState{Active: "inactive", Sub: "dead"}
	return f.call("stop", unit)
}

// bench is a node with a reconciler.
type bench struct {
	t       *testing.T
	root    string
	systemd *fakeSystemd
	secrets map[string]string
	down    error // what etcd says instead of a secret
	r       *reconciler
	base    []api.UnitStatus
	units   []api.UnitStatus
}

func newBench(t *testing.T) *bench {
	root := t.TempDir()
	unitDir := filepath.Join(root, "systemd")
	if err := os.Mkdir(unitDir, 0o755); err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, root: root, secrets: map[string]string{"redis-admin": "pw1"},
		systemd: &fakeSystemd{dir: unitDir, state: map[string]unitState{}, fail: map[string]error{}}}
	b.restartAgent()
	return b
}

// restartAgent makes a new reconciler that knows what is on disk only.
func (b *bench) restartAgent() {
	b.t.Helper()
	state := filepath.Join(b.root, "agent", "units.json")
	owned, err := loadOwned(state)
	if err != nil {
		b.t.Fatal(err)
	}
	b.r = &reconciler{
		systemd: b.systemd, log: slog.New(slog.DiscardHandler), unitDir: b.systemd.dir, stateFile: state, owned: owned,
		base: []string{"devctl-agent.service"},
		secrets: func(_ context.Context, name string) (string, error) {
			if b.down != nil {
				return "", b.down
			}
			return passwords(b.secrets)(name)
		},
		journal: func(_ context.Context, unit string) (string, error) { return "last words of " + unit, nil },
		report:  func(_ map[string]applied, base, units []api.UnitStatus) { b.base, b.units = base, units },
	}
}

func (b *bench) assign(assignments ...api.Assignment) {
	b.r.desired = map[string]api.Assignment{}
	for _, a := range assignments {
		b.r.desired[a.Unit] = a
	}
}

// pass makes a full pass and returns what systemd was told.
func (b *bench) pass() ([]string, error) {
	b.systemd.calls = nil
	err := b.r.pass(context.Background(), true)
	return b.systemd.calls, err
}

func (b *bench) expect(step string, want ...string) {
	b.t.Helper()
	got, err := b.pass()
	if err != nil {
		b.t.Errorf("%s: %v", step, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		b.t.Errorf("%s: calls (-want +got):\n%s", step, d)
	}
}

func (b *bench) redis(hash, text string) api.Assignment {
	me := api.File{UID: os.Getuid(), GID: os.Getgid()}
	conf, data := me, me
	conf.Path, conf.Mode, conf.Content = filepath.Join(b.root, "services", "redis-1.service", "redis.conf"), 0o600, "requirepass ${secret:redis-admin}\n"
	data.Path, data.Mode = filepath.Join(b.root, "data", "redis-1"), 0o700
	return api.Assignment{Node: "data-1", Unit: "redis-1.service", Text: text, Files: []api.File{conf}, Dirs: []api.File{data}, Shard: 1, Hash: hash}
}

func (b *bench) read(path ...string) string {
	text, err := os.ReadFile(filepath.Join(append([]string{b.root}, path...)...))
	if errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

func TestReconcileLife(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	conf := []string{"services", "redis-1.service", "redis.conf"}

	b.expect("before etcd has answered")
	b.assign(b.redis("h1", "[Unit]\n"))
	b.expect("assigned", "reload", "enable redis-1.service", "restart redis-1.service")
	if got := b.read(conf...); got != "requirepass pw1\n" {
		t.Errorf("redis.conf is %q", got)
	}
	if got := b.read("systemd", "redis-1.service"); got != "[Unit]\n" {
		t.Errorf("unit file is %q", got)
	}
	want := []api.UnitStatus{{Name: "redis-1.service", Active: "active", Sub: "running", Hash: "h1"}}
	if d := cmp.Diff(want, b.units); d != "" {
		t.Errorf("status (-want +got):\n%s", d)
	}
	if len(b.base) != 1 || b.base[0].Name != "devctl-agent.service" {
		t.Errorf("units of the machine are %v", b.base)
	}
	if err := os.WriteFile(filepath.Join(b.root, "data", "redis-1", "appendonly.aof"), []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}

	b.expect("nothing new")
	b.restartAgent()
	b.expect("agent restarted, etcd silent")
	b.assign(b.redis("h1", "[Unit]\n"))
	b.expect("agent restarted")

	b.assign(b.redis("h2", "[Unit]\nDescription=2\n"))
	b.expect("changed", "reload", "enable redis-1.service", "restart redis-1.service")
	b.secrets["redis-admin"] = "pw2"
	b.expect("secret changed", "reload", "enable redis-1.service", "restart redis-1.service")
	if got := b.read(conf...); got != "requirepass pw2\n" {
		t.Errorf("redis.conf is %q", got)
	}
	b.systemd.state["redis-1.service"] = stopped
	b.expect("stopped by hand", "start redis-1.service")

	b.assign()
	b.expect("withdrawn", "stop redis-1.service")
	b.restartAgent()
	b.assign()
	b.expect("stopped", "disable redis-1.service", "forget redis-1.service", "reload")
	if unit, file := b.read("systemd", "redis-1.service"), b.read(conf...); unit != "-" || file != "-" {
		t.Errorf("left behind: unit %q, file %q", unit, file)
	}
	if got := b.read("data", "redis-1", "appendonly.aof"); got != "data" {
		t.Errorf("data is %q", got)
	}
	if len(b.units) != 0 {
		t.Errorf("still reported: %v", b.units)
	}
	b.expect("gone")
}

func TestReconcileNewVersionDropsFiles(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := b.redis("h1", "[Unit]\n")
	acl := a.Files[0]
	acl.Path = filepath.Join(filepath.Dir(acl.Path), "users.acl")
	a.Files = append(a.Files, acl)
	b.assign(a)
	b.expect("assigned", "reload", "enable redis-1.service", "restart redis-1.service")
	b.assign(b.redis("h2", "[Unit]\n"))
	b.expect("changed", "reload", "enable redis-1.service", "restart redis-1.service")
	if got := b.read("services", "redis-1.service", "users.acl"); got != "-" {
		t.Errorf("a file of the old version is still there: %q", got)
	}
}

func TestReconcileWithoutAnAnswerChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.assign(b.redis("h1", "[Unit]\n"))
	b.expect("assigned", "reload", "enable redis-1.service", "restart redis-1.service")
	b.down = errors.New("read /devctl/v1/secrets/redis-admin: context deadline exceeded")
	b.assign(b.redis("h2", "[Unit]\n"))
	calls, err := b.pass()
	conf := filepath.Join(b.root, "services", "redis-1.service", "redis.conf")
	want := "fill in " + conf + ": read /devctl/v1/secrets/redis-admin: context deadline exceeded"
	if err == nil || err.Error() != "redis-1.service: "+want {
		t.Errorf("got error %v, want redis-1.service: %s", err, want)
	}
	if len(calls) > 0 {
		t.Errorf("systemd was told %v", calls)
	}
	status := []api.UnitStatus{{Name: "redis-1.service", Active: "active", Sub: "running", Hash: "h1", Message: want}}
	if d := cmp.Diff(status, b.units); d != "" {
		t.Errorf("status (-want +got):\n%s", d)
	}
	b.down = nil
	b.expect("answers again", "reload", "enable redis-1.service", "restart redis-1.service")
}

// TestReconcileTriesAgainWhenEtcdAnswers: what etcd did not answer is asked again as soon as it says anything, however long the next try
// is away, and the complaint goes.
func TestReconcileTriesAgainWhenEtcdAnswers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	messages := make(chan string)
	b.r.pace = func() time.Duration { return time.Hour }
	b.r.report = func(_ map[string]applied, _, units []api.UnitStatus) { messages <- units[0].Message }
	ctx, cancel := context.WithCancel(t.Context())
	desired, ended := make(chan map[string]api.Assignment), make(chan error)
	go func() { ended <- b.r.run(ctx, desired) }()
	set := map[string]api.Assignment{"redis-1.service": b.redis("h1", "[Unit]\n")}
	tell := func() string {
		desired <- set
		return <-messages
	}
	if got := tell(); got != "" {
		t.Errorf("installed, and the message is %q", got)
	}
	b.down = errors.New("context deadline exceeded")
	set = map[string]api.Assignment{"redis-1.service": b.redis("h2", "[Unit]\n")}
	if got := tell(); !strings.HasSuffix(got, "context deadline exceeded") {
		t.Errorf("etcd is away, and the message is %q", got)
	}
	b.down = nil
	if got := tell(); got != "" {
		t.Errorf("etcd answers, and the message is %q", got)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("run ended with %v", err)
	}
}

func TestReconcileFailuresOfOneUnitStayWithIt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	bad, good := b.redis("h1", "[Unit]\n"), api.Assignment{Unit: "haproxy.service", Text: "[Unit]\n", Hash: "h1"}
	b.systemd.fail["restart redis-1.service"] = errors.New("unit has a bad unit file setting")
	b.assign(bad, good)
	_, err := b.pass()
	if want := "redis-1.service: restart it: unit has a bad unit file setting"; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	// It is owned, so that it can be taken away, and not applied, so that it is tried again.
	if got := b.r.owned["redis-1.service"]; got.Hash != "" || len(got.Files) != 1 {
		t.Errorf("owned as %+v", got)
	}
	if got := b.r.owned["haproxy.service"].Hash; got != "h1" {
		t.Errorf("the other unit was applied as %q", got)
	}
	b.systemd.calls = nil
	if err := b.r.pass(context.Background(), false); err != nil || len(b.systemd.calls) > 0 {
		t.Errorf("tried again at once: %v, error %v", b.systemd.calls, err)
	}
	delete(b.systemd.fail, "restart redis-1.service")
	b.expect("next full pass", "reload", "enable redis-1.service", "restart redis-1.service")
}

func TestReconcileReloadFails(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.systemd.fail["reload"] = errors.New("no answer")
	b.assign(b.redis("h1", "[Unit]\n"))
	calls, err := b.pass()
	if want := "redis-1.service: reload systemd: no answer"; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	if !slices.Equal(calls, []string{"reload"}) {
		t.Errorf("systemd was told %v", calls)
	}
}

func TestReconcileSystemdAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.assign(b.redis("h1", "[Unit]\n"))
	b.systemd.fail["units"] = errors.New("connect to systemd: no such file")
	calls, err := b.pass()
	if err == nil || err.Error() != "connect to systemd: no such file" || len(calls) > 0 {
		t.Errorf("got error %v, calls %v", err, calls)
	}
}

func TestReconcileReportsQueuedRestartAsNotReady(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.systemd.hold = true
	b.assign(b.redis("h1", "[Unit]\n"))
	if _, err := b.pass(); err != nil {
		t.Fatal(err)
	}
	if got := b.units[0]; got.Ready() || got.Hash != "h1" {
		t.Errorf("status is %+v, want the new hash and not ready", got)
	}
}

func TestReconcileReportsEvidence(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.assign(b.redis("h1", "[Unit]\n"))
	b.expect("assigned", "reload", "enable redis-1.service", "restart redis-1.service")
	for _, step := range []struct {
		state unitState
		want  string
	}{
		{unitState{Active: "activating", Sub: "auto-restart"}, "last words of redis-1.service"},
		{unitState{Active: "activating", Sub: "start"}, "last words of redis-1.service"}, // while it tries again
		{unitState{Active: "active", Sub: "running"}, ""},
		{unitState{Active: "activating", Sub: "start"}, ""},
		{unitState{Active: "failed", Sub: "failed"}, "last words of redis-1.service"},
	} {
		b.systemd.state["redis-1.service"] = step.state
		if err := b.r.pass(context.Background(), false); err != nil {
			t.Fatal(err)
		}
		if got := b.units[0].Message; got != step.want {
			t.Errorf("in %v the message is %q, want %q", step.state, got, step.want)
		}
	}
}

// TestReconcileReportsProgress: an image on its way says how far it is, in one line.
func TestReconcileReportsProgress(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.r.journal = func(context.Context, string) (string, error) { return "fetching\nfetching done=\"2 MB\"", nil }
	const unit = "devctl-image-redis.service"
	b.assign(api.Assignment{Node: "data-1", Unit: unit, Text: "[Unit]\n", Hash: "h1"})
	b.expect("assigned", "reload", "enable "+unit, "restart "+unit)
	for state, want := range map[unitState]string{
		{Active: "activating", Sub: "start"}: `fetching done="2 MB"`,
		{Active: "active", Sub: "exited"}:    "",
	} {
		b.systemd.state[unit] = state
		if err := b.r.pass(context.Background(), false); err != nil {
			t.Fatal(err)
		}
		if got := b.units[0].Message; got != want {
			t.Errorf("in %v the message is %q, want %q", state, got, want)
		}
	}
}

func TestReconcileNoSecretInWhatIsReported(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.assign(b.redis("h1", "[Unit]\n"))
	b.expect("assigned", "reload", "enable redis-1.service", "restart redis-1.service")
	if all := fmt.Sprint(b.units, b.base) + b.read("agent", "units.json"); strings.Contains(all, "pw1") {
		t.Errorf("the password is in %s", all)
	}
}
