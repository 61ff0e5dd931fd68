package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"devctl/internal/cli/output"
	"devctl/internal/cli/planview"
	"devctl/internal/engine"
	"devctl/stacks"
)

type previewOptions struct {
	format           output.Format
	detailedExitCode bool
}

func newPreviewCommand(d *deps) *cobra.Command {
	var opts previewOptions
	cmd := &cobra.Command{
		Use:     "preview",
		Aliases: []string{"plan"},
		Short:   "Show what up would change",
		Long: `Shows what "up" would change, grouped by network, nodes of each role and endpoint, and inside of each change what is
different; of a node's configuration as a diff of its text. Secrets are named when they change and never shown.
It changes nothing.`,
		Example: `  devctl preview
  devctl preview -o json | jq .summary
  devctl preview --detailed-exitcode || echo "there is something to do"`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runPreview(cmd.Context(), d, opts) },
	}
	addFormat(cmd, &opts.format)
	cmd.Flags().BoolVar(&opts.detailedExitCode, "detailed-exitcode", false, "exit with 2 when there is something to change")
	return cmd
}

func runPreview(ctx context.Context, d *deps, opts previewOptions) error {
	spec, err := preflight(ctx, d)
	if err != nil {
		return err
	}
	env, err := d.open(ctx, spec.Stack, spec)
	if err != nil {
		return err
	}
	defer env.Close()
	plan, err := previewPlan(ctx, d, env, spec)
	if err != nil {
		return err
	}
	err = output.Write(d.streams.Out, opts.format, plan, func(w io.Writer) error { return writePlan(w, plan, d.outStyle()) })
	if err == nil && opts.detailedExitCode && !plan.Empty() {
		return &exitError{code: exitChanges}
	}
	return err
}

// previewPlan asks the engine what an update would do.
func previewPlan(ctx context.Context, d *deps, env environment, spec *stacks.Spec) (planview.Plan, error) {
	show := d.display()
	defer show.Close()
	show.Start("Comparing stack " + spec.Stack + " with its spec")
	show.Wait("the engine")
	var planned []engine.Event
	summary, err := env.Preview(ctx, func(e engine.Event) { planned = append(planned, e) })
	if err != nil {
		show.Close()
		return planview.Plan{}, operationError(d, summary, nil, err)
	}
	return planview.New(spec.Stack, planned), nil
}

func writePlan(w io.Writer, plan planview.Plan, s output.Style) error {
	for _, line := range plan.Lines(s) {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
