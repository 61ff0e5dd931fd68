package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"devctl/internal/api"
	"devctl/internal/cli/planview"
	"devctl/internal/cli/progress"
	"devctl/stacks"
)

// drain moves what Redis has on data nodes that are about to be deleted to those that stay: the controllers get what runs now without
// these nodes, and nothing else of what the spec may have changed. When the network goes there is nobody to move it to.
func drain(ctx context.Context, d *deps, show *progress.Display, spec *stacks.Spec, losses []planview.Loss) error {
	going := deleted(losses, api.RoleData)
	if len(going) == 0 || networkGoes(losses) {
		return nil
	}
	out, err := readOutputs(ctx, d, spec.Stack)
	if err != nil || out == nil {
		return err
	}
	c, err := d.dial(out)
	if err != nil {
		return err
	}
	defer c.Close()
	what := strings.Join(going, ", ")
	fail := func(err error) error {
		return withNext(fmt.Errorf("move what Redis has on %s to the others, no machine was touched: %w", what, err), d.command("status")+" shows what is missing")
	}
	now, err := c.Assignments(ctx)
	if err != nil {
		return fail(err)
	}
	if now.Deployment == nil { // nothing was ever deployed
		return nil
	}
	staying := *now.Deployment
	staying.Nodes = slices.DeleteFunc(slices.Clone(staying.Nodes), func(n api.Identity) bool { return slices.Contains(going, n.Name) })
	deployed, err := c.Deploy(ctx, api.DeployRequest{Deployment: staying})
	if err != nil {
		return fail(err)
	}
	show.Start("Moving what Redis has on " + what + " to the others")
	moved := wait{node: what, until: "it has moved", timeout: healTimeout, fits: func(st api.Status) bool {
		return st.Deployed == deployed.Revision && st.Settled && st.Healthy
	}}
	if _, err := moved.run(ctx, d, c); err != nil {
		return fail(err)
	}
	show.Done("Moved what Redis had on " + what + " to the others")
	return nil
}
