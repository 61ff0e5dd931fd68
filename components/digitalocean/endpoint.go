package digitalocean

import (
	"fmt"

	do "github.com/pulumi/pulumi-digitalocean/sdk/v4/go/digitalocean"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
)

// Endpoint reserves an address. Which balancer has it is not the program's business: the one that takes it tells
// DigitalOcean so, and the next run must not give it back.
func (c *Cloud) Endpoint(ctx *pulumi.Context, _ components.EndpointArgs) (components.Endpoint, error) {
	ip, err := do.NewReservedIp(ctx, "endpoint", &do.ReservedIpArgs{Region: pulumi.String(c.options.Region)},
		pulumi.IgnoreChanges([]string{"dropletId"}))
	if err != nil {
		return components.Endpoint{}, fmt.Errorf("register reserved IP: %w", err)
	}
	if err := c.show(ctx, "endpoint", ip.ReservedIpUrn); err != nil {
		return components.Endpoint{}, err
	}
	return components.Endpoint{Address: ip.IpAddress, ID: ip.IpAddress}, nil
}
