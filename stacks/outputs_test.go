package stacks

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/ignition"
	"devctl/internal/api"
)

// reachableCloud is a paperCloud whose nodes are reached at the addresses that the spec gives them.
type reachableCloud struct{ paperCloud }

func (c reachableCloud) NodeGroup(ctx *pulumi.Context, args components.NodeGroupArgs) (components.NodeGroup, error) {
	group, err := c.paperCloud.NodeGroup(ctx, args)
	for _, n := range args.Nodes {
		group.Addresses = append(group.Addresses, pulumi.String(n.Address))
	}
	return group, err
}

// TestOutputsOfTheProgram: the outputs say what every role's machines are made from, in the words of the machines.
func TestOutputsOfTheProgram(t *testing.T) {
	t.Parallel()
	spec, err := Parse("Pulumi.local.yaml", []byte(local), "local")
	if err != nil {
		t.Fatal(err)
	}
	made := make(chan *Outputs, 1)
	r := &recorder{dependencies: map[string][]string{}}
	program := Program(spec, reachableCloud{}, "localhost/devctl/etcd:1", func(o *Outputs) { made <- o })
	if err := pulumi.RunErr(program, pulumi.WithMocks("devctl", "local", r)); err != nil {
		t.Fatal(err)
	}
	out := <-made
	want := map[api.Role]string{}
	for _, role := range api.Roles() {
		config, err := ignition.Role(spec.RoleConfig(role, "localhost/devctl/etcd:1", components.Boot{}))
		if err != nil {
			t.Fatal(err)
		}
		want[role] = config.Hash
	}
	if d := cmp.Diff(want, out.Configs); d != "" {
		t.Errorf("configs (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"198.18.0.11:9443", "198.18.0.12:9443", "198.18.0.13:9443"}, out.Controllers); d != "" {
		t.Errorf("controllers (-want +got):\n%s", d)
	}
}
