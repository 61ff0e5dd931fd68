package components

import (
	"fmt"
	"path"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/internal/api"
)

// BundleArgs say which images machines fetch, and from where.
type BundleArgs struct {
	Platform api.Platform
	Region   string
	Bucket   pulumi.StringInput
	Images   []string // references
}

// bundle is the archive of one service's image in a bucket. The resource is devctl's own provider's: making it builds the
// image with Docker and uploads it, and nothing but that needs Docker. Its inputs are names, which follow from the image's
// sources: a preview needs no archive, and a second machine that runs the program makes none.
//
// Archives are never deleted but with their bucket: what is deployed may name an older one until the next deployment is done,
// and a machine that is new by then has to find it.
type bundle struct{ pulumi.CustomResourceState }

// NewBundles puts the archive of each image into the bucket. Each is a resource of its own, called after its service, so
// that an image that changes touches neither another archive nor any machine.
func NewBundles(ctx *pulumi.Context, args BundleArgs, opts ...pulumi.ResourceOption) ([]pulumi.Resource, error) {
	var all []pulumi.Resource
	for _, ref := range args.Images {
		service, _, _ := strings.Cut(path.Base(ref), ":")
		var b bundle
		err := ctx.RegisterResource("devctl:"+string(args.Platform)+":Bundle", service, pulumi.Map{
			"region": pulumi.String(args.Region),
			"bucket": args.Bucket,
			"key":    pulumi.String(FolderImages + "/" + api.ImageArchive(ref)),
			"image":  pulumi.String(ref),
		}, &b, opts...)
		if err != nil {
			return nil, fmt.Errorf("register image bundle %s: %w", service, err)
		}
		all = append(all, &b)
	}
	return all, nil
}
