package provider

import (
	"context"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"

	"devctl/internal/localcloud"
)

// network is the Docker network of a stack.
type network struct{ cloud docker }

type networkArgs struct {
	Stack string `pulumi:"stack"`
	CIDR  string `pulumi:"cidr"`
}

type networkState struct {
	networkArgs
	Name string `pulumi:"name"`
}

func (*network) Annotate(a infer.Annotator) { a.SetToken("local", "Network") }

func (n network) Create(ctx context.Context, req infer.CreateRequest[networkArgs]) (infer.CreateResponse[networkState], error) {
	name := localcloud.NetworkName(req.Inputs.Stack)
	resp := infer.CreateResponse[networkState]{ID: name, Output: networkState{req.Inputs, name}}
	if req.DryRun {
		return resp, nil
	}
	return resp, n.cloud.EnsureNetwork(ctx, req.Inputs.Stack, req.Inputs.CIDR)
}

func (n network) Read(ctx context.Context, req infer.ReadRequest[networkArgs, networkState]) (infer.ReadResponse[networkArgs, networkState], error) {
	cidr, err := n.cloud.FindNetwork(ctx, req.State.Stack)
	if err != nil || cidr == "" {
		return infer.ReadResponse[networkArgs, networkState]{}, err
	}
	req.State.CIDR = cidr
	return infer.ReadResponse[networkArgs, networkState](req), nil
}

// Diff: the addresses of a network cannot change, and it has to be gone before its successor can have its name.
func (n network) Diff(_ context.Context, req infer.DiffRequest[networkArgs, networkState]) (infer.DiffResponse, error) {
	differences := map[string]p.PropertyDiff{}
	if req.Inputs.Stack != req.State.Stack {
		differences["stack"] = replaced()
	}
	if req.Inputs.CIDR != req.State.CIDR {
		differences["cidr"] = replaced()
	}
	return infer.DiffResponse{HasChanges: len(differences) > 0, DeleteBeforeReplace: true, DetailedDiff: differences}, nil
}

func (n network) Delete(ctx context.Context, req infer.DeleteRequest[networkState]) (infer.DeleteResponse, error) {
	return infer.DeleteResponse{}, n.cloud.RemoveNetwork(ctx, req.State.Stack)
}
