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
unless --yes is given. It works on a stack that is broken or half made, and never touches another one. Images stay
for the next "up" unless --purge-cache is given.`,
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
	stack, spec, err := d.destroyable()
	if err != nil {
		return err
	}
	what := "whatever there is of it"
	if spec != nil {
		what = count(len(spec.Identities()), "node", "nodes") + " on " + spec.Provider
	}
	question := fmt.Sprintf("This removes stack %s with all of its data: %s.\nType the name of the stack to go on: ", stack, what)
	if err := confirmName(ctx, d, question, stack); err != nil {
		return err
	}
	env, err := d.open(ctx, stack, nil)
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
	if err := nothingLeft(ctx, d, stack, spec); err != nil {
		return err
	}
	if existed {
		if err := env.Remove(ctx); err != nil {
			return withNext(err, d.command("destroy")+" tries again")
		}
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

// destroyable is the stack that was asked for. One that exists can be destroyed when its spec is broken or gone: nil.
func (d *deps) destroyable() (stack string, spec *stacks.Spec, err error) {
	spec, err = d.spec()
	if err == nil {
		return spec.Stack, spec, nil
	}
	if !d.exists(d.global.stack) {
		return "", nil, err
	}
	d.say("%s%s; going by the state of stack %s.", d.errStyle().Warn("warning: "), err, d.global.stack)
	return d.global.stack, nil, nil
}

// nothingLeft makes sure that destroying left nothing behind.
func nothingLeft(ctx context.Context, d *deps, stack string, spec *stacks.Spec) error {
	if spec != nil && spec.Provider != stacks.ProviderLocal {
		return nil
	}
	left, err := d.leftovers(ctx, stack)
	if err != nil {
		return withNext(fmt.Errorf("look for what stack %q left behind: %w", stack, err), d.command("doctor"))
	}
	if len(left) > 0 {
		return withNext(fmt.Errorf("stack %q left behind:\n  %s", stack, strings.Join(left, "\n  ")), d.command("destroy")+" tries again")
	}
	return nil
}
