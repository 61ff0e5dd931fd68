package provider

import (
	"context"
	"slices"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"

	"devctl/internal/api"
	"devctl/internal/localcloud"
)

// nodeGroup is the machines of one role.
type nodeGroup struct{ cloud docker }

type nodeGroupArgs struct {
	Stack   string        `pulumi:"stack"`
	Role    string        `pulumi:"role"`
	Nodes   []machineArgs `pulumi:"nodes"` // in slot order
	Network string        `pulumi:"network"`
	Image   string        `pulumi:"image"`
	Store   string        `pulumi:"store"`
	Config  string        `pulumi:"config"`                    // Ignition, public
	Secrets string        `pulumi:"secrets" provider:"secret"` // Ignition with the role's keys
	Units   []string      `pulumi:"units"`                     // must be active before a node counts as ready
}

type machineArgs struct {
	Name    string `pulumi:"name"`
	Zone    string `pulumi:"zone"`
	Address string `pulumi:"address"`
}

type nodeGroupState struct {
	nodeGroupArgs
	// Machines are those that run and are ready: a hash of what each was made from, by name.
	Machines map[string]string `pulumi:"machines"`
	// Formed: the group was complete once.
	Formed bool `pulumi:"formed"`
}

func (*nodeGroup) Annotate(a infer.Annotator) { a.SetToken("local", "NodeGroup") }

func (args nodeGroupArgs) group() localcloud.Group {
	g := localcloud.Group{
		Stack: args.Stack, Role: api.Role(args.Role), Network: args.Network, Image: args.Image, Store: args.Store,
		Config: args.Config, Secrets: args.Secrets, Units: args.Units,
	}
	for _, m := range args.Nodes {
		g.Nodes = append(g.Nodes, api.Identity{Stack: args.Stack, Name: m.Name, Role: g.Role, Zone: m.Zone, Address: m.Address})
	}
	return g
}

// machines is what of nodes counts.
func machines(nodes []localcloud.Node) map[string]string {
	m := map[string]string{}
	for _, n := range nodes {
		if n.Running && n.Ready {
			m[n.Name] = n.Fingerprint
		}
	}
	return m
}

func (n nodeGroup) Create(ctx context.Context, req infer.CreateRequest[nodeGroupArgs]) (infer.CreateResponse[nodeGroupState], error) {
	resp := infer.CreateResponse[nodeGroupState]{
		ID:     api.ResourceName(req.Inputs.Stack, req.Inputs.Role),
		Output: nodeGroupState{nodeGroupArgs: req.Inputs},
	}
	if req.DryRun {
		return resp, nil
	}
	var err error
	resp.Output, err = n.converge(ctx, resp.Output)
	return resp, err
}

func (n nodeGroup) Update(ctx context.Context, req infer.UpdateRequest[nodeGroupArgs, nodeGroupState]) (infer.UpdateResponse[nodeGroupState], error) {
	out := nodeGroupState{nodeGroupArgs: req.Inputs, Machines: req.State.Machines, Formed: req.State.Formed}
	if req.DryRun {
		return infer.UpdateResponse[nodeGroupState]{Output: out}, nil
	}
	out, err := n.converge(ctx, out)
	return infer.UpdateResponse[nodeGroupState]{Output: out}, err
}

// converge does the work of create and update. When it fails half-way the state keeps what was made, and the next
// update goes on from there.
func (n nodeGroup) converge(ctx context.Context, out nodeGroupState) (nodeGroupState, error) {
	n.cloud.Want(out.group())
	nodes, err := n.cloud.Converge(ctx, out.group(), out.Formed, reporter(ctx))
	out.Machines = machines(nodes)
	if err != nil {
		return out, infer.ResourceInitFailedError{Reasons: []string{err.Error()}}
	}
	out.Formed = true
	return out, nil
}

// Diff compares what exists with what should, not inputs with inputs: a machine that a refresh found missing is a
// difference too. It is asked of every group in every run, and so knows what also those are to be that stay as they are.
func (n nodeGroup) Diff(_ context.Context, req infer.DiffRequest[nodeGroupArgs, nodeGroupState]) (infer.DiffResponse, error) {
	n.cloud.Want(req.Inputs.group())
	return diffNodeGroup(req.Inputs, req.State), nil
}

func diffNodeGroup(want nodeGroupArgs, have nodeGroupState) infer.DiffResponse {
	differences := map[string]p.PropertyDiff{}
	note := func(property string, differs bool, difference p.PropertyDiff) {
		if differs {
			differences[property] = difference
		}
	}
	note("stack", want.Stack != have.Stack, replaced())
	note("role", want.Role != have.Role, replaced())
	note("network", want.Network != have.Network, replaced())
	note("nodes", !slices.Equal(want.Nodes, have.Nodes), changed())
	note("image", want.Image != have.Image, changed())
	note("store", want.Store != have.Store, changed())
	note("config", want.Config != have.Config, changed())
	note("secrets", want.Secrets != have.Secrets, changed())
	note("units", !slices.Equal(want.Units, have.Units), changed())

	group, surplus := want.group(), len(have.Machines)
	for _, node := range group.Nodes {
		fingerprint, exists := have.Machines[node.Name]
		if exists {
			surplus--
		}
		note("machines", !exists || fingerprint != group.Fingerprint(node), p.PropertyDiff{Kind: p.Update})
	}
	note("machines", surplus > 0, p.PropertyDiff{Kind: p.Update})
	return infer.DiffResponse{HasChanges: len(differences) > 0, DeleteBeforeReplace: true, DetailedDiff: differences}
}

func (n nodeGroup) Read(ctx context.Context, req infer.ReadRequest[nodeGroupArgs, nodeGroupState]) (infer.ReadResponse[nodeGroupArgs, nodeGroupState], error) {
	role := api.Role(req.State.Role)
	nodes, err := n.cloud.Nodes(ctx, req.State.Stack, role)
	if err != nil {
		return infer.ReadResponse[nodeGroupArgs, nodeGroupState]{}, err
	}
	gone := len(nodes) == 0
	if gone && role == api.RoleMain {
		// Mains that are gone while others live took a cluster with them. Only a stack that is gone altogether may
		// be made anew without a word.
		others, err := n.cloud.Nodes(ctx, req.State.Stack, "")
		if err != nil {
			return infer.ReadResponse[nodeGroupArgs, nodeGroupState]{}, err
		}
		gone = len(others) == 0
	}
	if gone {
		return infer.ReadResponse[nodeGroupArgs, nodeGroupState]{}, nil
	}
	req.State.Machines = machines(nodes)
	return infer.ReadResponse[nodeGroupArgs, nodeGroupState](req), nil
}

func (n nodeGroup) Delete(ctx context.Context, req infer.DeleteRequest[nodeGroupState]) (infer.DeleteResponse, error) {
	return infer.DeleteResponse{}, n.cloud.RemoveGroup(ctx, req.State.Stack, api.Role(req.State.Role), reporter(ctx))
}
