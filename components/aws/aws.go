// Package aws is the cloud of that name: a VPC with a public subnet in each zone, autoscaling groups, an Elastic IP, and a
// private bucket from which machines fetch what they boot with.
//
// Main and data nodes are slots: each is an autoscaling group of one machine in the slot's zone, whose launch template
// names the slot's own network interface. So whatever machine AWS puts there has the slot's address and name. AWS replaces
// the machine of a slot when it dies, and never for a change: that is devctl's to order. Workers are one elastic group.
//
// Three things cannot be had at the price of a simple network, and are left out on purpose. Data nodes have no address
// outside: there is no NAT gateway, they reach the bucket through the VPC's own endpoint for S3, and people reach them
// through a main node. The endpoint's address belongs to the stack, but no association with a machine is in the program:
// the balancers move it. And there is no network ACL: security groups say all.
package aws

import (
	"fmt"

	aws "github.com/pulumi/pulumi-aws/sdk/v6/go/aws"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/internal/api"
)

// Options are what a stack needs to know of AWS.
type Options struct {
	Region     string
	CIDR       string // of the network
	Bucket     string
	Release    string // of Fedora CoreOS
	HostedZone string // ID; empty: the endpoint gets no name
	RootGiB    int    // disk of main nodes and workers
	DataGiB    int    // disk of data nodes

	Daemon components.Daemon
	Images []string // references of the services' images
}

// Cloud registers the resources of one run of one stack.
type Cloud struct {
	options  Options
	provider *aws.Provider

	vpc     pulumi.IDOutput
	subnets map[string]pulumi.IDOutput // by zone
	groups  map[api.Role]pulumi.IDOutput
	out     pulumi.Resource     // the way to the internet
	s3      pulumi.StringOutput // ID of the list of S3's addresses in the region
	bucket  pulumi.StringOutput
	guards  []pulumi.Resource // what has to be there before anything is put into the bucket
	// ready is what has to be there before the first machine boots: Ignition tries again when it gets no answer, but a
	// refusal is final.
	ready []pulumi.Resource
}

var _ components.Cloud = (*Cloud)(nil)

// New makes the cloud of one run.
func New(o Options) *Cloud {
	return &Cloud{options: o, subnets: map[string]pulumi.IDOutput{}, groups: map[api.Role]pulumi.IDOutput{}}
}

// Boot says what machines fetch from the bucket.
func (c *Cloud) Boot() components.Boot {
	url := components.BucketURL(api.PlatformAWS, c.options.Region, c.options.Bucket)
	return components.BucketBoot(api.PlatformAWS, url, c.options.CIDR, c.options.Daemon)
}

// own is what every resource of the stack is registered with: the one provider, which knows the region. A provider of
// its own for each part would cost seconds and hundreds of megabytes each.
func (c *Cloud) own(more ...pulumi.ResourceOption) pulumi.ResourceOption {
	return pulumi.Composite(append([]pulumi.ResourceOption{pulumi.Provider(c.provider)}, more...)...)
}

// openProvider registers the provider. Credentials are those that the AWS CLI would use.
func (c *Cloud) openProvider(ctx *pulumi.Context) (err error) {
	c.provider, err = aws.NewProvider(ctx, "aws", &aws.ProviderArgs{Region: pulumi.String(c.options.Region)})
	if err != nil {
		return fmt.Errorf("register the provider for region %s: %w", c.options.Region, err)
	}
	return nil
}

func tags(t components.Tags) pulumi.StringMap { return pulumi.ToStringMap(t) }
