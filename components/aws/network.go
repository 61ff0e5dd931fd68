package aws

import (
	"fmt"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/ec2"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/internal/api"
)

const anywhere = "0.0.0.0/0"

// Network creates the VPC, a public subnet in each zone, and the security groups of the roles.
func (c *Cloud) Network(ctx *pulumi.Context, args components.NetworkArgs) (components.Network, error) {
	if err := c.openProvider(ctx); err != nil {
		return components.Network{}, err
	}
	vpc, err := ec2.NewVpc(ctx, "network", &ec2.VpcArgs{
		CidrBlock:          pulumi.String(args.CIDR),
		EnableDnsSupport:   pulumi.Bool(true),
		EnableDnsHostnames: pulumi.Bool(true),
		Tags:               tags(components.NewTags(args.Stack)),
	}, c.own())
	if err != nil {
		return components.Network{}, fmt.Errorf("register VPC: %w", err)
	}
	c.vpc = vpc.ID()
	table, err := c.routes(ctx, args.Stack)
	if err != nil {
		return components.Network{}, err
	}
	for _, zone := range args.Zones {
		if err := c.subnet(ctx, args.Stack, zone, table); err != nil {
			return components.Network{}, fmt.Errorf("register subnet in %s: %w", zone.Name, err)
		}
	}
	if err := c.firewall(ctx, args); err != nil {
		return components.Network{}, err
	}
	return components.Network{ID: c.vpc.ToStringOutput()}, nil
}

// routes registers the way out, and the way to the bucket for machines that have no other.
func (c *Cloud) routes(ctx *pulumi.Context, stack string) (table pulumi.IDOutput, err error) {
	gateway, err := ec2.NewInternetGateway(ctx, "network", &ec2.InternetGatewayArgs{
		VpcId: c.vpc, Tags: tags(components.NewTags(stack)),
	}, c.own(
		// AWS takes no gateway away from a network in which public addresses are in use: another network gets another one.
		pulumi.ReplaceOnChanges([]string{"vpcId"}),
	))
	if err != nil {
		return table, fmt.Errorf("register internet gateway: %w", err)
	}
	routes, err := ec2.NewRouteTable(ctx, "public", &ec2.RouteTableArgs{
		VpcId: c.vpc, Tags: tags(components.NewTags(stack, "public")),
	}, c.own())
	if err != nil {
		return table, fmt.Errorf("register route table: %w", err)
	}
	table = routes.ID()
	out, err := ec2.NewRoute(ctx, "internet", &ec2.RouteArgs{
		RouteTableId:         table,
		DestinationCidrBlock: pulumi.String(anywhere),
		GatewayId:            gateway.ID(),
	}, c.own())
	if err != nil {
		return table, fmt.Errorf("register route to the internet: %w", err)
	}
	endpoint, err := ec2.NewVpcEndpoint(ctx, "s3", &ec2.VpcEndpointArgs{
		VpcId:           c.vpc,
		ServiceName:     pulumi.String("com.amazonaws." + c.options.Region + ".s3"),
		VpcEndpointType: pulumi.String("Gateway"),
		RouteTableIds:   pulumi.StringArray{table},
		Policy:          pulumi.String(endpointPolicy(c.options.Bucket)),
		Tags:            tags(components.NewTags(stack, "s3")),
	}, c.own())
	if err != nil {
		return table, fmt.Errorf("register endpoint for S3: %w", err)
	}
	c.out, c.s3 = out, endpoint.PrefixListId
	c.ready = append(c.ready, out, endpoint)
	return table, nil
}

// subnet registers the part of the network in one zone. AWS gives out addresses of its upper half only: the lower one is
// for slots.
func (c *Cloud) subnet(ctx *pulumi.Context, stack string, zone components.Zone, table pulumi.IDOutput) error {
	subnet, err := ec2.NewSubnet(ctx, zone.Name, &ec2.SubnetArgs{
		VpcId:            c.vpc,
		AvailabilityZone: pulumi.String(zone.Name),
		CidrBlock:        pulumi.String(zone.CIDR),
		Tags:             tags(components.NewTags(stack, zone.Name)),
	}, c.own())
	if err != nil {
		return err
	}
	c.subnets[zone.Name] = subnet.ID()
	route, err := ec2.NewRouteTableAssociation(ctx, zone.Name, &ec2.RouteTableAssociationArgs{
		SubnetId: subnet.ID(), RouteTableId: table,
	}, c.own())
	if err != nil {
		return err
	}
	reservation, err := ec2.NewSubnetCidrReservation(ctx, zone.Name, &ec2.SubnetCidrReservationArgs{
		SubnetId:        subnet.ID(),
		CidrBlock:       pulumi.String(zone.Slots),
		ReservationType: pulumi.String("explicit"),
		Description:     pulumi.String("Main and data nodes"),
	}, c.own())
	c.ready = append(c.ready, route, reservation)
	return err
}

// firewall registers a security group for each role, with where its machines may go and what it lets in.
func (c *Cloud) firewall(ctx *pulumi.Context, args components.NetworkArgs) error {
	for _, role := range api.Roles() {
		name := string(role)
		group, err := ec2.NewSecurityGroup(ctx, name, &ec2.SecurityGroupArgs{
			Name:        pulumi.String(api.ResourceName(args.Stack, name)),
			Description: pulumi.String("The " + name + " nodes of stack " + args.Stack),
			VpcId:       c.vpc,
			Tags:        tags(components.NewTags(args.Stack, name).OfRole(role)),
		}, c.own(
			// In another network the name is free, and here no group can go while machines are in it. The provider deletes
			// first whatever has a name from a program, unless it is told not to.
			pulumi.DeleteBeforeReplace(false),
		))
		if err != nil {
			return fmt.Errorf("register security group of %s nodes: %w", role, err)
		}
		c.groups[role] = group.ID()
	}
	for _, role := range api.Roles() {
		if err := c.outbound(ctx, role, args.CIDR); err != nil {
			return err
		}
	}
	for _, r := range args.Access.Rules() {
		in := ec2.SecurityGroupRuleArgs{
			Type:     pulumi.String("ingress"),
			Protocol: pulumi.String(protocols[r.Protocol]),
			FromPort: pulumi.Int(r.First),
			ToPort:   pulumi.Int(r.Last),
		}
		switch r.From {
		case "":
			in.CidrBlocks = pulumi.ToStringArray(r.CIDRs)
		case r.Role:
			in.Self = pulumi.Bool(true)
		default:
			in.SourceSecurityGroupId = c.groups[r.From]
		}
		if err := c.rule(ctx, r.Role, r.Name, in); err != nil {
			return err
		}
	}
	return nil
}

// outbound registers where the machines of a role may go: to one another, where each one's own rules say who gets in, and
// to the bucket. Workers, which move the endpoint's address, and main nodes, whose controllers resize the workers' group, ask
// more of AWS, at addresses that nobody can name beforehand. Names and time come from addresses that security groups do not
// apply to.
func (c *Cloud) outbound(ctx *pulumi.Context, role api.Role, cidr string) error {
	err := c.rule(ctx, role, "to-nodes", ec2.SecurityGroupRuleArgs{
		Type:       pulumi.String("egress"),
		Protocol:   pulumi.String("-1"), // all of them
		FromPort:   pulumi.Int(0),
		ToPort:     pulumi.Int(0),
		CidrBlocks: pulumi.StringArray{pulumi.String(cidr)},
	})
	if err != nil {
		return err
	}
	https := ec2.SecurityGroupRuleArgs{
		Type: pulumi.String("egress"), Protocol: pulumi.String("tcp"), FromPort: pulumi.Int(443), ToPort: pulumi.Int(443),
	}
	if role != api.RoleData {
		https.CidrBlocks = pulumi.StringArray{pulumi.String(anywhere)}
		return c.rule(ctx, role, "to-https", https)
	}
	https.PrefixListIds = pulumi.StringArray{c.s3}
	return c.rule(ctx, role, "to-s3", https)
}

// protocols are what security groups call them.
var protocols = map[components.Protocol]string{components.TCP: "tcp", components.VRRP: "112"}

func (c *Cloud) rule(ctx *pulumi.Context, role api.Role, name string, args ec2.SecurityGroupRuleArgs) error {
	args.SecurityGroupId = c.groups[role]
	args.Description = pulumi.String(name)
	rule, err := ec2.NewSecurityGroupRule(ctx, string(role)+"-"+name, &args, c.own())
	if err != nil {
		return fmt.Errorf("register rule %s of %s nodes: %w", name, role, err)
	}
	c.ready = append(c.ready, rule)
	return nil
}
