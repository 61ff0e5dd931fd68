package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"devctl/stacks"
)

type stackRemoveOptions struct {
	keepSpec bool
}

func newStackRemoveCommand(d *deps) *cobra.Command {
	var opts stackRemoveOptions
	cmd := &cobra.Command{
		Use:     "rm NAME",
		Aliases: []string{"remove"},
		Short:   "Forget a stack that has no resources",
		Long: `Removes a stack's spec file, its entry in the state and the secrets that were imported for it. It refuses while the
stack has resources: "devctl destroy" removes those. It asks you to type the stack's name unless --yes is given.`,
		Example: `  devctl destroy -s alpha && devctl stack rm alpha
  devctl stack rm alpha --keep-spec     # leaves stacks/Pulumi.alpha.yaml`,
		Args:              exactly("NAME"),
		ValidArgsFunction: firstStack(d),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := mayAsk(cmd, d); err != nil {
				return err
			}
			return runStackRemove(cmd.Context(), d, args[0], opts)
		},
	}
	cmd.Flags().BoolVar(&opts.keepSpec, "keep-spec", false, "leave the spec file where it is")
	return cmd
}

func runStackRemove(ctx context.Context, d *deps, stack string, opts stackRemoveOptions) error {
	project, err := stacks.FindProject(d.global.dir)
	if err != nil {
		return err
	}
	names, err := project.Stacks()
	if err != nil {
		return err
	}
	hasSpec := slices.Contains(names, stack)
	state, err := d.state(ctx, stack, false)
	if err != nil {
		return err
	}
	if !hasSpec && !state.Exists() {
		return &stacks.NotFoundError{Stack: stack, Project: project, Existing: names}
	}
	if err := d.mustBeEmpty(ctx, project, state, stack); err != nil {
		return err
	}
	removesSpec := hasSpec && !opts.keepSpec && project.Root != ""
	what := "what devctl keeps of stack " + stack
	if removesSpec {
		what = "stack " + stack + " with its spec"
	}
	if err := confirmName(ctx, d, fmt.Sprintf("This removes %s.\nType the name of the stack to go on: ", what), stack); err != nil {
		return err
	}
	if state.Exists() {
		if err := state.Remove(ctx); err != nil {
			return err
		}
	}
	if err := state.Forget(); err != nil {
		return err
	}
	if removesSpec {
		file, err := project.Delete(stack)
		if err != nil {
			return err
		}
		d.say("Removed %s.", file)
	}
	if d.global.selected == stack {
		if err := d.remember(project, defaultStack); err != nil {
			return err
		}
		d.say("Commands in this project work on stack %s again.", defaultStack)
	}
	d.say("Stack %s is forgotten.", stack)
	return nil
}

// mustBeEmpty refuses to go on when there is anything of the stack, in its state or on this machine.
func (d *deps) mustBeEmpty(ctx context.Context, project *stacks.Project, state stateStore, stack string) error {
	on := *d
	on.global.stack = stack
	next := on.command("destroy") + " removes them"
	if state.Exists() {
		resources, err := state.Resources(ctx)
		if err != nil {
			return err
		}
		if len(resources) > 0 {
			return withNext(fmt.Errorf("stack %q has %s, nothing was removed", stack, count(len(resources), "resource", "resources")), next)
		}
	}
	if spec, err := project.Load(stack); err == nil && spec.Provider != stacks.ProviderLocal {
		return nil
	}
	left, err := d.leftovers(ctx, stack)
	if err != nil {
		return withNext(fmt.Errorf("look whether there is anything of stack %q on this machine, nothing was removed: %w", stack, err), d.command("doctor"))
	}
	if len(left) > 0 {
		return withNext(errors.New("there is still "+kinds(left)+" of stack "+stack+", nothing was removed"), next)
	}
	return nil
}
