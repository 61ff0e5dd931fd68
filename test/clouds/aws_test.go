package clouds

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/property"

	"devctl/components"
	"devctl/components/aws"
	"devctl/internal/standin"
	"devctl/stacks"
)

func amazon(t *testing.T, spec *stacks.Spec, images []string) components.Cloud {
	t.Helper()
	daemon := filepath.Join(t.TempDir(), "devctld")
	if err := os.WriteFile(daemon, []byte("a daemon"), 0o755); err != nil {
		t.Fatal(err)
	}
	return aws.New(aws.Options{
		Region: spec.AWS.Region, CIDR: spec.Network.CIDR, Bucket: spec.AWS.Bucket, Release: spec.AWS.CoreOS.Release, HostedZone: spec.AWS.HostedZone,
		RootGiB: int(spec.AWS.Volumes.Root / stacks.GiB), DataGiB: int(spec.AWS.Volumes.Data / stacks.GiB),
		Daemon: components.Daemon{Path: daemon, SHA256: strings.Repeat("0", 64)},
		Images: images,
	})
}

const (
	release, nextRelease   = "44.20260802.3.1", "44.20260902.3.1"
	ami, nextAMI           = "ami-0123456789abcdef0", "ami-0fedcba9876543210"
	awsGroup               = "aws:autoscaling/group:Group"
	awsEIP                 = "aws:ec2/eip:Eip"
	awsImage, awsNextImage = "fedora-coreos-" + release + "-x86_64", "fedora-coreos-" + nextRelease + "-x86_64"
)

// relaunched are the operations when what machines are launched from changes.
func relaunched(inputs string, names ...string) []string {
	return slices.Concat(each("update LaunchTemplate %: "+inputs, names...), each("update Group %: launchTemplate.version", names...))
}

func TestAWS(t *testing.T) {
	t.Parallel()
	s := newStack(t, "aws", map[string]string{awsImage: ami, awsNextImage: nextAMI}, amazon)
	v := shipped(t, "aws").edit(t, "# hostedZone", "hostedZone")
	mains, data, workers := []string{"main-1", "main-2", "main-3"}, []string{"data-1", "data-2", "data-3"}, []string{"worker"}
	all := slices.Concat(mains, data, workers)

	s.createsInTwoGoes(v, awsGroup, "We currently do not have sufficient t3.small capacity", map[string]int{
		"BucketLifecycleConfigurationV2": 1, "BucketObjectv2": 4, "BucketOwnershipControls": 1, "BucketPolicy": 1, "BucketPublicAccessBlock": 1,
		"BucketServerSideEncryptionConfigurationV2": 1, "BucketV2": 1, "BucketVersioningV2": 1, "Eip": 4, "Group": 7, "InstanceProfile": 3,
		"InternetGateway": 1, "LaunchTemplate": 7, "NetworkInterface": 6, "Record": 1, "Role": 3, "RolePolicy": 3, "Route": 1, "RouteTable": 1,
		"RouteTableAssociation": 3, "SecurityGroup": 3, "SecurityGroupRule": 25, "Subnet": 3, "SubnetCidrReservation": 3, "Vpc": 1, "VpcEndpoint": 1,
	})
	s.knowsNothingElse("aws")

	const dataSize = "count: 3\n      machineType: t3.medium"
	for _, change := range []struct {
		name string
		to   setting
		want []string
	}{
		{"nothing", v, nil},
		{"one more data node", v.edit(t, dataSize, strings.Replace(dataSize, "3", "4", 1)), each("create % data-4", "NetworkInterface", "LaunchTemplate", "Group")},
		{"room for more workers", v.edit(t, "max: 6", "max: 7"), []string{"update Group worker: maxSize"}},
		{"release", v.edit(t, release, nextRelease), relaunched("imageId userData", all...)},
		{"who may connect", v.edit(t, "203.0.113.0/24", "198.51.100.0/24"), []string{"replace SecurityGroupRule worker-redis-from-clients: cidrBlocks[]"}},
	} {
		s.plans(change.name, change.to, change.want...)
	}
	s.changesImages(v, relaunched("userData", mains...)...)
	v = v.edit(t, "t3.medium", "t3.large")
	s.does("up with another machine type", up, v, relaunched("instanceType userData", data...)...)
	s.changesPassword(v)

	// What the controllers and the balancers change is theirs.
	if !s.world.Change(awsGroup, "worker", "desiredCapacity", property.New(4.0)) || !s.world.Change(awsEIP, "endpoint", "networkInterface", property.New("eni-1")) ||
		!s.world.Lose(awsGroup, "data-2") {
		t.Fatal("there is nothing to change or to lose")
	}
	s.does("refresh after changes and a loss", refresh, v, "delete Group data-2", "update Group worker: ")
	s.does("up after changes and a loss", up, v, "create Group data-2")
	if ids := s.ids("Group"); len(ids) != len(all) {
		t.Errorf("the groups are %v", ids)
	}

	s.previewsWithoutCloud(v)

	moved := v.edit(t, "10.10.", "10.11.")
	s.world.Calls()
	ops, _, err := s.run(up, moved)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{
		"replace InternetGateway": 1, "replace NetworkInterface": 6, "replace Route": 1, "replace RouteTable": 1, "replace RouteTableAssociation": 3,
		"replace SecurityGroup": 3, "replace SecurityGroupRule": 25, "replace Subnet": 3, "replace SubnetCidrReservation": 3, "replace Vpc": 1,
		"replace VpcEndpoint": 1, "replace Group": 6, "update Eip": 3, "update Group": 1, "update LaunchTemplate": 7, "update RolePolicy": 1,
	}, perType(ops)); diff != "" {
		t.Errorf("up in another network (-want +got):\n%s", diff)
	}
	calls := s.world.Calls()
	for _, slot := range slices.Concat(mains, data) {
		// The old machine has the old interface until its group is gone.
		nic := slices.Index(calls, "delete aws:ec2/networkInterface:NetworkInterface "+slot)
		if group := slices.Index(calls, "delete "+awsGroup+" "+slot); group < 0 || nic < group {
			t.Errorf("the interface of %s is deleted as call %d, its group as %d", slot, nic, group)
		}
	}
	s.plans("the same network", moved)

	s.destroys(moved)
}

// previewsWithoutCloud previews by what the stack's state says alone, as `preview --offline` does.
func (s *stack) previewsWithoutCloud(v setting) {
	s.t.Helper()
	outputs, err := s.open(v).Outputs(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	images, ok := outputs["images"].Value.(map[string]any)
	if !ok || images[awsImage] != ami {
		s.t.Fatalf("the outputs know the images %v", outputs["images"].Value)
	}
	served, err := standin.Serve(s.t.Context(), standin.Options{Packages: []string{"aws"}, Known: map[string]string{awsImage: ami}})
	if err != nil {
		s.t.Fatal(err)
	}
	offline := *s
	offline.options.Providers = maps.Clone(s.options.Providers)
	maps.Copy(offline.options.Providers, served.Ports)
	offline.plans("nothing, offline", v)
	if got := served.Unknown(); got != nil {
		s.t.Errorf("offline nobody knows %q", got)
	}
	all := []string{"main-1", "main-2", "main-3", "data-1", "data-2", "data-3", "worker"}
	offline.plans("a release that nobody has looked up, offline", v.edit(s.t, release, nextRelease), relaunched("imageId userData", all...)...)
	if got := served.Unknown(); !slices.Equal(got, []string{awsNextImage}) {
		s.t.Errorf("offline nobody knows %q", got)
	}
}
