package planview

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/engine"
)

// tagged is an event of a cloud's resource that belongs to a node.
func tagged(op engine.Op, resourceType, name, role, node string, diff ...engine.PropertyChange) engine.Event {
	e := planned(op, resourceType, name, diff...)
	tags := map[string]any{"devctl:role": role}
	if node != "" {
		tags["devctl:node"] = node
	}
	e.URN, e.Old["tags"], e.New["tags"] = "urn:"+name, tags, tags
	return e
}

func forced(path string) engine.PropertyChange {
	p := changed(path, "a", "b")
	p.Replaces = true
	return p
}

func TestLosses(t *testing.T) {
	t.Parallel()
	three, four := nodes("data-1", "data-2", "data-3"), nodes("data-1", "data-2", "data-3", "data-4")
	moved := nodes("data-2", "data-1", "data-3")
	for name, tc := range map[string]struct {
		events []engine.Event
		want   []string
		text   string
	}{
		"a new stack":             {[]engine.Event{group(engine.OpCreate, "data", nil, three), planned(engine.OpCreate, "devctl:local:Network", "network")}, nil, ""},
		"a roll":                  {[]engine.Event{group(engine.OpUpdate, "data", three, three, changed("config", "a", "b"), changed("image", "a", "b"))}, nil, ""},
		"a roll to new addresses": {[]engine.Event{group(engine.OpUpdate, "data", three, moved, changed("nodes", "a", "b"))}, nil, ""},
		"growth":                  {[]engine.Event{group(engine.OpUpdate, "data", three, four, changed("nodes", "a", "b"))}, nil, ""},
		"fewer workers":           {[]engine.Event{group(engine.OpUpdate, "worker", nodes("worker-1", "worker-2"), nodes("worker-1"))}, nil, ""},
		"fewer data nodes": {[]engine.Event{group(engine.OpUpdate, "data", four, three, changed("nodes", "a", "b"))},
			[]string{"data-4 is deleted"}, "data-4 is deleted: up does this only with --allow-replace data-4"},
		"fewer data nodes, after a refresh": {[]engine.Event{group(engine.OpRefresh, "data", four, four), group(engine.OpUpdate, "data", four, three, changed("nodes", "a", "b"))},
			[]string{"data-4 is deleted"}, "data-4 is deleted: up does this only with --allow-replace data-4"},
		"a group that goes": {[]engine.Event{group(engine.OpDelete, "main", nodes("main-1", "main-2"), nil)}, []string{"main-1 is deleted", "main-2 is deleted"},
			"main-1 is deleted, main-2 is deleted: up does this only with --allow-replace main-1,main-2"},
		"another network": {[]engine.Event{
			planned(engine.OpReplace, "devctl:local:Network", "network", forced("cidr")),
			group(engine.OpReplace, "worker", nodes("worker-1"), nodes("worker-1"), forced("network")),
			group(engine.OpReplace, "data", three, nodes("data-1", "data-2"), forced("network")),
			group(engine.OpReplace, "main", nodes("main-1"), nodes("main-1"), forced("network")),
		}, []string{"network is replaced (cidr)", "main-1 is replaced (network)", "data-1 is replaced (network)", "data-2 is replaced (network)", "data-3 is deleted"},
			"network is replaced (cidr), main-1 is replaced (network), data-1 is replaced (network), data-2 is replaced (network), data-3 is deleted: " +
				"up does this only with --allow-replace network,main-1,data-1,data-2,data-3"},
		"AWS rolls nothing by itself": {[]engine.Event{
			tagged(engine.OpUpdate, "aws:ec2/launchTemplate:LaunchTemplate", "main-1", "main", "main-1", changed("userData", "a", "b")),
			tagged(engine.OpReplace, "aws:ec2/launchTemplate:LaunchTemplate", "main-2", "main", "main-2", forced("namePrefix")),
			tagged(engine.OpUpdate, "aws:autoscaling/group:Group", "main-1", "main", "main-1", changed("launchTemplate", "a", "b")),
			tagged(engine.OpReplace, "aws:autoscaling/group:Group", "worker", "worker", "", forced("name")),
			tagged(engine.OpDelete, "aws:iam/role:Role", "main", "main", ""),
		}, nil, ""},
		"what AWS would destroy": {[]engine.Event{
			tagged(engine.OpReplace, "aws:autoscaling/group:Group", "data-10", "data", "data-10", forced("name")),
			tagged(engine.OpDelete, "aws:ebs/volume:Volume", "data-10-redis", "data", "data-10"),
			tagged(engine.OpReplace, "aws:ec2/networkInterface:NetworkInterface", "data-2", "data", "data-2", forced("subnetId"), forced("privateIps")),
			tagged(engine.OpReplace, "aws:autoscaling/group:Group", "data-2", "data", "data-2", forced("name")),
			planned(engine.OpReplace, "aws:ec2/subnet:Subnet", "network-a", forced("cidrBlock")),
			planned(engine.OpReplace, "aws:ec2/vpc:Vpc", "network", forced("cidrBlock")),
			planned(engine.OpDelete, "aws:s3/bucketV2:BucketV2", "bucket"),
		}, []string{"network is replaced (cidrBlock)", "data-2 is replaced (name, privateIps, subnetId)", "data-10 is deleted", "bucket is deleted"},
			"network is replaced (cidrBlock), data-2 is replaced (name, privateIps, subnetId), data-10 is deleted, bucket is deleted: " +
				"up does this only with --allow-replace network,data-2,data-10,bucket"},
		"several droplets": {[]engine.Event{
			tagged(engine.OpReplace, "digitalocean:index/droplet:Droplet", "main-1", "main", "main-1", forced("userData")),
			tagged(engine.OpReplace, "digitalocean:index/droplet:Droplet", "main-2", "main", "main-2", forced("userData")),
		}, []string{"main-1 is replaced (userData)", "main-2 is replaced (userData)"},
			"main-1 is replaced (userData), main-2 is replaced (userData): up does this only with --allow-replace main-1, one machine at a time: the others stay as they are until their turn"},
		"droplets": {[]engine.Event{
			tagged(engine.OpReplace, "digitalocean:index/droplet:Droplet", "main-1", "main", "main-1", forced("userData")),
			tagged(engine.OpReplace, "digitalocean:index/dropletAutoscale:DropletAutoscale", "worker", "worker", "", forced("name")),
		}, []string{"main-1 is replaced (userData)"}, "main-1 is replaced (userData): up does this only with --allow-replace main-1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := New(Input{Stack: "prod", Events: tc.events})
			var got []string
			for _, l := range p.Losses {
				got = append(got, l.String())
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("losses (-want +got):\n%s", d)
			}
			if p.LossText() != tc.text {
				t.Errorf("text is %q, want %q", p.LossText(), tc.text)
			}
		})
	}
}
