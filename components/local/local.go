// Package local is the cloud on this machine: networks and nodes are Docker's. The resources it registers are those of
// devctl's own provider.
package local

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/images"
	"devctl/internal/api"
)

// Cloud registers the resources of a local stack.
type Cloud struct{ images *images.Set }

var _ components.Cloud = (*Cloud)(nil)

// New makes a cloud whose machines boot and run the given images.
func New(set *images.Set) *Cloud { return &Cloud{images: set} }

// Boot is empty: local nodes find in their image and in the store what others fetch.
func (c *Cloud) Boot() components.Boot { return components.Boot{} }

type network struct {
	pulumi.CustomResourceState
	Name pulumi.StringOutput `pulumi:"name"`
}

// Network creates a Docker network. Zones are names only: they are all on this machine.
func (c *Cloud) Network(ctx *pulumi.Context, args components.NetworkArgs) (components.Network, error) {
	var n network
	err := ctx.RegisterResource("devctl:local:Network", "network", pulumi.Map{
		"stack": pulumi.String(args.Stack),
		"cidr":  pulumi.String(args.CIDR),
	}, &n)
	if err != nil {
		return components.Network{}, fmt.Errorf("register network: %w", err)
	}
	return components.Network{ID: n.Name}, nil
}

type image struct {
	pulumi.CustomResourceState
	NodeImage pulumi.StringOutput `pulumi:"nodeImage"`
	Store     pulumi.StringOutput `pulumi:"store"`
}

// Artifacts builds the images once for all stacks.
func (c *Cloud) Artifacts(ctx *pulumi.Context, _ components.ArtifactsArgs) (components.Artifacts, error) {
	var services pulumi.StringArray
	for _, s := range c.images.Services {
		services = append(services, pulumi.String(s.Ref))
	}
	var i image
	err := ctx.RegisterResource("devctl:local:Image", "image", pulumi.Map{
		"nodeImage": pulumi.String(c.images.Node.Ref),
		"services":  services,
		"store":     pulumi.String(c.images.Store),
	}, &i)
	if err != nil {
		return components.Artifacts{}, fmt.Errorf("register image: %w", err)
	}
	return components.Artifacts{NodeImage: i.NodeImage, Store: i.Store}, nil
}

type nodeGroup struct{ pulumi.CustomResourceState }

// NodeGroup creates the machines of one role as containers.
func (c *Cloud) NodeGroup(ctx *pulumi.Context, args components.NodeGroupArgs) (components.NodeGroup, error) {
	var nodes pulumi.MapArray
	var addresses pulumi.StringArray // this machine is in the network, too
	for _, n := range args.Nodes {
		nodes = append(nodes, pulumi.Map{
			"name":    pulumi.String(n.Name),
			"zone":    pulumi.String(n.Zone),
			"address": pulumi.String(n.Address),
		})
		addresses = append(addresses, pulumi.String(n.Address))
	}
	var g nodeGroup
	err := ctx.RegisterResource("devctl:local:NodeGroup", string(args.Role), pulumi.Map{
		"stack":   pulumi.String(args.Stack),
		"role":    pulumi.String(args.Role),
		"nodes":   nodes,
		"network": args.Network.ID,
		"image":   args.Artifacts.NodeImage,
		"store":   args.Artifacts.Store,
		"config":  pulumi.String(args.Config),
		"secrets": pulumi.ToSecret(args.Secrets),
		"units":   pulumi.ToStringArray(bootUnits(args.Role)),
	}, &g, pulumi.DependsOn(args.DependsOn))
	if err != nil {
		return components.NodeGroup{}, fmt.Errorf("register %s nodes: %w", args.Role, err)
	}
	return components.NodeGroup{Addresses: addresses}, nil
}

// bootUnits are those that are active once a machine does its part.
func bootUnits(role api.Role) []string {
	if role == api.RoleMain {
		return []string{"etcd.service", "devctl-controller.service", "devctl-agent.service"}
	}
	return []string{"devctl-agent.service"}
}

// Endpoint reserves nothing: the address is in the stack's own network, out of the way of its machines.
func (c *Cloud) Endpoint(_ *pulumi.Context, args components.EndpointArgs) (components.Endpoint, error) {
	return components.Endpoint{Address: pulumi.String(args.Address).ToStringOutput(), ID: pulumi.String("").ToStringOutput()}, nil
}
