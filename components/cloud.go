// Package components says what a cloud must be able to do for an environment: the Cloud interface, which the
// one Pulumi program in package stacks drives and each folder below implements for one cloud.
package components

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/internal/api"
)

// Cloud creates the parts of an environment as Pulumi resources. Nothing outside its implementation
// knows which cloud it is.
type Cloud interface {
	// Network creates the private network of the stack, over the given zones.
	Network(ctx *pulumi.Context, args NetworkArgs) (Network, error)
	// Artifacts makes the node image, the service images and the daemon available to machines.
	Artifacts(ctx *pulumi.Context, args ArtifactsArgs) (Artifacts, error)
	// NodeGroup creates the machines of one role.
	NodeGroup(ctx *pulumi.Context, args NodeGroupArgs) (NodeGroup, error)
	// Endpoint reserves the address that moves between the load balancers.
	Endpoint(ctx *pulumi.Context, args EndpointArgs) (Endpoint, error)
}

// NetworkArgs describes a network.
type NetworkArgs struct {
	Stack string
	CIDR  string
	Zones []string
}

// Network is a created network.
type Network struct {
	ID pulumi.StringOutput
}

// ArtifactsArgs says what machines need before they can boot.
type ArtifactsArgs struct {
	Stack string
}

// Artifacts are what NodeGroup needs of it, opaque to the program.
type Artifacts struct {
	NodeImage pulumi.StringOutput // what machines boot
	Store     pulumi.StringOutput // where they find daemon and service images
}

// NodeGroupArgs describes a group of machines of one role.
type NodeGroupArgs struct {
	Stack     string
	Role      api.Role
	Nodes     []api.Identity // one per machine, in slot order
	Network   Network
	Artifacts Artifacts
	// Config is the role's Ignition config, without any secret. Changing it replaces the machines.
	Config pulumi.StringOutput
	// Secrets is an Ignition config with the role's secret files. It never is in user data, logs or previews.
	Secrets pulumi.StringOutput
	// DependsOn is what has to outlive the machines, though they are not made from it.
	DependsOn []pulumi.Resource
}

// NodeGroup is a created group.
type NodeGroup struct {
	Resource pulumi.Resource
}

// EndpointArgs describes the stable address of the stack.
type EndpointArgs struct {
	Stack   string
	Address string // wanted address, where the cloud lets us choose
	Network Network
}

// Endpoint is a reserved address.
type Endpoint struct {
	Address pulumi.StringOutput
}
