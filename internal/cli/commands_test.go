package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"devctl/internal/api"
	"devctl/internal/engine"
	"devctl/internal/localcloud"
)

func TestOutputs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	golden(t, "outputs.txt", w.run("outputs").want(t, 0).out)
	golden(t, "outputs.json", w.run("outputs", "-o", "json").want(t, 0).out)
	r := w.run("outputs", "-o", "json", "--show-secrets").want(t, 0)
	var shown struct{ Redis redisView }
	if err := json.Unmarshal([]byte(r.out), &shown); err != nil {
		t.Fatal(err)
	}
	want := redisView{Address: "198.18.0.10", Port: 7010, Username: "app", Password: "app-secret"}
	if d := cmp.Diff(want, shown.Redis); d != "" {
		t.Error(d)
	}
	var both [2]map[string]any
	if err := json.Unmarshal([]byte(w.run("outputs", "-o", "json").out), &both[0]); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(w.run("outputs", "-o", "yaml").out), &both[1]); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(both[0]) != fmt.Sprint(both[1]) {
		t.Errorf("JSON %v\nYAML %v", both[0], both[1])
	}
}

// fakeNodes answers commands on nodes.
type fakeNodes struct {
	mu    sync.Mutex
	calls []string
	out   map[string]string // by node
	code  int
	err   map[string]error
}

func (n *fakeNodes) exec(_ context.Context, stack, node string, o localcloud.ExecOptions) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, stack+"/"+node+": "+strings.Join(o.Argv, " "))
	if o.Stdin != nil && !o.TTY {
		_, _ = io.Copy(o.Stdout, o.Stdin)
	}
	_, _ = io.WriteString(o.Stdout, n.out[node])
	return n.code, n.err[node]
}

func TestExecPassesStreamsAndExitCodeThrough(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes := &fakeNodes{code: 3, out: map[string]string{"data-1": "hello\n"}}
	w.deps.exec = nodes.exec
	w.deps.streams.In = strings.NewReader("input\n")
	for _, args := range []string{"exec data-1 -- ls -l --all", "exec data-1 ls -l --all"} {
		nodes.calls = nil
		r := w.run(strings.Fields(args)...).want(t, 3)
		if !strings.HasSuffix(r.out, "hello\n") || r.err != "" {
			t.Errorf("%s: stdout %q, stderr %q", args, r.out, r.err)
		}
		if d := cmp.Diff([]string{"local/data-1: ls -l --all"}, nodes.calls); d != "" {
			t.Error(d)
		}
	}
	nodes.err = map[string]error{"data-1": errors.New("node is not running")}
	w.run("exec", "data-1", "ls").want(t, 1, `error: run "ls" on data-1: node is not running`, "next: devctl status")
}

func TestSSHTakesTheTerminalAndGivesItBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t).terminal()
	taken, given := 0, 0
	w.deps.streams.Raw = func() (<-chan localcloud.Size, func(), error) {
		taken++
		return nil, func() { given++ }, nil
	}
	nodes := &fakeNodes{}
	w.deps.exec = func(ctx context.Context, stack, node string, o localcloud.ExecOptions) (int, error) {
		if !o.TTY {
			t.Error("no terminal on the node")
		}
		return nodes.exec(ctx, stack, node, o)
	}
	w.run("ssh", "main-2").want(t, 0)
	if taken != 1 || given != 1 {
		t.Errorf("terminal taken %d times, given back %d times", taken, given)
	}
	if d := cmp.Diff([]string{"local/main-2: /bin/bash --login"}, nodes.calls); d != "" {
		t.Error(d)
	}
}

func TestLogsOfANode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes := &fakeNodes{out: map[string]string{"data-1": "line\n"}}
	w.deps.exec = nodes.exec
	r := w.run("logs", "data-1", "redis-1", "crond.timer", "-n", "5", "-f").want(t, 0)
	if r.out != "line\n" {
		t.Errorf("stdout %q", r.out)
	}
	want := []string{"local/data-1: journalctl --no-pager --quiet --output=short-iso --lines=5 --follow --unit=redis-1.service --unit=crond.timer"}
	if d := cmp.Diff(want, nodes.calls); d != "" {
		t.Error(d)
	}
}

func TestLogsOfAUnitOnAllNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes := &fakeNodes{
		out: map[string]string{"data-1": "one\ntwo\n", "data-3": "no line end"},
		err: map[string]error{"main-2": errors.New("node is not running")},
	}
	w.deps.exec = nodes.exec
	r := w.run("logs", "redis-1").want(t, 0, "warning: read the journal of main-2: node is not running")
	lines := strings.Split(strings.TrimRight(r.out, "\n"), "\n")
	slices.Sort(lines)
	if d := cmp.Diff([]string{"data-1   | one", "data-1   | two", "data-3   | no line end"}, lines); d != "" {
		t.Error(d)
	}
	if len(nodes.calls) != 8 {
		t.Errorf("%d nodes were asked", len(nodes.calls))
	}

	nodes.out, nodes.err = nil, nil
	w.run("logs", "redis-1").want(t, 1, `no node of stack "local" has a log of redis-1`, "next: devctl status")
}

func TestLogsComeInTheOrderOfNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	later := make(chan struct{})
	w.deps.exec = func(_ context.Context, _, node string, o localcloud.ExecOptions) (int, error) {
		switch node {
		case "data-1":
			<-later
		case "data-2":
			defer close(later)
		default:
			return 0, nil
		}
		_, _ = io.WriteString(o.Stdout, "line\n")
		return 0, nil
	}
	if r := w.run("logs", "redis-1").want(t, 0); r.out != "data-1   | line\ndata-2   | line\n" {
		t.Errorf("stdout:\n%s", r.out)
	}
}

func TestLogsOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deps.exec = (&fakeNodes{}).exec
	w.run("logs", "data-1", "redsi-1").want(t, 1, `error: data-1 has no log of redsi-1; did you mean "redis-1"?`, "next: devctl exec data-1 -- systemctl list-units shows its units")
	w.run("logs", "data-1", "haproxy").want(t, 1, "error: data-1 has no log of haproxy\n")
	w.run("logs", "data-1", "crond", "-n", "0").want(t, 0)
}

func TestRender(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run("render", "ignition", "--role", "main").want(t, 0)
	var config struct {
		Ignition struct{ Version string }
	}
	if err := json.Unmarshal([]byte(r.out), &config); err != nil || config.Ignition.Version == "" {
		t.Errorf("no Ignition config (%v):\n%s", err, r.out)
	}
	machine := w.run("render", "ignition", "--node", "main-1").want(t, 0)
	if both := w.run("render", "ignition", "--role", "main", "--node", "main-1").want(t, 0); both.out != machine.out {
		t.Error("the node's own role makes a difference")
	}
	if err := json.Unmarshal([]byte(machine.out), &config); err != nil {
		t.Errorf("no Ignition config: %v", err)
	}
	butane := w.run("render", "butane", "--node", "main-1").want(t, 0)
	for _, want := range []string{"==> main.bu <==", "==> main-secrets.bu <==", "<secret ca.key>", "<secret bootstrap-main.key>"} {
		if !strings.Contains(butane.out, want) {
			t.Errorf("the Butane configs lack %q", want)
		}
	}
	units := w.run("render", "units", "--role", "data").want(t, 0)
	for _, want := range []string{"==> data-1/devctl-agent.service <==", "==> data-3/redis-", "redis.conf <=="} {
		if !strings.Contains(units.out, want) {
			t.Errorf("the units lack %q", want)
		}
	}
	if strings.Contains(units.out, "main-1/") {
		t.Error("units of other roles are rendered too")
	}
	if again := w.run("render", "units", "--role", "data"); again.out != units.out {
		t.Error("rendering twice gives different bytes")
	}
}

func TestRenderIntoAFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "rendered")
	r := w.run("render", "units", "--node", "worker-1", "-o", dir).want(t, 0, "files written to "+dir)
	if r.out != "" {
		t.Errorf("stdout %q", r.out)
	}
	for _, name := range []string{"worker-1/devctl-agent.service", "worker-1/haproxy.service", "worker-1/etc/devctl/services/haproxy.service/haproxy.cfg"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || len(data) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("config", "check").want(t, 0, "the spec of stack local is valid: provider local, 8 nodes, endpoint 198.18.0.10:7010")
	bad := strings.Replace(strings.Replace(localSpec, "count: 3", "count: 4", 1), "shards", "shard", 1)
	w.deps.streams.In = strings.NewReader(bad)
	w.run("config", "check", "-").want(t, 2, "stdin:4:", "devctl:nodes.main.count", "odd", "stdin:7:", "shard", "nothing was touched", "next: devctl config schema")
	w.write("bad.yaml", bad)
	w.run("config", "check", filepath.Join(w.dir, "bad.yaml")).want(t, 2, "DIR/bad.yaml:4:")
	w.write("stacks/Pulumi.cloud.yaml", "config:\n  devctl:provider: aws\n")
	w.run("config", "check", filepath.Join(w.dir, "stacks/Pulumi.cloud.yaml")).want(t, 2, "DIR/stacks/Pulumi.cloud.yaml:1:1: devctl:aws: is missing")
	w.run("-s", "gamma", "config", "check").want(t, 2, "gamma", "local")
}

func TestConfigSchema(t *testing.T) {
	t.Parallel()
	r := newWorld(t).run("config", "schema").want(t, 0)
	var schema map[string]any
	if err := json.Unmarshal([]byte(r.out), &schema); err != nil || schema["$schema"] == nil {
		t.Errorf("no JSON Schema (%v): %s", err, r.out)
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	findings := []finding{ok("all there"), warn("5.0 GiB free", "free some space"), fail("no Docker engine answers", "systemctl start docker")}
	w.deps.checks = func() []check {
		var all []check
		for i, name := range []string{"binaries", "disk", "docker"} {
			all = append(all, check{name, func(context.Context) finding { return findings[i] }})
		}
		return all
	}
	golden(t, "doctor.txt", w.run("doctor").want(t, 1).out)
	var got []finding
	if err := json.Unmarshal([]byte(w.run("doctor", "-o", "json").want(t, 1).out), &got); err != nil || len(got) != 3 || got[2].Check != "docker" {
		t.Errorf("findings %+v, %v", got, err)
	}
	findings[2] = ok("Docker answers")
	w.run("doctor").want(t, 0)
}

// TestChecksOfACloud: of a stack on a cloud it is the credentials that count, and not what its machines would take of this one.
func TestChecksOfACloud(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onDigitalOcean()
	w.deps.global = globalOptions{stack: "prod", dir: w.dir}
	found := map[string]finding{}
	for _, c := range allChecks(w.deps) {
		if c.name == "spec" || c.name == "credentials" || c.name == "memory" {
			found[c.name] = c.run(t.Context())
		}
	}
	c := found["credentials"]
	if len(found) != 2 || c.Verdict != verdictFail || !strings.HasPrefix(c.Detail, "4 secrets are missing; ") || strings.Contains(c.Detail, "\n") {
		t.Errorf("found %+v", found)
	}
}

func TestSupervision(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.statuses = []api.Status{testStatus()}
	w.deps.global = globalOptions{stack: "local", dir: w.dir}
	spec, err := w.deps.spec()
	if err != nil {
		t.Fatal(err)
	}
	off := fmt.Errorf("%w: Docker is elsewhere", localcloud.ErrNoSocket)
	unknown := errors.New("create the supervisor: no space left")
	for _, tc := range []struct {
		err    error
		exists bool
		want   finding
		code   int
		said   string // by up
	}{
		{nil, true, ok("nodes of stack local that are lost are replaced"), 0, ""},
		{off, true, warn("self-healing of machines is off: Docker is elsewhere", "set DOCKER_HOST to the unix socket of a Docker engine on this machine, if machines shall come back by themselves"),
			0, "warning: self-healing of machines is off: Docker is elsewhere.\n"},
		{unknown, true, warn("create the supervisor: no space left: a node that is lost stays lost", w.deps.command("up")+" starts it"),
			1, "error: let the machines of stack \"local\" heal by themselves: create the supervisor: no space left\nnext: devctl up tries again\n"},
		{unknown, false, ok("stack local is not up"), 1, ""},
	} {
		w.env.exists, w.env.unsupervised = tc.exists, tc.err
		w.deps.supervised = func(context.Context, string) error { return tc.err }
		if got := checkSupervised(t.Context(), w.deps, spec); got != tc.want {
			t.Errorf("%v: doctor finds %+v, want %+v", tc.err, got, tc.want)
		}
		w.err.b.Reset()
		w.run("up", "--yes").want(t, tc.code, tc.said)
	}
}

func TestLeftoversAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("stacks/Pulumi.alpha.yaml", localSpec)
	w.env.leftover = []string{"container devctl-alpha-data-1", "network devctl-alpha", "container devctl-alpha-data-2"}
	w.deps.global = globalOptions{stack: "local", dir: w.dir}
	found := checkLeftovers(t.Context(), w.deps)
	if want := warn("stack alpha is in no state but has 2 containers, 1 network", "`devctl destroy -s alpha` removes them, unless another user or DEVCTL_HOME owns them"); found != want {
		t.Errorf("got %+v", found)
	}
	w.deps.list = func(context.Context) ([]engine.StackInfo, error) { return nil, errors.New("no engine") }
	if found := checkLeftovers(t.Context(), w.deps); found.Verdict != verdictWarn || strings.Contains(found.Fix, "destroy") {
		t.Errorf("without the state: got %+v", found)
	}
}

func TestDataFolderThatIsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("home", "a file")
	w.environ["DEVCTL_HOME"] = filepath.Join(w.dir, "home")
	w.deps.read = func(ctx context.Context, stack string) (map[string]engine.Output, error) {
		_, err := w.deps.engine(ctx, engine.Options{Stack: stack})
		return nil, err
	}
	w.run("status").want(t, 1, "error: use the data folder: DIR/home is no folder\nnext: remove it, or set DEVCTL_HOME to another folder")
}

func TestVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.health = map[string]api.Health{
		"198.18.0.11:9443": {Node: "main-1", Version: "0.1.0"},
		"198.18.0.12:9443": {Node: "main-2", Version: "0.1.0", Leader: true},
	}
	var v versionView
	if err := json.Unmarshal([]byte(w.run("version", "-o", "json").want(t, 0).out), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Controllers) != 3 || v.Devctl == "" || v.Engine == "" || v.Controllers[2].Error == "" {
		t.Errorf("version %+v", v)
	}
	w.env.outputs = nil
	if out := w.run("version").want(t, 0).out; strings.Contains(out, "controller") {
		t.Errorf("controllers of a stack that is not up:\n%s", out)
	}
}
