package provider_test

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/components/local"
	"devctl/images"
	"devctl/internal/api"
	"devctl/internal/engine"
	"devctl/internal/localcloud"
	"devctl/internal/localcloud/localcloudtest"
	"devctl/internal/provider"
)

// These tests run the real Pulumi engine (bin/pulumi) over the real provider and a real Docker engine.

const (
	stack  = "lctest-gamma"
	config = `{"ignition":{"version":"3.3.0"},"systemd":{"units":[{"name":"devctl-agent.service","enabled":true,"contents":` +
		`"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/local/bin/devctld\n[Install]\nWantedBy=multi-user.target\n"}]}}`
	secret = "correct-horse-battery-staple"
)

// program is a small stack: everything but mains.
func program(set *images.Set, prefix, config string, nodes int) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		authority, err := components.NewAuthority(ctx, stack)
		if err != nil {
			return err
		}
		password, err := components.NewPassword(ctx, "redis-app", nil)
		if err != nil {
			return err
		}
		cloud := local.New(set)
		network, err := cloud.Network(ctx, components.NetworkArgs{Stack: stack, CIDR: prefix + ".0/24"})
		if err != nil {
			return err
		}
		artifacts, err := cloud.Artifacts(ctx, components.ArtifactsArgs{Stack: stack})
		if err != nil {
			return err
		}
		args := components.NodeGroupArgs{
			Stack: stack, Role: api.RoleData, Network: network, Artifacts: artifacts, Config: config,
			Secrets: authority.CAKey.ApplyT(func(string) string {
				return `{"ignition":{"version":"3.3.0"},"storage":{"files":[{"path":"/etc/devctl/secret","contents":{"source":"data:,` + secret + `"}}]}}`
			}).(pulumi.StringOutput),
		}
		for i := range nodes {
			args.Nodes = append(args.Nodes, api.Identity{
				Stack: stack, Name: fmt.Sprintf("data-%d", i+1), Role: api.RoleData, Zone: "a", Address: fmt.Sprintf("%s.%d", prefix, 101+i),
			})
		}
		if _, err = cloud.NodeGroup(ctx, args); err != nil {
			return err
		}
		ctx.Export("caCert", authority.CACert)
		ctx.Export("password", password.Result)
		return nil
	}
}

// life is a stack over time: the same state, one program after another.
type life struct {
	t       *testing.T
	cloud   *localcloud.Cloud
	options engine.Options
}

func begin(t *testing.T) (*life, *images.Set) {
	t.Helper()
	cloud, err := localcloud.Connect()
	if err != nil {
		t.Fatal(err)
	}
	clean := func() {
		ctx := context.Background()
		if err := cloud.RemoveGroup(ctx, stack, api.RoleData, func(string) {}); err != nil {
			t.Fatalf("these tests need a Docker engine: %v", err)
		}
		if err := cloud.RemoveNetwork(ctx, stack); err != nil {
			t.Error(err)
		}
	}
	clean()
	t.Cleanup(clean)
	set, err := localcloudtest.Set()
	if err != nil {
		t.Fatal(err)
	}
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	l := &life{t: t, cloud: cloud, options: engine.Options{
		Project: "test", Stack: stack, Home: t.TempDir(), BinDir: bin, Refresh: true,
	}}
	l.serve(t.Context(), set)
	return l, set
}

// serve makes the stack's runs use a provider that lives as long as ctx.
func (l *life) serve(ctx context.Context, set *images.Set) (done <-chan struct{}) {
	l.t.Helper()
	port, done, err := provider.Serve(ctx, provider.Options{Cloud: l.cloud, Images: set})
	if err != nil {
		l.t.Fatal(err)
	}
	l.options.Providers = map[string]int{provider.Name: port}
	return done
}

// run opens the stack with a program, runs a method of it and returns what changed and what was said.
func (l *life) run(program pulumi.RunFunc, method func(*engine.Stack) func(context.Context, func(engine.Event)) (engine.Summary, error)) (map[engine.Op]int, []engine.Event) {
	l.t.Helper()
	o := l.options
	o.Program = program
	s, err := engine.Open(l.t.Context(), o)
	if err != nil {
		l.t.Fatal(err)
	}
	var events []engine.Event
	summary, err := method(s)(l.t.Context(), func(e engine.Event) { events = append(events, e) })
	if err != nil {
		for _, e := range events {
			l.t.Log(e)
		}
		l.t.Fatal(err)
	}
	l.t.Logf("%s: %v in %s", summary.Op, summary.Changes, summary.Duration)
	delete(summary.Changes, engine.OpRefresh)
	return summary.Changes, events
}

// up wants these changes; nil are any.
func (l *life) up(program pulumi.RunFunc, want map[engine.Op]int) []engine.Event {
	l.t.Helper()
	got, events := l.run(program, func(s *engine.Stack) func(context.Context, func(engine.Event)) (engine.Summary, error) { return s.Up })
	if diff := cmp.Diff(want, got); want != nil && diff != "" {
		l.t.Errorf("changes of up (-want +got):\n%s", diff)
	}
	return events
}

// ids are the containers of the stack's nodes, by name.
func (l *life) ids() map[string]string {
	l.t.Helper()
	nodes, err := l.cloud.Nodes(l.t.Context(), stack, "")
	if err != nil {
		l.t.Fatal(err)
	}
	m := map[string]string{}
	for _, n := range nodes {
		m[n.Name] = n.ID
	}
	return m
}

func TestLifeOfALocalStack(t *testing.T) {
	l, set := begin(t)
	one := program(set, "198.18.242", config, 1)

	if got, _ := l.run(one, func(s *engine.Stack) func(context.Context, func(engine.Event)) (engine.Summary, error) {
		return s.Preview
	}); got[engine.OpCreate] != 5 {
		t.Errorf("the first preview would change %v, want 5 creates", got)
	}
	if got := l.ids(); len(got) != 0 {
		t.Fatalf("a preview made nodes %v", got)
	}
	l.up(one, map[engine.Op]int{engine.OpCreate: 5})
	before := l.ids()
	if want := []string{"data-1"}; !cmp.Equal(slices.Sorted(maps.Keys(before)), want) {
		t.Fatalf("nodes are %v, want %v", before, want)
	}

	l.up(one, map[engine.Op]int{engine.OpSame: 5})
	if diff := cmp.Diff(before, l.ids()); diff != "" {
		t.Errorf("an up without changes replaced nodes:\n%s", diff)
	}

	// Behind our back.
	if out, err := exec.Command("docker", "rm", "-f", before["data-1"]).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	events := l.up(one, map[engine.Op]int{engine.OpSame: 4, engine.OpCreate: 1})
	said := func(prefix string) bool {
		return slices.ContainsFunc(events, func(e engine.Event) bool { return strings.Contains(e.Message, prefix) })
	}
	if !said("data-1: ready in ") {
		t.Error("nobody said that data-1 is ready")
	}
	repaired := l.ids()

	two := program(set, "198.18.242", config, 2)
	l.up(two, map[engine.Op]int{engine.OpSame: 4, engine.OpUpdate: 1})
	if got := l.ids(); len(got) != 2 || got["data-1"] != repaired["data-1"] {
		t.Errorf("growing from %v gave %v", repaired, got)
	}
	if out, err := exec.Command("docker", "kill", l.ids()["data-2"]).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l.up(two, map[engine.Op]int{engine.OpSame: 4, engine.OpUpdate: 1})

	changed := strings.Replace(config, "RemainAfterExit=yes", `Environment=NEW=1\nRemainAfterExit=yes`, 1)
	grown := l.ids()
	events = l.up(program(set, "198.18.242", changed, 2), map[engine.Op]int{engine.OpSame: 4, engine.OpUpdate: 1})
	for name, id := range l.ids() {
		if grown[name] == id {
			t.Errorf("a changed config left %s as it was", name)
		}
	}
	if !slices.ContainsFunc(events, func(e engine.Event) bool { return strings.Contains(fmt.Sprint(e.Diff), "NEW=1") }) {
		t.Error("the difference of the config cannot be read")
	}

	// Other addresses: the network cannot change, and everything in it has to go first.
	moved, _ := l.run(program(set, "198.18.243", changed, 2), func(s *engine.Stack) func(context.Context, func(engine.Event)) (engine.Summary, error) { return s.Up })
	if moved[engine.OpReplace] != 2 {
		t.Errorf("moving to other addresses changed %v, want 2 replaced", moved)
	}
	if len(l.ids()) != 2 {
		t.Errorf("after the move there are %v", l.ids())
	}

	l.run(nil, func(s *engine.Stack) func(context.Context, func(engine.Event)) (engine.Summary, error) {
		return s.Destroy
	})
	if left, err := localcloud.Leftovers(t.Context(), stack); err != nil || len(left) > 0 {
		t.Errorf("destroy left %v, %v", left, err)
	}
}

func TestFailedNodeIsKeptAndGoneOnWith(t *testing.T) {
	l, set := begin(t)
	broken := strings.Replace(config, "ExecStart=/usr/local/bin/devctld", "ExecStart=/bin/sh -c 'echo the reason why; exit 1'", 1)
	o := l.options
	o.Program = program(set, "198.18.242", broken, 1)
	s, err := engine.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Up(t.Context(), func(engine.Event) {})
	for _, want := range []string{"boot node data-1: its unit devctl-agent.service is failed", "the reason why"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q in it", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), secret) {
		t.Errorf("the error holds a secret: %v", err)
	}
	l.up(program(set, "198.18.242", config, 1), map[engine.Op]int{engine.OpSame: 4, engine.OpUpdate: 1})
}
