package local

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/images"
	"devctl/internal/api"
)

// recorder stands in for the engine and remembers what was registered.
type recorder struct {
	mu         sync.Mutex
	registered map[string]map[string]any
}

func (r *recorder) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	inputs := args.Inputs.Copy()
	if secret, there := inputs["secrets"]; there {
		inputs["secrets"] = resource.NewBoolProperty(secret.IsSecret())
	}
	r.registered[args.TypeToken+" "+args.Name] = inputs.Mappable()
	outputs := args.Inputs.Copy()
	outputs["name"] = resource.NewStringProperty("the-network")
	return args.Name + "-id", outputs, nil
}

func (r *recorder) Call(pulumi.MockCallArgs) (resource.PropertyMap, error) { return nil, nil }

func TestRegistersWhatTheProviderTakes(t *testing.T) {
	t.Parallel()
	r := &recorder{registered: map[string]map[string]any{}}
	set := &images.Set{
		Node:     images.Image{Ref: "localhost/devctl/node:1"},
		Services: []images.Image{{Ref: "localhost/devctl/etcd:2"}, {Ref: "localhost/devctl/redis:3"}},
		Store:    "devctl-artifacts-4",
	}
	err := pulumi.RunErr(func(ctx *pulumi.Context) error {
		cloud := New(set)
		network, err := cloud.Network(ctx, components.NetworkArgs{Stack: "alpha", CIDR: "198.18.0.0/24", Zones: []components.Zone{{Name: "a"}, {Name: "b"}}})
		if err != nil {
			return err
		}
		artifacts, err := cloud.Artifacts(ctx, components.ArtifactsArgs{Stack: "alpha"})
		if err != nil {
			return err
		}
		_, err = cloud.NodeGroup(ctx, components.NodeGroupArgs{
			Stack: "alpha", Role: api.RoleMain, Network: network, Artifacts: artifacts,
			Nodes:   []api.Identity{{Stack: "alpha", Name: "main-1", Role: api.RoleMain, Zone: "a", Address: "198.18.0.11"}},
			Config:  "public",
			Secrets: pulumi.String("secret").ToStringOutput(),
		})
		return err
	}, pulumi.WithMocks("devctl", "alpha", r))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]any{
		"devctl:local:Network network": {"stack": "alpha", "cidr": "198.18.0.0/24"},
		"devctl:local:Image image": {
			"nodeImage": "localhost/devctl/node:1", "store": "devctl-artifacts-4",
			"services": []any{"localhost/devctl/etcd:2", "localhost/devctl/redis:3"},
		},
		"devctl:local:NodeGroup main": {
			"stack": "alpha", "role": "main", "network": "the-network", "image": "localhost/devctl/node:1", "store": "devctl-artifacts-4",
			"nodes":   []any{map[string]any{"name": "main-1", "zone": "a", "address": "198.18.0.11"}},
			"config":  "public",
			"secrets": true, // whether it is one
			"units":   []any{"etcd.service", "devctl-controller.service", "devctl-agent.service"},
		},
	}
	if diff := cmp.Diff(want, r.registered); diff != "" {
		t.Errorf("registered resources (-want +got):\n%s", diff)
	}
}
