package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/images"
	"devctl/internal/api"
	"devctl/internal/engine"
)

// planned is an event of a preview about a resource that changes.
func planned(op engine.Op, resourceType, name string, diff ...engine.PropertyChange) engine.Event {
	e := event(engine.KindPlanned, op, resourceType, name)
	e.Diff = diff
	return e
}

// shrunk is the preview of a stack that loses its last data node.
func shrunk() engine.Event {
	nodes := func(names ...string) []any {
		var all []any
		for _, name := range names {
			all = append(all, map[string]any{"name": name})
		}
		return all
	}
	e := planned(engine.OpUpdate, "local:NodeGroup", "data", engine.PropertyChange{Path: "nodes", Kind: engine.ChangeUpdate, Old: "4", New: "3"})
	e.Old, e.New = map[string]any{"nodes": nodes("data-1", "data-2", "data-3", "data-4")}, map[string]any{"nodes": nodes("data-1", "data-2", "data-3")}
	return e
}

func planBasis(config, secret string) engine.Basis {
	return engine.Basis{
		Key: "admin-key-secret", Secrets: map[string]string{"devctl-secrets:redis-app": secret, "digitalocean:token": "rotates"},
		Resources: []engine.BasisResource{{URN: "urn:data", Type: "devctl:local:NodeGroup", Name: "data", Properties: map[string]engine.Output{
			"config": {Value: config}, "secrets": {Value: "data-keys-secret", Secret: true},
		}}},
	}
}

// plannedWorld is a stack that is up, with a change to make.
func plannedWorld(t *testing.T) (w *world, file string) {
	t.Helper()
	w = newWorld(t)
	w.env.preview = []engine.Event{
		planned(engine.OpUpdate, "local:NodeGroup", "data", engine.PropertyChange{Path: "config", Kind: engine.ChangeUpdate, Old: "{}", New: "{1}"}),
		planned(engine.OpCreate, "pki:Password", "new", engine.PropertyChange{Path: "result", Kind: engine.ChangeAdd, New: "[unknown]"}),
		planned(engine.OpSame, "local:Network", "network"),
	}
	w.env.basis = planBasis("{}", "app-secret")
	w.cluster.statuses = []api.Status{testStatus()}
	return w, filepath.Join(w.dir, "plan.json")
}

func TestWhatWasApprovedRuns(t *testing.T) {
	t.Parallel()
	w, file := plannedWorld(t)
	w.run("preview", "--save-plan", file).want(t, 0, "The plan is in DIR/plan.json: devctl up --plan DIR/plan.json carries it out")
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v", info.Mode())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("-secret\"")) || bytes.Contains(data, []byte("app-secret")) || bytes.Contains(data, []byte("data-keys-secret")) {
		t.Errorf("a secret is in the plan:\n%s", data)
	}
	w.env.calls = nil
	w.run("up", "--plan", file).want(t, 0) // without a terminal, and without --yes
	if d := cmp.Diff([]string{"open", "preview", "up", "supervise"}, w.env.calls); d != "" {
		t.Error(d)
	}
}

func TestPlanThatIsNotWhatWouldRun(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*world)
		want   []string
	}{
		"spec": {func(w *world) {
			w.write("stacks/Pulumi.local.yaml", strings.Replace(localSpec, "data: {count: 3}", "data: {count: 4}", 1))
		}, []string{"spec: devctl:nodes.data.count was 3 in the plan, is 4\n"}},
		"program": {func(w *world) {
			set := testImages()
			set.Services[3].Ref = "localhost/devctl/redis:new"
			w.deps.images = func() (*images.Set, error) { return set, nil }
		}, []string{"program: image redis was localhost/devctl/redis:0123456789ab in the plan, is localhost/devctl/redis:new\n"}},
		"state":  {func(w *world) { w.env.basis = planBasis("{2}", "app-secret") }, []string{"state: data nodes: config changed since the plan was made\n"}},
		"secret": {func(w *world) { w.env.basis = planBasis("{}", "other-secret") }, []string{"secrets: redis-app has another value than in the plan\n"}},
		"a secret in the state": {func(w *world) {
			w.env.basis.Resources[0].Properties["secrets"] = engine.Output{Value: "new-keys-secret", Secret: true}
		}, []string{"state: data nodes: secrets changed since the plan was made\n"}},
		"drift": {func(w *world) {
			w.env.preview = append(w.env.preview, planned(engine.OpUpdate, "local:NodeGroup", "worker", engine.PropertyChange{Path: "machines"}))
		}, []string{"operations: would update worker nodes (machines), which is not in the plan\n"}},
		"a value": {func(w *world) { w.env.preview[0].Diff[0].New = "{3}" }, []string{"operations: update data nodes: config changes otherwise than in the plan\n"}},
		"deployment": {func(w *world) { w.cluster.assigned = w.cluster.assigned[1:] }, []string{
			"deployment: would put redis-1.service on data-1, which is not in the plan\n"}},
		"all of it": {func(w *world) {
			w.write("stacks/Pulumi.local.yaml", strings.Replace(localSpec, "shards: 3", "shards: 3, maxmemory: 96MiB", 1))
			w.env.basis = planBasis("{2}", "other-secret")
		}, []string{"spec: devctl:redis.maxmemory was \"64MiB\" in the plan, is \"96MiB\"\n", "state: data nodes", "secrets: redis-app", "deployment: would put redis-3.service on data-3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, file := plannedWorld(t)
			w.run("preview", "--save-plan", file).want(t, 0)
			tc.change(w)
			w.env.calls = nil
			w.run("up", "--plan", file, "--yes").want(t, 1, append(tc.want,
				"error: the plan is not what would be done now, nothing was touched:\n  ", "next: devctl preview --save-plan FILE makes a new plan")...)
			if slices.Contains(w.env.calls, "up") || len(w.cluster.deploys) > 0 {
				t.Error("something was touched")
			}
		})
	}
}

func TestPlanFilesThatAreNone(t *testing.T) {
	t.Parallel()
	w, file := plannedWorld(t)
	w.write("plan.json", `{"format": "devctl-plan", "version": 7}`)
	w.run("up", "--plan", file).want(t, 1, "error: nothing was touched: DIR/plan.json was made by a newer devctl: its version is 7", "next: devctl preview --save-plan FILE makes a plan")
	w.write("plan.json", "planned")
	w.run("up", "--plan", file).want(t, 1, "DIR/plan.json is no plan of devctl")
	w.run("up", "--plan", file+"x").want(t, 1, "read plan: open DIR/plan.jsonx: no such file or directory")
	if w.touched() {
		t.Errorf("touched: %v", w.env.calls)
	}
	w.run("preview", "--save-plan", filepath.Join(w.dir, "none", "plan.json")).want(t, 1, "write plan DIR/none/plan.json")
}

func TestGuard(t *testing.T) {
	t.Parallel()
	network := planned(engine.OpReplace, "local:Network", "network", engine.PropertyChange{Path: "cidr", Kind: engine.ChangeUpdate, Old: "a", New: "b", Replaces: true})
	droplet := func(name string) engine.Event {
		return planned(engine.OpReplace, "do:Droplet", name, engine.PropertyChange{Path: "userData", Replaces: true})
	}
	for name, tc := range map[string]struct {
		args   string
		events []engine.Event
		code   int
		want   []string
	}{
		"not named": {"up --yes", []engine.Event{shrunk(), network}, 1, []string{
			"error: this would take away what nobody can make again, nothing was touched:\n  network is replaced (cidr)\n  data-4 is deleted\n",
			"next: if that is meant, devctl up --allow-replace network,data-4\n"}},
		"one of two": {"up --yes --allow-replace data-4", []engine.Event{shrunk(), network}, 1, []string{
			"nothing was touched:\n  network is replaced (cidr)\n", "next: if that is meant, devctl up --allow-replace data-4,network\n"}},
		"behind a refresh": {"up --yes", []engine.Event{planned(engine.OpRefresh, "local:NodeGroup", "data"), shrunk()}, 1, []string{"\n  data-4 is deleted\n"}},
		"both":             {"up --yes --allow-replace data-4,network", []engine.Event{shrunk(), network}, 0, nil},
		"repeated":         {"up --yes --allow-replace data-4 --allow-replace network", []engine.Event{shrunk(), network}, 0, nil},
		"not needed":       {"up --yes --allow-replace main-2", nil, 0, nil},
		"unknown": {"up --yes --allow-replace dta-4", []engine.Event{shrunk()}, 2, []string{
			`--allow-replace does not take "dta-4": stack "local" has no such node; did you mean "data-4"? (use network, main-1, main-2, main-3, data-1, data-2, data-3, data-4)`}},
		"a worker": {"up --yes --allow-replace worker-1", nil, 2, []string{
			`--allow-replace does not take "worker-1": workers hold nothing that cannot be made again`}},
		"the quorum": {"up --yes --allow-replace main-4,main-5,main-6,main-7", []engine.Event{fewerMains()}, 1, []string{
			"error: 4 of 7 main nodes would go, and the others are no quorum: nothing was touched", "next: set nodes.main.count to 5 first"}},
		"a roll": {"up --yes", []engine.Event{planned(engine.OpUpdate, "local:NodeGroup", "main", engine.PropertyChange{Path: "config"})}, 0, nil},
		"droplets": {"up --yes", []engine.Event{droplet("main-1"), droplet("main-2")}, 1, []string{
			"  main-1 is replaced (userData)\n  main-2 is replaced (userData)\n",
			"next: if that is meant, one machine at a time: devctl up --allow-replace main-1; the others stay as they are until their turn\n"}},
		"two droplets at once": {"up --yes --allow-replace main-1,main-2", []engine.Event{droplet("main-1"), droplet("main-2")}, 1, []string{
			"error: main-1, main-2 would be replaced at the same time, nothing was touched", "next: devctl up --allow-replace main-1 replaces one"}},
		"one droplet":               {"up --yes --allow-replace main-1", []engine.Event{droplet("main-1")}, 0, nil},
		"a droplet and the network": {"up --yes", []engine.Event{droplet("main-1"), network}, 1, []string{"next: if that is meant, devctl up --allow-replace network,main-1\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.env.preview, w.cluster.statuses = tc.events, []api.Status{testStatus()}
			w.run(strings.Fields(tc.args)...).want(t, tc.code, tc.want...)
			if ran := slices.Contains(w.env.calls, "up"); ran != (tc.code == 0) {
				t.Errorf("ran: %v", ran)
			}
		})
	}
}

// fewerMains takes four of seven main nodes away.
func fewerMains() engine.Event {
	e := shrunk()
	e.Name = "main"
	list := func(count int) (all []any) {
		for i := range count {
			all = append(all, map[string]any{"name": fmt.Sprintf("main-%d", i+1)})
		}
		return all
	}
	e.Old, e.New = map[string]any{"nodes": list(7)}, map[string]any{"nodes": list(3)}
	return e
}

// TestDropletIsSpared: the engine replaces a machine without asking whether the others can do without it.
func TestDropletIsSpared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.preview = []engine.Event{planned(engine.OpReplace, "do:Droplet", "main-1", engine.PropertyChange{Path: "userData", Replaces: true})}
	lame := testStatus()
	lame.Etcd.Healthy = 2
	w.cluster.statuses = []api.Status{lame, lame, testStatus()}
	w.env.onRun = func(context.Context) {
		if slices.Contains(w.env.calls, "up") && len(w.cluster.statuses) > 1 {
			t.Error("main-1 was replaced while another main was away")
		}
	}
	w.run("up", "--yes", "--allow-replace", "main-1").want(t, 0)

	w = newWorld(t)
	w.env.preview = []engine.Event{planned(engine.OpReplace, "do:Droplet", "main-1", engine.PropertyChange{Path: "userData", Replaces: true})}
	w.cluster.failures = []error{os.ErrDeadlineExceeded}
	w.run("up", "--yes", "--allow-replace", "main-1").want(t, 1, "error: replace main-1, nothing was touched: ", "next: devctl status shows what is missing")
	if slices.Contains(w.env.calls, "up") {
		t.Error("main-1 was replaced without an answer")
	}
}

func TestGuardOnANewStack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.exists, w.cluster.statuses = false, []api.Status{testStatus()}
	w.run("up", "--yes", "--allow-replace", "data-9").want(t, 2, `--allow-replace does not take "data-9"`)
	w.env.calls = nil
	w.run("up", "--yes").want(t, 0)
	if d := cmp.Diff([]string{"open", "up", "supervise"}, w.env.calls); d != "" {
		t.Errorf("a new stack is looked at first: %s", d)
	}
}

// TestGuardOnATerminal shows the plan before it refuses, and does not ask.
func TestGuardOnATerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t).terminal("y")
	w.env.preview = []engine.Event{shrunk()}
	r := w.run("up").want(t, 1, "- data-4 is removed", "data-4 is deleted: up does this only with --allow-replace data-4", "nothing was touched")
	if strings.Contains(r.err, "[y/N]") {
		t.Errorf("asked:\n%s", r.err)
	}
}

func TestSavedPlanCarriesItsPermission(t *testing.T) {
	t.Parallel()
	w, file := plannedWorld(t)
	w.env.preview = []engine.Event{shrunk()}
	w.run("preview", "--save-plan", file).want(t, 1, "error: no plan was saved: this would take away", "next: if that is meant, devctl preview --save-plan DIR/plan.json --allow-replace data-4\n")
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("a plan was saved: %v", err)
	}
	w.run("preview", "--allow-replace", "data-4").want(t, 0)
	w.run("preview", "--save-plan", file, "--allow-replace", "data-4").want(t, 0)
	w.run("up", "--plan", file).want(t, 0)
	if d := cmp.Diff([]string{"data-4"}, w.env.allowed); d != "" {
		t.Errorf("the stack is opened with other names than the plan was made with: %s", d)
	}
}

func TestUpRefusesWhatTheControllersWouldRefuse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.preview = []engine.Event{shrunk()}
	for i := range w.cluster.assigned {
		if w.cluster.assigned[i].Shard == 2 {
			w.cluster.assigned[i].Node = "data-4" // every member of the shard
		}
	}
	w.run("up", "--yes", "--allow-replace", "data-4").want(t, 1, "the controllers would refuse the deployment, nothing was touched: Redis shard 2 would lose every member it has")
	if slices.Contains(w.env.calls, "up") {
		t.Error("machines were changed")
	}
}

// TestNodesThatGoAreDrainedFirst: before a data node's machine goes, the controllers have moved what it has.
func TestNodesThatGoAreDrainedFirst(t *testing.T) {
	t.Parallel()
	node := func(name string) api.Identity { return api.Identity{Stack: "local", Name: name, Role: api.RoleData} }
	had := &api.Deployment{Stack: "local", Redis: api.RedisSpec{MaxMemory: 42}, Nodes: []api.Identity{node("data-3"), node("data-4")}}

	t.Run("they have", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.env.preview, w.cluster.desired = []engine.Event{shrunk()}, had
		w.cluster.statuses = []api.Status{testStatus()}
		w.run("up", "--yes", "--allow-replace", "data-4").want(t, 0, "Moved what Redis had on data-4 to the others")
		if len(w.cluster.deploys) != 2 {
			t.Fatalf("%d deployments, want one before the machine goes and one after", len(w.cluster.deploys))
		}
		want := api.DeployRequest{Deployment: api.Deployment{Stack: "local", Redis: had.Redis, Nodes: had.Nodes[:1]}}
		if d := cmp.Diff(want, w.cluster.deploys[0]); d != "" {
			t.Errorf("the first is more than what runs without the node (-want +got):\n%s", d)
		}
	})
	t.Run("they refuse", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.env.preview, w.cluster.desired = []engine.Event{shrunk()}, had
		w.cluster.refuse = &api.Error{Status: 409, Message: "the deployment is refused: Redis shard 2 would lose every member it has"}
		w.run("up", "--yes", "--allow-replace", "data-4").want(t, 1,
			"move what Redis has on data-4 to the others, no machine was touched", "Redis shard 2 would lose every member it has", "next: devctl status")
		if slices.Contains(w.env.calls, "up") {
			t.Error("machines were changed")
		}
	})
}

func TestDeployPreview(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if r := w.run("deploy", "--preview").want(t, 0); r.out != "No changes: the nodes of stack local have to run what the spec deploys.\n" {
		t.Errorf("stdout:\n%s", r.out)
	}
	w.write("stacks/Pulumi.local.yaml", strings.Replace(localSpec, "shards: 3", "shards: 3, maxmemory: 96MiB", 1))
	golden(t, "deploy-preview.txt", w.run("deploy", "--preview").want(t, 0).out)
	r := w.run("deploy", "--preview", "-o", "markdown").want(t, 0)
	if !strings.Contains(r.out, "| **deployment** |") {
		t.Errorf("stdout:\n%s", r.out)
	}
	w.write("stacks/Pulumi.local.yaml", strings.NewReplacer("shards: 3", "shards: 4", "data: {count: 3}", "data: {count: 4}").Replace(localSpec))
	w.run("deploy", "--preview").want(t, 1, "the controllers would refuse the deployment, nothing was touched: the number of Redis shards cannot change from 3 to 4")
	w.cluster.deaf = os.ErrDeadlineExceeded
	w.run("deploy", "--preview").want(t, 1, `what runs on stack "local" is not known: the controllers do not answer`, "next: devctl status")
	w.run("deploy", "-o", "json").want(t, 2, "--output is the format of a preview: give --preview too")
	if len(w.cluster.deploys) > 0 || len(w.env.calls) > 0 {
		t.Error("something was touched")
	}
}

func TestPreviewOfTheDeployment(t *testing.T) {
	t.Parallel()
	spec := strings.Replace(localSpec, "shards: 3", "shards: 3, maxmemory: 96MiB", 1)
	for name, tc := range map[string]struct {
		change func(*world)
		want   []string
	}{
		"nothing": {func(*world) {}, []string{"No changes"}},
		"a change": {func(w *world) { w.write("stacks/Pulumi.local.yaml", spec) }, []string{
			"deployment\n", "~ file /etc/devctl/services/redis-1", "- maxmemory 67108864\n", "+ maxmemory 100663296\n", "Stack local: the deployment changes"}},
		"not up": {func(w *world) { w.env.outputs = nil }, []string{"deployment\n", "  + start haproxy, keepalived on worker-1, worker-2; redis-1 on data-1, data-2;"}},
		"no answer": {func(w *world) { w.cluster.deaf = os.ErrDeadlineExceeded }, []string{
			"What the deployment changes on the nodes: the controllers do not answer."}},
		"an older controller": {func(w *world) { w.cluster.deaf = &api.Error{Status: 404, Message: "there is no /v1/assignments"} }, []string{
			"What the deployment changes on the nodes: the controllers are of an older devctl"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.change(w)
			r := w.run("preview").want(t, 0)
			sentences := strings.Join(strings.Fields(r.out), " ") // which may be broken anywhere
			for _, text := range tc.want {
				if !strings.Contains(r.out, text) && !strings.Contains(sentences, text) {
					t.Errorf("preview does not say %q:\n%s", text, r.out)
				}
			}
			for _, secret := range testOutputs().Secrets {
				if strings.Contains(r.out, secret) {
					t.Errorf("the preview shows %q", secret)
				}
			}
			var plan struct{ Groups []struct{ Name string } }
			if err := json.Unmarshal([]byte(w.run("preview", "-o", "json").want(t, 0).out), &plan); err != nil {
				t.Error(err)
			}
		})
	}
}
