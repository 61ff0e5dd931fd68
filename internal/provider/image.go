package provider

import (
	"context"
	"fmt"
	"slices"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"

	"devctl/images"
)

// image is what nodes boot from and run: the node image and the artifacts volume. Both are a cache that stacks share.
type image struct {
	cloud docker
	set   *images.Set
}

// imageArgs name the content, so that a preview shows what changes and a build happens only then.
type imageArgs struct {
	NodeImage string   `pulumi:"nodeImage"`
	Services  []string `pulumi:"services"`
	Store     string   `pulumi:"store"`
}

type imageState struct{ imageArgs }

func (*image) Annotate(a infer.Annotator) { a.SetToken("local", "Image") }

func (i image) Create(ctx context.Context, req infer.CreateRequest[imageArgs]) (infer.CreateResponse[imageState], error) {
	resp := infer.CreateResponse[imageState]{ID: req.Inputs.Store, Output: imageState{req.Inputs}}
	if req.DryRun {
		return resp, nil
	}
	return resp, i.ensure(ctx, req.Inputs)
}

func (i image) Update(ctx context.Context, req infer.UpdateRequest[imageArgs, imageState]) (infer.UpdateResponse[imageState], error) {
	resp := infer.UpdateResponse[imageState]{Output: imageState{req.Inputs}}
	if req.DryRun {
		return resp, nil
	}
	return resp, i.ensure(ctx, req.Inputs)
}

func (i image) ensure(ctx context.Context, args imageArgs) error {
	if args.Store != i.set.Store || args.NodeImage != i.set.Node.Ref {
		return fmt.Errorf("make %s available: this devctl makes %s", args.Store, i.set.Store)
	}
	return i.cloud.EnsureArtifacts(ctx, i.set, reporter(ctx))
}

func (i image) Diff(_ context.Context, req infer.DiffRequest[imageArgs, imageState]) (infer.DiffResponse, error) {
	differences := map[string]p.PropertyDiff{}
	if req.Inputs.NodeImage != req.State.NodeImage {
		differences["nodeImage"] = changed()
	}
	if !slices.Equal(req.Inputs.Services, req.State.Services) {
		differences["services"] = changed()
	}
	if req.Inputs.Store != req.State.Store {
		differences["store"] = changed()
	}
	return infer.DiffResponse{HasChanges: len(differences) > 0, DetailedDiff: differences}, nil
}

func (i image) Read(ctx context.Context, req infer.ReadRequest[imageArgs, imageState]) (infer.ReadResponse[imageArgs, imageState], error) {
	found, err := i.cloud.HasArtifacts(ctx, req.State.NodeImage, req.State.Store)
	if err != nil || !found {
		return infer.ReadResponse[imageArgs, imageState]{}, err
	}
	return infer.ReadResponse[imageArgs, imageState](req), nil
}

// Delete keeps the cache: other stacks use it, and the next `devctl up` starts in seconds with it.
// `devctl destroy --purge-cache` removes it.
func (i image) Delete(context.Context, infer.DeleteRequest[imageState]) (infer.DeleteResponse, error) {
	return infer.DeleteResponse{}, nil
}
