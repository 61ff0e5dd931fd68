// Package digitalocean is the cloud of that name: a VPC, droplets for main and data nodes, a pool of a fixed size for
// workers, a reserved IP, and a Spaces bucket from which machines fetch what they boot with.
//
// What DigitalOcean has not shapes the rest. There are no zones and no subnets, and droplets choose no address: main
// nodes find one another through objects in the bucket (ignition.MainsEnv). Machines have no identity of their own
// towards Spaces: what they fetch, anybody can who has its URL (see objects.go).
package digitalocean

import (
	"fmt"
	"slices"

	do "github.com/pulumi/pulumi-digitalocean/sdk/v4/go/digitalocean"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/internal/api"
)

// Options are what a stack needs to know of DigitalOcean.
type Options struct {
	Region  string
	CIDR    string   // of the network
	Bucket  string   // of Spaces, in the same region
	Project string   // name of the project that it makes and everything is shown in
	SSHKeys []string // authorized_keys lines; at least one, and each known to the account

	// Exactly one is set: an image of Fedora CoreOS for DigitalOcean to import, or one that was.
	ImageURL, ImageID string

	Daemon components.Daemon
	Images []string // references of the services' images

	// Keep tells of a main or data node that this run must leave as it is, although its configuration has changed.
	// Nil: none. The nodes of a role must not be replaced together; whoever names one keeps the others.
	Keep func(node string) bool
}

// Cloud registers the resources of one run of one stack.
type Cloud struct {
	options Options
	project *do.Project
	bucket  *do.SpacesBucket
	reader  *do.SpacesKey // what URLs for machines are signed with
	// ready is what has to be there before the first machine boots.
	ready []pulumi.Resource
}

var _ components.Cloud = (*Cloud)(nil)

// New makes the cloud of one run.
func New(o Options) *Cloud { return &Cloud{options: o} }

// Boot says what machines fetch from the bucket.
func (c *Cloud) Boot() components.Boot {
	url := components.BucketURL(api.PlatformDigitalOcean, c.options.Region, c.options.Bucket)
	return components.BucketBoot(api.PlatformDigitalOcean, url, c.options.CIDR, c.options.Daemon)
}

// tags are a resource's tags as DigitalOcean has them: no keys, only text. The name is left out: it is a field there.
func tags(t components.Tags) pulumi.StringArray {
	var list []string
	for key, value := range t {
		if key != components.TagName {
			list = append(list, key+":"+value)
		}
	}
	slices.Sort(list)
	return pulumi.ToStringArray(list)
}

// roleTag is the tag that firewalls know the machines of a role by. Tags belong to the account: the stack is in it.
func roleTag(stack string, role api.Role) string { return api.ResourceName(stack, string(role)) }

// machineTags are the tags of machines: of one slot, or of any in an elastic group (node is zero).
func machineTags(stack string, role api.Role, node api.Identity) pulumi.StringArray {
	t := components.NewTags(stack).OfRole(role)
	if node.Name != "" {
		t = t.OfNode(node)
	}
	return append(tags(t), pulumi.String(roleTag(stack, role)))
}

// show puts resources into the stack's project.
func (c *Cloud) show(ctx *pulumi.Context, name string, urns ...pulumi.StringOutput) error {
	_, err := do.NewProjectResources(ctx, name, &do.ProjectResourcesArgs{
		Project:   c.project.ID(),
		Resources: stringArray(urns),
	})
	if err != nil {
		return fmt.Errorf("register %s in project %q: %w", name, c.options.Project, err)
	}
	return nil
}

func stringArray(outputs []pulumi.StringOutput) pulumi.StringArray {
	array := make(pulumi.StringArray, len(outputs))
	for i, o := range outputs {
		array[i] = o
	}
	return array
}
