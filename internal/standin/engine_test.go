package standin_test

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/internal/engine"
	"devctl/internal/standin"
)

// settings vary the program.
type settings struct {
	cidr, image, size, badInput string
	password                    string
	tag                         string
	maxSize                     int
	template                    string
}

func defaults() settings {
	return settings{cidr: "10.0.0.0/16", image: "fedora-coreos-42.1-x86_64", size: "t3.small", password: "correct-horse", tag: "one", maxSize: 3, template: "main"}
}

// program is a network with a group of machines, like a stack's but small. The resources are registered by their names and
// not by the provider's SDK, which takes minutes to compile.
func program(s settings) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		register := func(token, name string, in pulumi.Map, r pulumi.CustomResource) error {
			return ctx.RegisterResource(token, name, in, r)
		}
		var vpc, subnet, group pulumi.CustomResourceState
		var template launchTemplate
		var found struct {
			ID string `pulumi:"id"`
		}
		filter := map[string]any{"name": "name", "values": []any{s.image}}
		if err := ctx.Invoke("aws:ec2/getAmi:getAmi", map[string]any{"filters": []any{filter}, "owners": []any{"1"}}, &found); err != nil {
			return err
		}
		if err := register("aws:ec2/vpc:Vpc", "net", pulumi.Map{"cidrBlock": pulumi.String(s.cidr), "tags": pulumi.StringMap{"devctl:stack": pulumi.String(s.tag)}}, &vpc); err != nil {
			return err
		}
		if err := register("aws:ec2/subnet:Subnet", "a", pulumi.Map{"cidrBlock": pulumi.String(s.cidr), "vpcId": vpc.ID()}, &subnet); err != nil {
			return err
		}
		in := pulumi.Map{"name": pulumi.String(s.template), "imageId": pulumi.String(found.ID), "instanceType": pulumi.String(s.size),
			"userData": pulumi.ToSecret(pulumi.String(s.password)), "tags": pulumi.StringMap{"devctl:stack": pulumi.String(s.tag)}}
		if s.badInput != "" {
			in[s.badInput] = pulumi.ToSecret(pulumi.String(s.password))
		}
		if err := register("aws:ec2/launchTemplate:LaunchTemplate", "main", in, &template); err != nil {
			return err
		}
		ctx.Export("ami", pulumi.String(found.ID))
		return register("aws:autoscaling/group:Group", "main", pulumi.Map{
			"name": pulumi.String("main"), "minSize": pulumi.Int(1), "maxSize": pulumi.Int(s.maxSize), "vpcZoneIdentifiers": pulumi.Array{subnet.ID()},
			"launchTemplate": pulumi.Map{"id": template.ID(), "version": pulumi.Sprintf("%d", template.LatestVersion)},
		}, &group)
	}
}

type launchTemplate struct {
	pulumi.CustomResourceState
	LatestVersion pulumi.IntOutput `pulumi:"latestVersion"`
}

// generatedID is an id of the world's.
var generatedID = regexp.MustCompile(`^[a-z]+-[0-9a-f]{17}$`)

// bench is one stack over one world.
type bench struct {
	t       *testing.T
	world   *standin.World
	options engine.Options
}

func newBench(t *testing.T, world *standin.World, known map[string]string) (*bench, *standin.Served) {
	t.Helper()
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served, err := standin.Serve(ctx, standin.Options{Packages: []string{"aws", "digitalocean"}, World: world, Known: known})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		served.Wait()
	})
	return &bench{t: t, world: world, options: engine.Options{Project: "test", Stack: "alpha", Home: t.TempDir(), BinDir: bin, Providers: served.Ports}}, served
}

// run runs the stack with the settings: preview, up, refresh or destroy. It returns what was planned or done, and the texts
// of events.
func (b *bench) run(s settings, what func(*engine.Stack) func(context.Context, func(engine.Event)) (engine.Summary, error)) (ops []string, said string, err error) {
	b.t.Helper()
	o := b.options
	o.Program = program(s)
	stack, err := engine.Open(b.t.Context(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	var all []string
	_, err = what(stack)(b.t.Context(), func(e engine.Event) {
		all = append(all, e.Message)
		if (e.Kind == engine.KindPlanned || e.Kind == engine.KindStarted) && e.Op != engine.OpSame && e.Op != engine.OpRefresh {
			line := string(e.Op) + " " + e.Type[strings.LastIndex(e.Type, ":")+1:]
			for _, d := range e.Diff {
				if e.Op != engine.OpCreate && e.Op != engine.OpDelete {
					line += " " + d.Path + "=" + generatedID.ReplaceAllString(d.New, "ID")
				}
			}
			ops = append(ops, line)
		}
	})
	slices.Sort(ops)
	return ops, strings.Join(all, "\n"), err
}

func preview(s *engine.Stack) func(context.Context, func(engine.Event)) (engine.Summary, error) {
	return s.Preview
}

func up(s *engine.Stack) func(context.Context, func(engine.Event)) (engine.Summary, error) {
	return s.Up
}

func refresh(s *engine.Stack) func(context.Context, func(engine.Event)) (engine.Summary, error) {
	return s.Refresh
}

func destroy(s *engine.Stack) func(context.Context, func(engine.Event)) (engine.Summary, error) {
	return s.Destroy
}

// must runs, and wants exactly these operations.
func (b *bench) must(name string, s settings, what func(*engine.Stack) func(context.Context, func(engine.Event)) (engine.Summary, error), want ...string) {
	b.t.Helper()
	got, _, err := b.run(s, what)
	if err != nil {
		b.t.Fatalf("%s: %v", name, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func (b *bench) names() []string {
	var names []string
	for _, t := range b.world.Things() {
		names = append(names, t.Type[strings.LastIndex(t.Type, ":")+1:]+" "+t.ID)
	}
	return names
}

// TestLife takes a stack through a life in a world.
func TestLife(t *testing.T) {
	t.Parallel()
	b, _ := newBench(t, standin.NewWorld(), map[string]string{"fedora-coreos-42.1-x86_64": "ami-1", "fedora-coreos-43.1-x86_64": "ami-2"})
	s := defaults()
	b.must("first preview", s, preview, "create Group", "create LaunchTemplate", "create Subnet", "create Vpc")
	if got := b.names(); got != nil {
		t.Errorf("a preview made %v", got)
	}

	b.world.Fail("create", "aws:autoscaling/group:Group", 1, "You have requested more machines than your quota")
	_, _, err := b.run(s, up)
	if err == nil || !strings.Contains(err.Error(), "You have requested more machines than your quota") {
		t.Errorf("up without a quota: %v", err)
	}
	b.must("up again", s, up, "create Group")
	b.must("up with no changes", s, up)
	first := b.names()

	s.size = "t3.large"
	b.must("another size", s, preview, "update Group launchTemplate.version=[unknown]", "update LaunchTemplate instanceType=t3.large")
	s.tag = "two"
	b.must("another size and tag", s, up, "update Group launchTemplate.version=2", "update LaunchTemplate instanceType=t3.large tags[\"devctl:stack\"]=two", "update Vpc tags[\"devctl:stack\"]=two")
	s.tag = "three"
	b.must("a tag only", s, preview, "update LaunchTemplate tags[\"devctl:stack\"]=three", "update Vpc tags[\"devctl:stack\"]=three")
	s.tag, s.password = "two", "battery-staple"
	b.must("another secret", s, up, "update Group launchTemplate.version=3", "update LaunchTemplate userData=[secret]")
	s.image = "fedora-coreos-43.1-x86_64"
	b.must("another image", s, preview, "update Group launchTemplate.version=[unknown]", "update LaunchTemplate imageId=ami-2")
	s.image, s.template = "fedora-coreos-42.1-x86_64", "renamed"
	b.must("what replaces", s, preview, "replace LaunchTemplate name=renamed", "update Group launchTemplate.id=[unknown] launchTemplate.version=[unknown]")
	s.template = "main"
	if diff := cmp.Diff(first, b.names()); diff != "" {
		t.Errorf("changes in place changed ids (-before +after):\n%s", diff)
	}

	if !b.world.Lose("aws:ec2/launchTemplate:LaunchTemplate", "main") || !b.world.Change("aws:autoscaling/group:Group", "main", "maxSize", property.New(9.0)) {
		t.Fatal("there is nothing to lose")
	}
	_, _, err = b.run(s, refresh)
	if err != nil {
		t.Fatal(err)
	}
	b.must("up after a loss", s, up, "create LaunchTemplate", "update Group launchTemplate.id=ID launchTemplate.version=1 maxSize=3")

	s.cidr = "10.1.0.0/16"
	b.must("another network", s, preview, "replace Subnet cidrBlock=10.1.0.0/16 vpcId=[unknown]", "replace Vpc cidrBlock=10.1.0.0/16", "update Group vpcZoneIdentifiers[0]=[unknown]")
	if _, _, err := b.run(s, up); err != nil {
		t.Error(err)
	}
	b.must("the same network", s, up)
	b.must("destroy", s, destroy, "delete Group", "delete LaunchTemplate", "delete Subnet", "delete Vpc")
	if got := b.names(); got != nil {
		t.Errorf("destroy left %v", got)
	}
}

// TestWithoutWorld previews as without a cloud: over what a state says.
func TestWithoutWorld(t *testing.T) {
	t.Parallel()
	b, _ := newBench(t, standin.NewWorld(), map[string]string{"fedora-coreos-42.1-x86_64": "ami-1"})
	s := defaults()
	if _, _, err := b.run(s, up); err != nil {
		t.Fatal(err)
	}

	offline, served := newBench(t, nil, map[string]string{"fedora-coreos-42.1-x86_64": "ami-1"})
	offline.options.Home = b.options.Home
	offline.must("nothing new", s, preview)
	if got := served.Unknown(); got != nil {
		t.Errorf("unknown are %q", got)
	}
	offline.must("refresh takes the state's word", s, refresh)

	s.image = "fedora-coreos-43.1-x86_64"
	offline.must("an image nobody knows", s, preview, "update Group launchTemplate.version=[unknown]",
		"update LaunchTemplate imageId="+standin.Placeholder("fedora-coreos-43.1-x86_64"))
	if got := served.Unknown(); !slices.Equal(got, []string{"fedora-coreos-43.1-x86_64"}) {
		t.Errorf("unknown are %q", got)
	}
	_, _, err := offline.run(s, up)
	if err == nil || !strings.Contains(err.Error(), "update aws:ec2/launchTemplate:LaunchTemplate main: the stand-in for pulumi-aws only previews") {
		t.Errorf("up without a world: %v", err)
	}
	if got := len(b.world.Calls()); got != 4 {
		t.Errorf("the world was called %d times", got)
	}
}

// TestRefusals: what is wrong is said, and secrets are not.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b, _ := newBench(t, nil, nil)
	s := defaults()
	s.badInput = "imageID"
	_, said, err := b.run(s, preview)
	if err == nil || !strings.Contains(err.Error()+said, "imageID: unknown; valid are ") {
		t.Fatalf("an unknown input: %v\n%s", err, said)
	}
	if strings.Contains(err.Error()+said, s.password) {
		t.Errorf("a secret is in %v\n%s", err, said)
	}

	o := b.options
	o.Program = func(ctx *pulumi.Context) error {
		return ctx.Invoke("aws:index/getCallerIdentity:getCallerIdentity", map[string]any{}, &struct{}{})
	}
	stack, err := engine.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = stack.Preview(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "the stand-in for pulumi-aws cannot answer aws:index/getCallerIdentity:getCallerIdentity") {
		t.Errorf("a lookup nobody can answer: %v", err)
	}
	if _, err := standin.Serve(t.Context(), standin.Options{Packages: []string{"gcp"}}); err == nil || err.Error() != `there is no stand-in for the provider "gcp", only for aws, digitalocean` {
		t.Errorf("got error %v", err)
	}
}

// TestDoubts: what the schema is too old to know is a warning, for the cloud may know it.
func TestDoubts(t *testing.T) {
	t.Parallel()
	b, _ := newBench(t, nil, nil)
	o := b.options
	o.Program = func(ctx *pulumi.Context) error {
		var droplet pulumi.CustomResourceState
		return ctx.RegisterResource("digitalocean:index/droplet:Droplet", "a", pulumi.Map{
			"image": pulumi.String("1"), "size": pulumi.String("s-1vcpu-1gb"), "region": pulumi.String("mars1"),
		}, &droplet)
	}
	stack, err := engine.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var warnings []string
	_, err = stack.Preview(t.Context(), func(e engine.Event) {
		if e.Kind == engine.KindDiagnostic && e.Severity == engine.SeverityWarning {
			warnings = append(warnings, e.Message)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(warnings, func(w string) bool {
		return strings.HasPrefix(w, `region: "mars1" is not among the values known here: nyc1, `)
	}) {
		t.Errorf("the warnings are %q", warnings)
	}
}
