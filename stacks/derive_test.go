package stacks

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/components"
	"devctl/internal/api"
)

func parse(t *testing.T, file string) *Spec {
	t.Helper()
	s, err := Parse("spec.yaml", []byte(file), "local")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestIdentities(t *testing.T) {
	t.Parallel()
	s := parse(t, local+"  devctl:network: {cidr: 198.18.4.0/24, zones: [a, b]}\n  devctl:nodes: {data: {count: 4}}\n")
	want := []api.Identity{
		{Stack: "local", Name: "main-1", Role: api.RoleMain, Zone: "a", Address: "198.18.4.11"},
		{Stack: "local", Name: "main-2", Role: api.RoleMain, Zone: "b", Address: "198.18.4.12"},
		{Stack: "local", Name: "main-3", Role: api.RoleMain, Zone: "a", Address: "198.18.4.13"},
		{Stack: "local", Name: "worker-1", Role: api.RoleWorker, Zone: "a", Address: "198.18.4.21"},
		{Stack: "local", Name: "worker-2", Role: api.RoleWorker, Zone: "b", Address: "198.18.4.22"},
		{Stack: "local", Name: "data-1", Role: api.RoleData, Zone: "a", Address: "198.18.4.101"},
		{Stack: "local", Name: "data-2", Role: api.RoleData, Zone: "b", Address: "198.18.4.102"},
		{Stack: "local", Name: "data-3", Role: api.RoleData, Zone: "a", Address: "198.18.4.103"},
		{Stack: "local", Name: "data-4", Role: api.RoleData, Zone: "b", Address: "198.18.4.104"},
	}
	if diff := cmp.Diff(want, s.Identities()); diff != "" {
		t.Errorf("identities (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[3:5], s.Group(api.RoleWorker)); diff != "" {
		t.Errorf("workers (-want +got):\n%s", diff)
	}
	mains := []api.Peer{{Name: "main-1", Address: "198.18.4.11"}, {Name: "main-2", Address: "198.18.4.12"}, {Name: "main-3", Address: "198.18.4.13"}}
	if diff := cmp.Diff(mains, s.Mains()); diff != "" {
		t.Errorf("mains (-want +got):\n%s", diff)
	}
}

// TestScalingKeepsIdentities: a bigger group is the same group with nodes behind it.
func TestScalingKeepsIdentities(t *testing.T) {
	t.Parallel()
	before := parse(t, local).Group(api.RoleData)
	after := parse(t, local+"  devctl:nodes: {data: {count: 154}}\n").Group(api.RoleData)
	if diff := cmp.Diff(before, after[:len(before)]); diff != "" {
		t.Errorf("data nodes (-want +got):\n%s", diff)
	}
	if last := after[153]; last.Name != "data-154" || last.Address != "198.18.0.254" {
		t.Errorf("last data node: got %+v, want data-154 at 198.18.0.254", last)
	}
}

// TestPlanCrossesOctets: in a larger network data nodes go on behind x.x.x.255.
func TestPlanCrossesOctets(t *testing.T) {
	t.Parallel()
	s := parse(t, local+"  devctl:network: {cidr: 10.7.0.0/16}\n  devctl:nodes: {data: {count: 200}}\n")
	if got := s.Group(api.RoleData)[199].Address; got != "10.7.1.44" {
		t.Errorf("address of data-200: got %s, want 10.7.1.44", got)
	}
}

// awsSpec and digitaloceanSpec are the least that their providers need.
const (
	awsSpec = `config:
  devctl:provider: aws
  devctl:aws: {region: eu-central-1, coreos: {release: 44.20260802.3.1}}
  devctl:adminCidrs: [192.0.2.0/24]
`
	digitaloceanSpec = `config:
  devctl:provider: digitalocean
  devctl:digitalocean: {region: fra1, coreos: {imageId: "123456789"}}
  devctl:adminCidrs: [192.0.2.0/24]
  devctl:sshKeys: ["` + exampleSSHKey + `"]
`
)

// TestCloudIdentities: on AWS a slot's address is in its zone's subnet, below the half that AWS gives out; on DigitalOcean
// nobody knows it yet. Workers name themselves on both.
func TestCloudIdentities(t *testing.T) {
	t.Parallel()
	more := "  devctl:nodes: {data: {count: 4}}\n"
	want := []api.Identity{
		{Name: "main-1", Role: api.RoleMain, Zone: "eu-central-1a", Address: "10.10.0.11"},
		{Name: "main-2", Role: api.RoleMain, Zone: "eu-central-1b", Address: "10.10.32.12"},
		{Name: "main-3", Role: api.RoleMain, Zone: "eu-central-1c", Address: "10.10.64.13"},
		{Name: "data-1", Role: api.RoleData, Zone: "eu-central-1a", Address: "10.10.0.101"},
		{Name: "data-2", Role: api.RoleData, Zone: "eu-central-1b", Address: "10.10.32.102"},
		{Name: "data-3", Role: api.RoleData, Zone: "eu-central-1c", Address: "10.10.64.103"},
		{Name: "data-4", Role: api.RoleData, Zone: "eu-central-1a", Address: "10.10.0.104"},
	}
	for i := range want {
		want[i].Stack = "local"
	}
	aws := parse(t, awsSpec+more)
	if diff := cmp.Diff(want, aws.Identities()); diff != "" {
		t.Errorf("on AWS (-want +got):\n%s", diff)
	}
	for i := range want {
		want[i].Zone, want[i].Address = "fra1", ""
	}
	ocean := parse(t, digitaloceanSpec+more)
	if diff := cmp.Diff(want, ocean.Identities()); diff != "" {
		t.Errorf("on DigitalOcean (-want +got):\n%s", diff)
	}
	if aws.Size() != 9 || ocean.Size() != 9 {
		t.Errorf("sizes are %d and %d, want 9 with two workers each", aws.Size(), ocean.Size())
	}
}

// TestMachine: whatever a machine is made from beside its config is in there as well, so that it is seen to be outdated when
// that changes.
func TestMachine(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		spec string
		role api.Role
		want string
	}{
		{local, api.RoleMain, ""},
		{awsSpec, api.RoleMain, "type t3.small\nimage Fedora CoreOS 44.20260802.3.1\ndisk 16 GiB\n"},
		{awsSpec + "  devctl:nodes: {data: {machineType: r5.large}}\n", api.RoleData, "type r5.large\nimage Fedora CoreOS 44.20260802.3.1\ndisk 16 GiB\n"},
		{digitaloceanSpec, api.RoleData, "type s-2vcpu-4gb\nimage 123456789\n"},
	} {
		if got := parse(t, tc.spec).RoleConfig(tc.role, "etcd:1", components.Boot{}).Machine; got != tc.want {
			t.Errorf("machine of %s is %q, want %q", tc.role, got, tc.want)
		}
	}
}

func TestZones(t *testing.T) {
	t.Parallel()
	for file, want := range map[string][]components.Zone{
		local + "  devctl:network: {zones: [a, b]}\n": {{Name: "a", CIDR: "198.18.0.0/24"}, {Name: "b", CIDR: "198.18.0.0/24"}},
		digitaloceanSpec: {{Name: "fra1", CIDR: "10.10.0.0/16"}},
		awsSpec: {
			{Name: "eu-central-1a", CIDR: "10.10.0.0/19", Slots: "10.10.0.0/20"},
			{Name: "eu-central-1b", CIDR: "10.10.32.0/19", Slots: "10.10.32.0/20"},
			{Name: "eu-central-1c", CIDR: "10.10.64.0/19", Slots: "10.10.64.0/20"},
		},
	} {
		s := parse(t, file)
		if diff := cmp.Diff(want, s.zones()); diff != "" {
			t.Errorf("zones of %s (-want +got):\n%s", s.Provider, diff)
		}
	}
}

func TestEndpointAddress(t *testing.T) {
	t.Parallel()
	if got := parse(t, local).EndpointAddress(); got != "198.18.0.10" {
		t.Errorf("default: got %s, want 198.18.0.10", got)
	}
	for _, address := range []string{"198.18.0.2", "198.18.0.20", "198.18.0.100"} {
		if got := parse(t, local+"  devctl:endpoint: {address: "+address+"}\n").EndpointAddress(); got != address {
			t.Errorf("got %s, want %s", got, address)
		}
	}
}

func TestDeployment(t *testing.T) {
	t.Parallel()
	images := api.ServiceImages{Redis: "redis:1", HAProxy: "haproxy:1", Keepalived: "keepalived:1"}
	s := parse(t, local+"  devctl:network: {cidr: 198.18.64.0/20, zones: [a, b, c]}\n")
	got := s.Deployment(images, nil)
	var names []string
	for _, node := range got.Nodes {
		names = append(names, node.Name)
	}
	if diff := cmp.Diff([]string{"data-1", "data-2", "data-3", "main-1", "main-2", "main-3", "worker-1", "worker-2"}, names); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	got.Nodes = nil
	want := api.Deployment{
		Stack:    "local",
		Redis:    api.RedisSpec{Shards: 3, Replicas: 1, MaxMemory: 64 << 20, NodeTimeoutMS: 2000},
		Balancer: api.BalancerSpec{Instances: 2, Port: 7010, StatsPort: 7020},
		Endpoint: api.EndpointSpec{Address: "198.18.64.10", Prefix: 20, RouterID: 10},
		Images:   images,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("deployment (-want +got):\n%s", diff)
	}
}

// TestCloudDeployment: what only the cloud knows comes from the outputs, and workers come and go.
func TestCloudDeployment(t *testing.T) {
	t.Parallel()
	out := &Outputs{Redis: RedisOutput{Address: "203.0.113.7"}, EndpointID: "the-id", Nodes: map[string]string{"main-1": "10.10.0.7"}}
	sources := map[string]string{
		ProviderAWS:          "s3://devctl-local-local-devctl-test/images",
		ProviderDigitalOcean: "https://devctl-local-local-devctl-test.fra1.digitaloceanspaces.com/images",
	}
	for file, want := range map[string]api.EndpointSpec{
		awsSpec:          {Address: "203.0.113.7", Prefix: 16, RouterID: 10, Platform: api.PlatformAWS, Allocation: "the-id"},
		digitaloceanSpec: {Address: "203.0.113.7", Prefix: 16, RouterID: 10, Platform: api.PlatformDigitalOcean},
	} {
		s := parse(t, file)
		got := s.Deployment(api.ServiceImages{}, out)
		if got.Images.Source != sources[s.Provider] {
			t.Errorf("images on %s are at %s, want %s", s.Provider, got.Images.Source, sources[s.Provider])
		}
		if diff := cmp.Diff(want, got.Endpoint); diff != "" {
			t.Errorf("endpoint on %s (-want +got):\n%s", s.Provider, diff)
		}
		if diff := cmp.Diff(&api.ElasticWorkers{Network: s.Network.CIDR, Min: 2}, got.Workers); diff != "" {
			t.Errorf("workers on %s (-want +got):\n%s", s.Provider, diff)
		}
		wantMain := map[string]string{ProviderAWS: "10.10.0.11", ProviderDigitalOcean: "10.10.0.7"}[s.Provider]
		if main := got.Nodes[3]; main.Name != "main-1" || main.Address != wantMain {
			t.Errorf("%s: got %+v, want main-1 at %s", s.Provider, main, wantMain)
		}
		if len(got.Nodes) != 6 {
			t.Errorf("%s: nodes %v, want main and data nodes only", s.Provider, got.Nodes)
		}
		if early := s.Deployment(api.ServiceImages{}, nil).Endpoint; early.Address != "" || early.Allocation != "" {
			t.Errorf("%s: endpoint %+v without outputs", s.Provider, early)
		}
	}
}

// TestSpecAsJSON pins what `config` commands print: the keys of the file.
func TestSpecAsJSON(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(parse(t, local))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"stack":"local","provider":"local","domain":"local.devctl.test","network":{"cidr":"198.18.0.0/24","zones":["a","b","c"]},` +
		`"nodes":{"main":{"count":3},"worker":{"min":2,"max":2},"data":{"count":3}},"redis":{"shards":3,"replicas":1,"maxmemory":"64MiB"},` +
		`"endpoint":{"port":7010,"statsPort":7020}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
}
