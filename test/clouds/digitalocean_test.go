package clouds

import (
	"slices"
	"strings"
	"testing"

	"devctl/components"
	"devctl/components/digitalocean"
	"devctl/stacks"
)

func digitalOcean(_ *testing.T, spec *stacks.Spec, images []string) components.Cloud {
	return digitalocean.New(digitalOceanOptions(spec, images))
}

func digitalOceanOptions(spec *stacks.Spec, images []string) digitalocean.Options {
	return digitalocean.Options{
		Region: spec.DigitalOcean.Region, CIDR: spec.Network.CIDR, Bucket: spec.DigitalOcean.Bucket, Project: spec.DigitalOcean.Project, SSHKeys: spec.SSHKeys,
		ImageURL: spec.DigitalOcean.CoreOS.URL, ImageID: spec.DigitalOcean.CoreOS.ImageID,
		Daemon: components.Daemon{Path: "/nowhere/devctld", SHA256: strings.Repeat("0", 64)},
		Images: images,
	}
}

const typeDroplet = "digitalocean:index/droplet:Droplet"

func TestDigitalOcean(t *testing.T) {
	t.Parallel()
	s := newStack(t, "digitalocean", nil, digitalOcean)
	v := shipped(t, "digitalocean")
	mains, data := []string{"main-1", "main-2", "main-3"}, []string{"data-1", "data-2", "data-3", "data-4", "data-5", "data-6"}

	s.createsInTwoGoes(v, typeDroplet, "creating this/these droplet(s) will exceed your droplet limit", map[string]int{
		"CustomImage": 1, "Droplet": 9, "DropletAutoscale": 1, "Firewall": 3, "Project": 1, "ProjectResources": 4, "ReservedIp": 1,
		"SpacesBucket": 1, "SpacesBucketObject": 9, "SpacesKey": 1, "Tag": 3, "Vpc": 1,
	})
	s.knowsNothingElse("digitalocean")

	// What a main node's replacement is called and where it is, others look up in the bucket; the project shows it.
	mainMoved := []string{"update ProjectResources main: resources[]", "update SpacesBucketObject mains: content"}
	dataMoved := []string{"update ProjectResources data: resources[]"}
	configs := each("replace SpacesBucketObject %: content key", "main-config", "worker-config", "data-config")
	for _, change := range []struct {
		name string
		to   setting
		want []string
	}{
		{"nothing", v, nil},
		{"one more data node", v.edit(t, "count: 6", "count: 7"), slices.Concat(dataMoved, []string{"create Droplet data-7"})},
		{"more workers are the controller's business", v.edit(t, "min: 2", "min: 3"), nil},
		{"machine type of data nodes", v.edit(t, "s-2vcpu-4gb", "s-4vcpu-8gb"), slices.Concat(dataMoved, each("replace Droplet %: size userData", data...),
			each("replace SpacesBucketObject %: content key", "data-config"))},
		{"release", v.edit(t, "44.20260802.3.1", "44.20260902.3.1"), slices.Concat(mainMoved, dataMoved,
			each("replace Droplet %: image userData", mains...), each("replace Droplet %: image userData", data...), configs,
			[]string{"replace CustomImage coreos: url", "update DropletAutoscale worker: dropletTemplate.image dropletTemplate.userData"})},
		{"who may connect", v.edit(t, "203.0.113.0/24", "198.51.100.0/24"), []string{"update Firewall worker: inboundRules[].sourceAddresses[]"}},
	} {
		s.plans(change.name, change.to, change.want...)
	}

	s.changesImages(v, slices.Concat(mainMoved, each("replace Droplet %: userData", mains...), []string{"replace SpacesBucketObject main-config: content key"})...)
	s.changesPassword(v)

	before := s.ids("Droplet")
	if !s.world.Lose(typeDroplet, "data-2") {
		t.Fatal("there is no data-2")
	}
	s.does("refresh after a loss", refresh, v, "delete Droplet data-2")
	s.does("up after a loss", up, v, slices.Concat(dataMoved, []string{"create Droplet data-2"})...)
	for name, id := range s.ids("Droplet") {
		if (id == before[name]) != (name != "data-2") {
			t.Errorf("droplet %s was %s, is %s", name, before[name], id)
		}
	}

	moved := v.edit(t, "10.20.0.0/20", "10.21.0.0/20")
	want := slices.Concat(dataMoved, each("replace Droplet %: userData vpcUuid", mains...), each("replace Droplet %: userData vpcUuid", data...),
		each("replace SpacesBucketObject %: content key", "mains", "main-config", "worker-config", "data-config"),
		each("update Firewall %: outboundRules[].destinationAddresses[]", "main", "worker", "data"),
		[]string{
			"replace Vpc network: ipRange name",
			"replace DropletAutoscale worker: dropletTemplate.userData dropletTemplate.vpcUuid",
			"create SpacesBucketObject founders", "delete SpacesBucketObject founders", // a cluster of its own
			"update ProjectResources main: resources[]",
		})
	s.plans("another network", moved, want...)
	s.does("another network", up, moved, want...)
	s.plans("the same network", moved)

	s.destroys(moved)
}

// Who names one node has only that one replaced, although all are made from something else by now.
func TestDigitalOceanKeepsWhatIsNotNamed(t *testing.T) {
	t.Parallel()
	s := newStack(t, "digitalocean", nil, digitalOcean)
	v := shipped(t, "digitalocean")
	if _, _, err := s.run(up, v); err != nil {
		t.Fatal(err)
	}
	replacing := func(names ...string) {
		s.cloud = func(_ *testing.T, spec *stacks.Spec, images []string) components.Cloud {
			o := digitalOceanOptions(spec, images)
			o.Keep = func(node string) bool { return !slices.Contains(names, node) }
			return digitalocean.New(o)
		}
	}
	newer := v.edit(t, "44.20260802.3.1", "44.20260902.3.1", "s-1vcpu-2gb", "s-2vcpu-2gb").withImage("etcd", "two")
	others := append(each("replace SpacesBucketObject %: content key", "main-config", "worker-config", "data-config"), "replace Bundle etcd: image key",
		"replace CustomImage coreos: url", "update DropletAutoscale worker: dropletTemplate.image dropletTemplate.size dropletTemplate.userData")
	moved := []string{"update ProjectResources main: resources[]", "update SpacesBucketObject mains: content"}

	before := s.ids("Droplet")
	replacing()
	s.does("up of none", up, newer, others...)
	replacing("main-2")
	s.does("up of main-2 only", up, newer, slices.Concat(moved, []string{"replace Droplet main-2: image size userData"})...)
	for name, id := range s.ids("Droplet") {
		if (id == before[name]) != (name != "main-2") {
			t.Errorf("droplet %s was %s, is %s", name, before[name], id)
		}
	}
	replacing("main-3")
	s.does("up of main-3 only", up, newer, slices.Concat(moved, []string{"replace Droplet main-3: image size userData"})...)
	s.cloud = digitalOcean
	s.plans("what is left", newer, slices.Concat(moved, []string{"replace Droplet main-1: image size userData", "update ProjectResources data: resources[]"},
		each("replace Droplet %: image userData", "data-1", "data-2", "data-3", "data-4", "data-5", "data-6"))...)
}
