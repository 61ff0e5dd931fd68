// Package stacks says what an environment is: the typed spec of a stack, its strict loading from
// Pulumi.<stack>.yaml, what follows from it (names, addresses, the deployment), and the one Pulumi program.
//
// The table in keys.go describes every key of a spec once: loading, validation and the JSON Schema read it.
package stacks

import (
	"fmt"
	"regexp"
	"strconv"

	"devctl/components"
	"devctl/internal/api"
)

// The providers a spec may name.
const (
	ProviderLocal        = "local"
	ProviderAWS          = "aws"
	ProviderDigitalOcean = "digitalocean"
)

// Spec describes one environment. Parse makes it: every default is applied and everything in it is valid.
type Spec struct {
	Stack      string   `json:"stack"`
	Provider   string   `json:"provider"`
	Domain     string   `json:"domain"`
	Network    Network  `json:"network"`
	Nodes      Nodes    `json:"nodes"`
	Redis      Redis    `json:"redis"`
	Endpoint   Endpoint `json:"endpoint"`
	AdminCIDRs []string `json:"adminCidrs,omitempty"` // who may reach SSH, the controllers' API and the stats page
	SSHKeys    []string `json:"sshKeys,omitempty"`    // authorized_keys lines
	State      State    `json:"state,omitzero"`

	// One of them, for the provider of that name.
	AWS          AWS          `json:"aws,omitzero"`
	DigitalOcean DigitalOcean `json:"digitalocean,omitzero"`

	source source
}

// State is where Pulumi keeps what it knows of the stack, and what encrypts the secrets in it.
type State struct {
	Backend string `json:"backend,omitempty"` // file://… or s3://…; empty: devctl's data folder
	Secrets string `json:"secrets,omitempty"` // passphrase or awskms://…; empty: passphrase
}

// AWS is what a stack needs to know of its provider there.
type AWS struct {
	Region     string     `json:"region"`
	CoreOS     AWSCoreOS  `json:"coreos"`
	Bucket     string     `json:"bucket"` // default: components.Bucket
	Volumes    AWSVolumes `json:"volumes"`
	HostedZone string     `json:"hostedZone,omitempty"` // ID; empty: the endpoint gets no name
}

// AWSCoreOS pins what machines boot.
type AWSCoreOS struct {
	Release string `json:"release"` // of Fedora CoreOS, for example 44.20260802.3.1
}

// AWSVolumes sizes the machines' disks, in whole GiB.
type AWSVolumes struct {
	Root Size `json:"root"` // of main nodes and workers
	Data Size `json:"data"` // of data nodes
}

// DigitalOcean is what a stack needs to know of its provider there.
type DigitalOcean struct {
	Region  string             `json:"region"`
	CoreOS  DigitalOceanCoreOS `json:"coreos"`
	Bucket  string             `json:"bucket"`            // Spaces bucket; default: components.Bucket
	Project string             `json:"project,omitempty"` // name; default: components.Name
}

// DigitalOceanCoreOS pins what machines boot: exactly one of the two is set.
type DigitalOceanCoreOS struct {
	URL     string `json:"url,omitempty"`     // of an image to import
	ImageID string `json:"imageId,omitempty"` // of an image in the account
}

// Network is the private network of a stack.
type Network struct {
	CIDR  string   `json:"cidr"`  // IPv4, /16 to /24
	Zones []string `json:"zones"` // the i-th node of a role is in zone i modulo their number
}

// Nodes sizes the three groups.
type Nodes struct {
	Main   MainNodes   `json:"main"`
	Worker WorkerNodes `json:"worker"`
	Data   DataNodes   `json:"data"`
}

// MainNodes run etcd and the controller.
type MainNodes struct {
	Count       int    `json:"count"` // odd
	MachineType string `json:"machineType,omitempty"`
}

// WorkerNodes run the load balancers and services.
type WorkerNodes struct {
	Min         int    `json:"min"`
	Max         int    `json:"max"`
	MachineType string `json:"machineType,omitempty"`
}

// DataNodes run Redis.
type DataNodes struct {
	Count       int    `json:"count"`
	MachineType string `json:"machineType,omitempty"`
}

// Redis sizes the Redis Cluster.
type Redis struct {
	Shards    int  `json:"shards"`
	Replicas  int  `json:"replicas"`  // of each shard's primary
	MaxMemory Size `json:"maxmemory"` // of each instance
}

// Endpoint is where clients connect.
type Endpoint struct {
	Port      int    `json:"port"`
	StatsPort int    `json:"statsPort"`
	Address   string `json:"address,omitempty"` // empty: the plan's, see EndpointAddress
	// ClientCIDRs is who may connect, on clouds.
	ClientCIDRs []string `json:"clientCidrs,omitempty"`
}

// Size is an amount of memory in bytes, written as a whole number of KiB, MiB or GiB.
type Size int64

// Units of Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

var sizePattern = regexp.MustCompile(patternSize)

// UnmarshalText reads a size such as 64MiB. More than a PiB is refused.
func (s *Size) UnmarshalText(text []byte) error {
	parts := sizePattern.FindSubmatch(text)
	if parts == nil {
		return fmt.Errorf("size %q is no whole number of KiB, MiB or GiB", text)
	}
	number, err := strconv.ParseInt(string(parts[1]), 10, 64)
	unit := map[string]Size{"KiB": KiB, "MiB": MiB, "GiB": GiB}[string(parts[2])]
	if err != nil || number > int64(1<<20*GiB/unit) {
		return fmt.Errorf("size %q is more than %d GiB", text, 1<<20)
	}
	*s = Size(number) * unit
	return nil
}

// MarshalText writes the size in the largest unit that holds it exactly.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Size) String() string {
	switch {
	case s >= GiB && s%GiB == 0:
		return fmt.Sprintf("%dGiB", s/GiB)
	case s >= MiB && s%MiB == 0:
		return fmt.Sprintf("%dMiB", s/MiB)
	default:
		return fmt.Sprintf("%dKiB", s/KiB)
	}
}

// defaults is the spec of a file that gives no more than it must.
func defaults() Spec {
	return Spec{
		Network:  Network{CIDR: "198.18.0.0/24", Zones: []string{"a", "b", "c"}},
		Nodes:    Nodes{Main: MainNodes{Count: 3}, Worker: WorkerNodes{Min: balancers}, Data: DataNodes{Count: 3}},
		Redis:    Redis{Shards: 3, Replicas: 1, MaxMemory: 64 * MiB},
		Endpoint: Endpoint{Port: 7010, StatsPort: 7020},
	}
}

// fillIn sets the defaults that depend on other values.
func (s *Spec) fillIn() {
	if s.Domain == "" {
		s.Domain = s.Stack + ".devctl.test"
	}
	if s.Nodes.Worker.Max == 0 {
		s.Nodes.Worker.Max = s.Nodes.Worker.Min
	}
	switch s.Provider {
	case ProviderAWS:
		s.fillInCloud([]string{s.AWS.Region + "a", s.AWS.Region + "b", s.AWS.Region + "c"}, "t3.small", "t3.medium")
		setDefault(&s.AWS.Bucket, components.Bucket(s.Stack, s.Domain))
		setDefault(&s.AWS.Volumes.Root, 16*GiB)
		setDefault(&s.AWS.Volumes.Data, 16*GiB)
	case ProviderDigitalOcean:
		s.fillInCloud([]string{s.DigitalOcean.Region}, "s-1vcpu-2gb", "s-2vcpu-4gb")
		setDefault(&s.DigitalOcean.Bucket, components.Bucket(s.Stack, s.Domain))
		setDefault(&s.DigitalOcean.Project, api.ResourceName(s.Stack))
	}
}

// fillInCloud sets the defaults that clouds have each of their own. Data nodes get a machine type with more memory.
func (s *Spec) fillInCloud(zones []string, machineType, dataType string) {
	if !s.source.has("devctl:network.cidr") {
		s.Network.CIDR = cloudNetwork
	}
	if !s.source.has("devctl:network.zones") {
		s.Network.Zones = zones
	}
	setDefault(&s.Nodes.Main.MachineType, machineType)
	setDefault(&s.Nodes.Worker.MachineType, machineType)
	setDefault(&s.Nodes.Data.MachineType, dataType)
}

// cloudNetwork is the network of a stack on a cloud whose spec names none.
const cloudNetwork = "10.10.0.0/16"

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
