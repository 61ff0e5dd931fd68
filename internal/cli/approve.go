package cli

import (
	"context"
	"fmt"
	"strings"

	"devctl/internal/cli/planview"
	"devctl/internal/planfile"
	"devctl/stacks"
)

// approval is what up may do.
type approval struct {
	losses []planview.Loss // what it takes away that holds data, all of it allowed by name
	idle   bool            // no resource has to be touched
}

// approve makes sure that what up is about to do was approved: by the plan in a file, by --yes, or by an answer to a
// question. What takes away data needs its name besides.
func approve(ctx context.Context, d *deps, env environment, spec *stacks.Spec, approved *planfile.File, allowed []string) (approval, error) {
	switch {
	case approved != nil:
		return approveSaved(ctx, d, env, spec, *approved, allowed)
	case !d.global.yes:
		return approveAsking(ctx, d, env, spec, allowed)
	case !env.Exists(): // nothing is there that could be taken away
		return approval{}, guard(d, spec, nil, allowed)
	}
	plan, err := previewQuietly(ctx, d, env, spec)
	if err != nil {
		return plan, err
	}
	if err := guard(d, spec, plan.losses, allowed); err != nil || len(plan.losses) == 0 {
		return plan, err
	}
	return plan, deployable(previewDeployment(ctx, d, spec))
}

// approveSaved compares a plan that was approved before with what would be done now.
func approveSaved(ctx context.Context, d *deps, env environment, spec *stacks.Spec, approved planfile.File, allowed []string) (approval, error) {
	found, err := preview(ctx, d, env, spec)
	if err != nil {
		return approval{}, err
	}
	now, err := newPlan(ctx, d, env, spec, found)
	if err != nil {
		return approval{}, err
	}
	if differences := planfile.Compare(approved, now); len(differences) > 0 {
		text := "the plan is not what would be done now, nothing was touched:\n  " + strings.Join(differences, "\n  ")
		return approval{}, &nextError{err: &explainedError{text: text}, next: d.command("preview --save-plan FILE") + " makes a new plan"}
	}
	if err := guard(d, spec, found.plan.Losses, allowed); err != nil {
		return approval{}, err
	}
	return found.approval(), deployable(found.deployment)
}

// approveAsking shows what would change and asks. With nothing to change there is nothing to ask.
func approveAsking(ctx context.Context, d *deps, env environment, spec *stacks.Spec, allowed []string) (approval, error) {
	found, err := preview(ctx, d, env, spec)
	if err != nil {
		return approval{}, err
	}
	if !found.plan.Empty() {
		if err := writePlan(d.streams.Err, found.plan, d.errStyle()); err != nil {
			return approval{}, err
		}
	}
	if err := guard(d, spec, found.plan.Losses, allowed); err != nil {
		return approval{}, err
	}
	if err := deployable(found.deployment); err != nil || found.plan.Empty() {
		return found.approval(), err
	}
	return found.approval(), confirm(ctx, d, fmt.Sprintf("Make these changes to stack %s?", spec.Stack))
}

// deployable refuses a deployment that the controllers would refuse, before machines are changed for it.
func deployable(r redeployment) error {
	if len(r.obstacles) == 0 {
		return nil
	}
	return withNext(fmt.Errorf("the controllers would refuse the deployment, nothing was touched: %s", strings.Join(r.obstacles, "; ")),
		"change the stack's file back, or destroy the stack and bring it up anew")
}
