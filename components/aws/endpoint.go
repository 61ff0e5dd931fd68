package aws

import (
	"fmt"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/ec2"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/route53"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
)

// nameTTL is for how many seconds others may keep the endpoint's name. Its address stays the same for as long as the
// stack lives, whichever machine has it.
const nameTTL = 300

// Endpoint reserves an Elastic IP, and gives it a name if there is a zone for it. Which balancer has the address is not the
// program's business: the one that takes it tells AWS so, and the next run must not give it back.
func (c *Cloud) Endpoint(ctx *pulumi.Context, args components.EndpointArgs) (components.Endpoint, error) {
	ip, err := ec2.NewEip(ctx, "endpoint", &ec2.EipArgs{
		Domain: pulumi.String("vpc"),
		Tags:   tags(components.NewTags(args.Stack, "endpoint")),
	}, c.own(pulumi.IgnoreChanges([]string{"instance", "networkInterface", "associateWithPrivateIp"})))
	if err != nil {
		return components.Endpoint{}, fmt.Errorf("register Elastic IP of the endpoint: %w", err)
	}
	if c.options.HostedZone != "" {
		_, err := route53.NewRecord(ctx, "endpoint", &route53.RecordArgs{
			ZoneId:  pulumi.String(c.options.HostedZone),
			Name:    pulumi.String(args.Domain),
			Type:    pulumi.String("A"),
			Ttl:     pulumi.Int(nameTTL),
			Records: pulumi.StringArray{ip.PublicIp},
		}, c.own())
		if err != nil {
			return components.Endpoint{}, fmt.Errorf("register name %s of the endpoint: %w", args.Domain, err)
		}
	}
	return components.Endpoint{Address: ip.PublicIp, ID: ip.AllocationId}, nil
}
