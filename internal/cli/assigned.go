package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"devctl/internal/api"
	"devctl/internal/cli/planview"
	"devctl/internal/engine"
	"devctl/internal/plan"
	"devctl/stacks"
)

// assignedTimeout is how long a preview waits for the controllers: without them it shows less.
const assignedTimeout = 5 * time.Second

// redeployment is what deploying the spec would change of what the nodes have to run.
type redeployment struct {
	view  planview.Deployment
	ops   []plan.Operation
	known bool // the controllers have answered, or there are none yet
	// obstacles are why the controllers would refuse the deployment.
	obstacles []string
}

// previewDeployment compares what the spec deploys with what the controllers say that the nodes have to run. It never
// fails: when nobody answers, the view says so.
func previewDeployment(ctx context.Context, d *deps, spec *stacks.Spec) redeployment {
	set, err := d.images()
	if err != nil {
		return unknownDeployment(err.Error())
	}
	out, err := readOutputs(ctx, d, spec.Stack)
	switch {
	case err != nil:
		return unknownDeployment(fmt.Sprintf("the stack's outputs cannot be read: %s", err))
	case out == nil:
		return newRedeployment(withUnnamed(spec.Deployment(set.Deployed(), nil)), api.Assigned{})
	}
	now, err := askAssigned(ctx, d, out)
	if err != nil {
		return unknownDeployment(err.Error())
	}
	return newRedeployment(spec.Deployment(set.Deployed(), out), now)
}

func unknownDeployment(why string) redeployment {
	return redeployment{view: planview.Deployment{Unknown: why}}
}

// readOutputs returns nil for a stack that is not up.
func readOutputs(ctx context.Context, d *deps, stack string) (*stacks.Outputs, error) {
	values, err := d.read(ctx, stack)
	if errors.Is(err, engine.ErrNoStack) || err == nil && len(values) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeOutputs(values)
}

func askAssigned(ctx context.Context, d *deps, out *stacks.Outputs) (api.Assigned, error) {
	c, err := d.dial(out)
	if err != nil {
		return api.Assigned{}, err
	}
	defer c.Close()
	asked, cancel := context.WithTimeout(ctx, assignedTimeout)
	defer cancel()
	now, err := c.Assignments(asked)
	refusal := &api.Error{}
	switch {
	case errors.As(err, &refusal) && refusal.Status == http.StatusNotFound:
		return now, errors.New("the controllers are of an older devctl and do not tell")
	case err != nil:
		return now, errors.New("the controllers do not answer")
	}
	return now, nil
}

// newRedeployment compares the deployment with what is assigned now.
func newRedeployment(want api.Deployment, now api.Assigned) redeployment {
	want = plan.Expected(want, now.Live, now.Silent, now.Assignments)
	r := redeployment{known: true, ops: plan.Assignments(want, now.Assignments), obstacles: plan.Obstacles(want, now.Assignments)}
	r.view.Before, r.view.After = now.Assignments, slices.Clone(now.Assignments)
	if now.Deployment != nil {
		r.view.PortBefore, r.view.PortAfter = now.Deployment.Balancer.Port, want.Balancer.Port
	}
	for _, op := range r.ops {
		r.view.After = slices.DeleteFunc(r.view.After, func(a api.Assignment) bool {
			return a.Node == op.Assignment.Node && a.Unit == op.Assignment.Unit
		})
		if op.Kind == plan.Put {
			r.view.After = append(r.view.After, op.Assignment)
		}
	}
	return r
}

// offlineDeployment is newRedeployment without anybody to ask: it compares with what another spec deploys, or with nothing
// where there is no state, and so no stack.
func offlineDeployment(spec, base *stacks.Spec, exists bool, refs api.ServiceImages) redeployment {
	now := api.Assigned{}
	switch {
	case base != nil:
		before := withUnnamed(base.Deployment(refs, nil))
		now.Deployment = &before
		for _, op := range plan.Assignments(before, nil) {
			now.Assignments = append(now.Assignments, op.Assignment)
		}
	case exists:
		return unknownDeployment("no controller was asked")
	}
	return newRedeployment(withUnnamed(spec.Deployment(refs, nil)), now)
}

// withUnnamed puts one node in the place of the load balancers to be, where workers name themselves and none is there to ask, and
// words in the place of an address that a cloud has not given yet.
func withUnnamed(d api.Deployment) api.Deployment {
	if d.Workers == nil {
		return d
	}
	d.Workers = nil
	name := fmt.Sprintf("%d of the workers", d.Balancer.Instances)
	d.Nodes = append(d.Nodes, api.Identity{Stack: d.Stack, Name: name, Role: api.RoleWorker})
	d.Endpoint.Address = cmp.Or(d.Endpoint.Address, "(the endpoint's address)")
	return d
}
