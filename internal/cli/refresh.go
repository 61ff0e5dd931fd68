package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"devctl/internal/cli/planview"
	"devctl/internal/engine"
)

func newRefreshCommand(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:   "refresh",
		Short: "Bring the state in line with what really exists",
		Long: `Looks at every resource of the stack and writes into the state what it finds, gone or changed behind devctl's back.
It changes no machine; "up" looks too, and repairs.`,
		Example: `  devctl refresh
  devctl refresh --yes && devctl preview`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := mayAsk(cmd, d); err != nil {
				return err
			}
			return runRefresh(cmd.Context(), d)
		},
	}
}

func runRefresh(ctx context.Context, d *deps) error {
	spec, err := preflight(ctx, d)
	if err != nil {
		return err
	}
	release, err := d.hold(spec.Stack, "refresh")
	if err != nil {
		return err
	}
	defer release()
	env, err := d.open(ctx, spec.Stack, spec, nil)
	if err != nil {
		return err
	}
	defer env.Close()
	if !env.Exists() {
		return withNext(fmt.Errorf("stack %q is not up", spec.Stack), d.command("up"))
	}
	if err := confirm(ctx, d, fmt.Sprintf("Write what really exists of stack %s into its state?", spec.Stack)); err != nil {
		return err
	}
	show := d.display()
	defer show.Close()
	var drift []engine.Event
	refresh := func(ctx context.Context, each func(engine.Event)) (engine.Summary, error) {
		return env.Refresh(ctx, func(e engine.Event) {
			if e.Kind == engine.KindFinished && (e.Op == engine.OpUpdate || e.Op == engine.OpDelete) {
				drift = append(drift, e)
				return
			}
			each(e)
		})
	}
	if _, err := runOperation(ctx, d, show, refresh, "Refreshing stack "+spec.Stack, "Refreshed stack "+spec.Stack); err != nil {
		return err
	}
	show.Close()
	for _, e := range drift {
		found := map[engine.Op]string{engine.OpUpdate: "not as they were", engine.OpDelete: "gone"}[e.Op]
		d.say("%s: %s", planview.Noun(e.Type, e.Name), found)
	}
	if len(drift) == 0 {
		d.say("No changes: stack %s is as its state says.", spec.Stack)
		return nil
	}
	d.say("%s repairs it.", d.command("up"))
	return nil
}
