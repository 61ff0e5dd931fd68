package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"devctl/stacks"
)

type destroyOptions struct {
	purgeCache bool
}

func newDestroyCommand(d *deps) *cobra.Command {
	var opts destroyOptions
	cmd := &cobra.Command{
		Use:   "destroy",
		Short: "Remove a stack and everything in it",
		Long: `Removes the stack's nodes, network and data. It asks you to type the stack's name, and refuses without a terminal
unless --yes is given. It works on a stack that is broken or half made, also when its spec or its state is gone, and
never touches another one. Images stay for the next "up" unless --purge-cache is given.`,
		Example: `  devctl destroy
  devctl destroy -s alpha --yes
  devctl destroy --purge-cache`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := mayAsk(cmd, d); err != nil {
				return err
			}
			return runDestroy(cmd.Context(), d, opts)
		},
	}
	cmd.Flags().BoolVar(&opts.purgeCache, "purge-cache", false, "remove images and volumes that no stack owns, too")
	return cmd
}

func runDestroy(ctx context.Context, d *deps, opts destroyOptions) error {
	stack, spec, err := d.destroyable(ctx)
	if err != nil {
		return err
	}
	if spec == nil || spec.Provider == stacks.ProviderLocal {
		// Without Docker a destroy would get no further than forgetting what is in the state alone.
		if _, err := d.leftovers(ctx, stack); err != nil {
			return withNext(fmt.Errorf("nothing was touched: %w", err), d.command("doctor"))
		}
	}
	what := "whatever there is of it"
	if spec != nil {
		what = count(spec.Size(), "node", "nodes") + " on " + spec.Provider
	}
	question := fmt.Sprintf("This removes stack %s with all of its data: %s.\nType the name of the stack to go on: ", stack, what)
	if err := confirmName(ctx, d, question, stack); err != nil {
		return err
	}
	release, err := d.hold(stack, "destroy")
	if err != nil {
		return err
	}
	defer release()
	env, err := d.open(ctx, stack, nil, nil)
	if err != nil {
		return err
	}
	defer env.Close()
	existed := env.Exists()
	if existed {
		show := d.display()
		defer show.Close()
		if _, err := runOperation(ctx, d, show, env.Destroy, "Destroying stack "+stack, "Destroyed stack "+stack); err != nil {
			return err
		}
		show.Close()
	}
	swept, err := sweep(ctx, d, stack, spec)
	if err != nil {
		return err
	}
	if existed {
		if err := env.Remove(ctx); err != nil {
			return withNext(err, d.command("destroy")+" tries again")
		}
	}
	if existed || swept {
		d.say("Stack %s is gone, nothing of it is left.", stack)
	} else {
		d.say("Nothing to destroy: stack %s is not up, nothing of it is left.", stack)
	}
	if opts.purgeCache {
		if err := d.purge(ctx); err != nil {
			return fmt.Errorf("remove cached images: %w", err)
		}
		d.say("Cached images and volumes are gone; the next up builds them again.")
	}
	return nil
}

// destroyable is the stack that was asked for. One of which there is anything can be destroyed when its spec is broken or
// gone: nil.
func (d *deps) destroyable(ctx context.Context) (stack string, spec *stacks.Spec, err error) {
	spec, err = d.spec()
	if err == nil {
		return spec.Stack, spec, nil
	}
	source := "the state"
	if !d.exists(d.global.stack) {
		left, _ := d.leftovers(ctx, d.global.stack) // without an answer the spec's error is all there is to say
		if len(left) == 0 {
			return "", nil, err
		}
		source = "what there is in Docker"
	}
	d.say("%s%s; going by %s of stack %s.", d.errStyle().Warn("warning: "), err, source, d.global.stack)
	return d.global.stack, nil, nil
}

// sweep removes what is left of a stack after its state is empty, and makes sure that nothing is: a run that was killed
// could not write down what it was making. It tells whether there was anything.
func sweep(ctx context.Context, d *deps, stack string, spec *stacks.Spec) (swept bool, err error) {
	if spec != nil && spec.Provider != stacks.ProviderLocal {
		return false, nil
	}
	left, err := d.leftovers(ctx, stack)
	if err == nil && len(left) > 0 {
		d.say("Removing what is left of stack %s and in no state: %s.", stack, strings.Join(left, ", "))
		swept = true
		if err = d.sweep(ctx, stack); err == nil {
			left, err = d.leftovers(ctx, stack)
		}
	}
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("there is still:\n  %s", strings.Join(left, "\n  "))
	}
	if err != nil {
		return swept, withNext(fmt.Errorf("remove what is left of stack %q: %w", stack, err), d.command("destroy")+" tries again")
	}
	return swept, nil
}
