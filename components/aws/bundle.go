package aws

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// bundle is the archive of all service images in the bucket. The resource is devctl's own provider's: making it builds the
// images with Docker and uploads them, and nothing but that needs Docker. Its inputs are names, which follow from the
// images' sources: a preview needs no archive, and a second machine that runs the program makes none.
type bundle struct{ pulumi.CustomResourceState }

func (c *Cloud) uploadBundle(ctx *pulumi.Context, after []pulumi.Resource) (*bundle, error) {
	var b bundle
	err := ctx.RegisterResource("devctl:aws:Bundle", "images", pulumi.Map{
		"region": pulumi.String(c.options.Region),
		"bucket": c.bucket,
		"key":    pulumi.String(c.bundleKey()),
		"images": pulumi.ToStringArray(c.options.Images),
	}, &b, pulumi.DependsOn(after))
	if err != nil {
		return nil, fmt.Errorf("register image bundle: %w", err)
	}
	return &b, nil
}
