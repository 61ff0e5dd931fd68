package provider

import (
	"context"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"

	"devctl/internal/api"
	"devctl/internal/bundle"
)

// Bundles are the archives of service images in the clouds' buckets: a *bundle.Store, or Paper.
type Bundles interface {
	Upload(ctx context.Context, at bundle.Location, image string, log func(string)) error
	Exists(ctx context.Context, at bundle.Location) (bool, error)
}

var (
	_ Bundles = (*bundle.Store)(nil)
	_ Bundles = Paper{}
)

// bundleArgs name the content, so that a preview shows what changes and a build happens only then.
type bundleArgs struct {
	Region string `pulumi:"region"`
	Bucket string `pulumi:"bucket"`
	Key    string `pulumi:"key"`
	Image  string `pulumi:"image"`
}

type bundleState struct{ bundleArgs }

// imageBundle is the bundle in a bucket of one of the clouds. It has no Delete: what runs may still name an image when the
// program names another, and a machine that takes the place of one has to find it. Bundles go with their bucket.
type imageBundle struct {
	bundles  Bundles
	platform api.Platform
}

func (b imageBundle) at(args bundleArgs) bundle.Location {
	return bundle.Location{Platform: b.platform, Region: args.Region, Bucket: args.Bucket, Key: args.Key}
}

func (b imageBundle) Create(ctx context.Context, req infer.CreateRequest[bundleArgs]) (infer.CreateResponse[bundleState], error) {
	resp := infer.CreateResponse[bundleState]{ID: b.at(req.Inputs).String(), Output: bundleState{req.Inputs}}
	if req.DryRun {
		return resp, nil
	}
	return resp, b.bundles.Upload(ctx, b.at(req.Inputs), req.Inputs.Image, reporter(ctx))
}

// Diff replaces a bundle that is to be another: it is what its name says, and machines that boot meanwhile want the old one.
func (b imageBundle) Diff(_ context.Context, req infer.DiffRequest[bundleArgs, bundleState]) (infer.DiffResponse, error) {
	differences := map[string]p.PropertyDiff{}
	for name, same := range map[string]bool{
		"region": req.Inputs.Region == req.State.Region,
		"bucket": req.Inputs.Bucket == req.State.Bucket,
		"key":    req.Inputs.Key == req.State.Key,
		"image":  req.Inputs.Image == req.State.Image,
	} {
		if !same {
			differences[name] = replaced()
		}
	}
	return infer.DiffResponse{HasChanges: len(differences) > 0, DetailedDiff: differences}, nil
}

func (b imageBundle) Read(ctx context.Context, req infer.ReadRequest[bundleArgs, bundleState]) (infer.ReadResponse[bundleArgs, bundleState], error) {
	found, err := b.bundles.Exists(ctx, b.at(req.State.bundleArgs))
	if err != nil || !found {
		return infer.ReadResponse[bundleArgs, bundleState]{}, err
	}
	return infer.ReadResponse[bundleArgs, bundleState](req), nil
}

// The same resource for each cloud, so that a stack's resources say where they are.
type (
	awsBundle          struct{ imageBundle }
	digitalOceanBundle struct{ imageBundle }
)

func (*awsBundle) Annotate(a infer.Annotator)          { a.SetToken("aws", "Bundle") }
func (*digitalOceanBundle) Annotate(a infer.Annotator) { a.SetToken("digitalocean", "Bundle") }
