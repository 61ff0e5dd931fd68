package digitalocean

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	do "github.com/pulumi/pulumi-digitalocean/sdk/v4/go/digitalocean"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/internal/api"
)

// Network creates the VPC, the project, and a firewall for each role. A firewall holds for whatever has the role's tag,
// also for machines that a pool makes later, and also between machines of the VPC.
func (c *Cloud) Network(ctx *pulumi.Context, args components.NetworkArgs) (components.Network, error) {
	var err error
	c.project, err = do.NewProject(ctx, "project", &do.ProjectArgs{
		Name:        pulumi.String(c.options.Project),
		Description: pulumi.String("Stack " + args.Stack + " of devctl"),
		Purpose:     pulumi.String("Service or API"),
	})
	if err != nil {
		return components.Network{}, fmt.Errorf("register project %q: %w", c.options.Project, err)
	}
	// The range is in the name because a VPC of another range has to be there before the old one can go: names are unique.
	// The provider deletes first whatever has a name from a program, unless it is told not to.
	vpc, err := do.NewVpc(ctx, "network", &do.VpcArgs{
		Name:        pulumi.String(api.ResourceName(args.Stack, components.Hyphens(args.CIDR))),
		Description: pulumi.String("Stack " + args.Stack + " of devctl"),
		IpRange:     pulumi.String(args.CIDR),
		Region:      pulumi.String(c.options.Region),
	}, pulumi.DeleteBeforeReplace(false))
	if err != nil {
		return components.Network{}, fmt.Errorf("register VPC: %w", err)
	}
	if err := c.firewalls(ctx, args); err != nil {
		return components.Network{}, err
	}
	return components.Network{ID: vpc.ID().ToStringOutput()}, nil
}

func (c *Cloud) firewalls(ctx *pulumi.Context, args components.NetworkArgs) error {
	var made []pulumi.Resource
	for _, role := range api.Roles() {
		tag, err := do.NewTag(ctx, string(role), &do.TagArgs{Name: pulumi.String(roleTag(args.Stack, role))})
		if err != nil {
			return fmt.Errorf("register tag of role %s: %w", role, err)
		}
		made = append(made, tag) // a rule may name only tags that are there
	}
	for _, role := range api.Roles() {
		firewall, err := do.NewFirewall(ctx, string(role), &do.FirewallArgs{
			Name:          pulumi.String(api.ResourceName(args.Stack, string(role))),
			Tags:          pulumi.StringArray{pulumi.String(roleTag(args.Stack, role))},
			InboundRules:  inbound(args.Stack, role, args.Access.Rules()),
			OutboundRules: outbound(args.CIDR),
		}, pulumi.DependsOn(made))
		if err != nil {
			return fmt.Errorf("register firewall of role %s: %w", role, err)
		}
		c.ready = append(c.ready, firewall)
	}
	return nil
}

// inbound are the rules that concern a role, one for each port or range of ports: DigitalOcean allows 50 for a firewall.
//
// VRRP is not among them. DigitalOcean's rules know TCP, UDP and ICMP only; who holds the address there is not decided
// by VRRP.
func inbound(stack string, role api.Role, rules []components.Rule) do.FirewallInboundRuleArray {
	type ports struct{ first, last int }
	type from struct{ tags, cidrs []string }
	opened := map[ports]from{}
	for _, r := range rules {
		if r.Role != role || r.Protocol != components.TCP {
			continue
		}
		key := ports{r.First, r.Last}
		who := opened[key]
		if r.From != "" {
			who.tags = append(who.tags, roleTag(stack, r.From))
		}
		who.cidrs = append(who.cidrs, r.CIDRs...)
		opened[key] = who
	}
	var order []ports
	for key := range opened {
		order = append(order, key)
	}
	slices.SortFunc(order, func(a, b ports) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last)) })
	out := do.FirewallInboundRuleArray{}
	for _, key := range order {
		rule := do.FirewallInboundRuleArgs{Protocol: pulumi.String(components.TCP), PortRange: pulumi.String(portRange(key.first, key.last))}
		if who := opened[key]; len(who.tags) > 0 {
			rule.SourceTags = sorted(who.tags)
		}
		if who := opened[key]; len(who.cidrs) > 0 {
			rule.SourceAddresses = sorted(who.cidrs)
		}
		out = append(out, rule)
	}
	return out
}

// outbound is what every machine may reach: the others in the VPC, which let in nothing but TCP, and outside of it what it
// cannot live without. A firewall closes whatever no rule opens, DHCP included, without which a droplet of an image of one's own
// loses its address.
func outbound(cidr string) do.FirewallOutboundRuleArray {
	const metadata = "169.254.169.254/32"
	anywhere := []string{"0.0.0.0/0"}
	rule := func(protocol, ports string, to []string) do.FirewallOutboundRuleArgs {
		return do.FirewallOutboundRuleArgs{
			Protocol: pulumi.String(protocol), PortRange: pulumi.String(ports), DestinationAddresses: pulumi.ToStringArray(to),
		}
	}
	return do.FirewallOutboundRuleArray{
		rule("tcp", "1-65535", []string{cidr}),
		rule("tcp", "80", []string{metadata}), // user data, and who the machine is
		rule("tcp", "443", anywhere),          // Spaces, and DigitalOcean's API
		rule("udp", "67", anywhere),           // DHCP
		rule("tcp", "53", anywhere),
		rule("udp", "53", anywhere),
		rule("udp", "123", anywhere), // NTP: certificates and leases need the time
	}
}

func portRange(first, last int) string {
	if first == last {
		return strconv.Itoa(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

func sorted(values []string) pulumi.StringArray {
	return pulumi.ToStringArray(slices.Compact(slices.Sorted(slices.Values(values))))
}
