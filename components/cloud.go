// Package components says what a cloud must be able to do for an environment: the Cloud interface, which the
// one Pulumi program in package stacks drives and each folder below implements for one cloud. What all clouds have in
// common is beside it: names and tags, and who may reach what.
package components

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/ignition"
	"devctl/internal/api"
)

// Cloud creates the parts of an environment as Pulumi resources. Nothing outside its implementation
// knows which cloud it is.
type Cloud interface {
	// Boot is what the configs of machines say about this cloud. It follows from the spec and from devctl itself, so it is
	// known without asking anybody.
	Boot() Boot
	// Network creates the private network of the stack, over the given zones, and its firewall.
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
	Stack  string
	CIDR   string
	Zones  []Zone
	Access Access
}

// Zone is a failure zone.
type Zone struct {
	Name string
	CIDR string // the part of the network that is in the zone: all of it where zones have no part of their own
	// Slots is the part of CIDR that is kept for machines whose address the spec gives: no other machine may get one in it.
	Slots string
}

// Network is a created network.
type Network struct {
	ID pulumi.StringOutput
}

// ArtifactsArgs says what machines need before they can boot.
type ArtifactsArgs struct {
	Stack string
}

// Artifacts are what machines are made from. What a cloud's NodeGroup needs beside it of what its Artifacts made, it
// keeps itself.
type Artifacts struct {
	NodeImage pulumi.StringOutput // what machines boot
	Store     pulumi.StringOutput // where they find daemon and service images: a volume, or a bucket
	// Lookups are the answers of the cloud to what had to be asked for, by the question: the outputs keep them for previews
	// that cannot ask. Nil where nothing had to.
	Lookups pulumi.StringMap
}

// Boot is what machines fetch and where they look things up: see ignition.RoleConfig. It is zero for local.
type Boot struct {
	Platform  api.Platform
	Images    string
	Downloads []ignition.Download
	Registry  string
}

// NodeGroupArgs describes a group of machines of one role.
type NodeGroupArgs struct {
	Stack string
	Role  api.Role
	// Nodes are the slots of the group, in order: one machine each, with its name and its address. An Elastic group has none.
	Nodes []api.Identity
	// Elastic is set for a group whose size changes without the program, and whose machines name themselves.
	Elastic     *Elastic
	MachineType string // of the provider; empty where there are none
	Network     Network
	Artifacts   Artifacts
	Endpoint    Endpoint // the balancers' group moves it
	// Config is the role's Ignition config, without any secret. Changing it replaces the machines.
	Config string
	// Secrets is an Ignition config with the role's secret files. It never is in user data, logs or previews.
	Secrets pulumi.StringOutput
	// DependsOn is what has to outlive the machines, though they are not made from it.
	DependsOn []pulumi.Resource
}

// Elastic bounds the size of a group. It begins with Min.
type Elastic struct{ Min, Max int }

// NodeGroup is a created group.
type NodeGroup struct {
	// Addresses are where the Nodes are reached from outside of the network, in slot order. Only those of main nodes have
	// to be there; they are known before the machines run.
	Addresses pulumi.StringArray
	// Inside are where the Nodes are in the network, in slot order. Nil where the spec says so.
	Inside pulumi.StringArray
}

// EndpointArgs describes the stable address of the stack.
type EndpointArgs struct {
	Stack   string
	Domain  string // what people would call it, where the cloud serves names
	Address string // wanted address, where the cloud lets us choose
}

// Endpoint is a reserved address.
type Endpoint struct {
	Address pulumi.StringOutput
	// ID is what a balancer names to the cloud when it takes the address: an allocation's ID on AWS, the address itself
	// on DigitalOcean. Empty where the network itself moves the address.
	ID pulumi.StringOutput
}
