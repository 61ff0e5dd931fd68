package stacks

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/internal/api"
)

// recorder stands in for the engine and remembers what every resource depends on.
type recorder struct {
	mu           sync.Mutex
	dependencies map[string][]string // names by name, sorted
	given        map[string]string   // passwords by name, as inputs
}

func (r *recorder) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := []string{}
	for _, urn := range args.RegisterRPC.GetDependencies() {
		names = append(names, urn[strings.LastIndex(urn, ":")+1:])
	}
	slices.Sort(names)
	r.dependencies[args.Name] = names
	if value, found := args.Inputs["value"]; found && value.IsSecret() && r.given != nil {
		r.given[args.Name] = value.SecretValue().Element.StringValue()
	}
	text := resource.NewStringProperty
	certs := resource.PropertyMap{}
	for _, role := range api.Roles() {
		certs[resource.PropertyKey(role)] = text("PEM")
	}
	return args.Name, resource.PropertyMap{
		"caCert": text("PEM"), "caKey": text("PEM"), "adminCert": text("PEM"), "adminKey": text("PEM"),
		"bootstrapCerts": resource.NewObjectProperty(certs), "bootstrapKeys": resource.NewObjectProperty(certs),
		"result": text("password"),
	}, nil
}

func (r *recorder) Call(pulumi.MockCallArgs) (resource.PropertyMap, error) { return nil, nil }

// paperCloud registers node groups and nothing else.
type paperCloud struct{}

func (paperCloud) Boot() components.Boot { return components.Boot{} }

func (paperCloud) Network(*pulumi.Context, components.NetworkArgs) (components.Network, error) {
	return components.Network{ID: pulumi.String("network").ToStringOutput()}, nil
}

func (paperCloud) Artifacts(*pulumi.Context, components.ArtifactsArgs) (components.Artifacts, error) {
	return components.Artifacts{}, nil
}

func (paperCloud) Endpoint(_ *pulumi.Context, args components.EndpointArgs) (components.Endpoint, error) {
	return components.Endpoint{Address: pulumi.String(args.Address).ToStringOutput()}, nil
}

func (paperCloud) NodeGroup(ctx *pulumi.Context, args components.NodeGroupArgs) (components.NodeGroup, error) {
	var group struct{ pulumi.CustomResourceState }
	inputs := pulumi.Map{"config": pulumi.String(args.Config), "secrets": args.Secrets}
	err := ctx.RegisterResource("test:NodeGroup", string(args.Role), inputs, &group, pulumi.DependsOn(args.DependsOn))
	return components.NodeGroup{}, err
}

// TestSecretsOutliveMachines: the engine destroys in the reverse order of dependencies, and a destroy may end half-way.
func TestSecretsOutliveMachines(t *testing.T) {
	t.Parallel()
	spec, err := Parse("Pulumi.local.yaml", []byte(local), "local")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{dependencies: map[string][]string{}}
	if err := pulumi.RunErr(Program(spec, paperCloud{}, "localhost/devctl/etcd:1", nil), pulumi.WithMocks("devctl", "local", r)); err != nil {
		t.Fatal(err)
	}
	secrets := append(secretNames(), "authority")
	slices.Sort(secrets)
	want := map[string][]string{"main": secrets, "worker": secrets, "data": secrets}
	for _, name := range secrets {
		want[name] = []string{}
	}
	if diff := cmp.Diff(want, r.dependencies); diff != "" {
		t.Errorf("dependencies (-want +got):\n%s", diff)
	}
}

// TestImportedPasswords: what is in Pulumi's configuration comes before what would be drawn.
func TestImportedPasswords(t *testing.T) {
	t.Parallel()
	spec, err := Parse("Pulumi.local.yaml", []byte(local), "local")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{dependencies: map[string][]string{}, given: map[string]string{}}
	configured := func(info *pulumi.RunInfo) {
		info.Config = map[string]string{SecretNamespace + ":redis-app": "s3cret-s3cret-s3cret", "elsewhere:redis-check": "no"}
	}
	program := Program(spec, paperCloud{}, "localhost/devctl/etcd:1", nil)
	if err := pulumi.RunErr(program, pulumi.WithMocks("devctl", "local", r), configured); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"redis-app": "s3cret-s3cret-s3cret"}, r.given); diff != "" {
		t.Errorf("given passwords (-want +got):\n%s", diff)
	}
}
