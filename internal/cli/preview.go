package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"devctl/internal/cli/output"
	"devctl/internal/cli/planview"
	"devctl/internal/engine"
	"devctl/stacks"
)

type previewOptions struct {
	format           previewFormat
	detailedExitCode bool
	offline          bool
	against          string // folder of a project
}

func newPreviewCommand(d *deps) *cobra.Command {
	opts := previewOptions{format: previewText}
	cmd := &cobra.Command{
		Use:     "preview",
		Aliases: []string{"plan"},
		Short:   "Show what up would change",
		Long: `Shows what "up" would change, grouped by network, nodes of each role, endpoint and deployment: which machines it
replaces, in which order, and what people will notice; and what is different inside of each node's configuration, unit
by unit and file by file. Secrets are named when they change and never shown. It changes nothing.

With -o markdown it is a comment for a pull request: a table first, the details folded, at most 65,000 characters.

With --offline nobody is asked, neither the cloud nor Docker nor a controller: it compares with the last state, without
credentials, plugins or a network, and says what it cannot know. With --against it compares with another version of the
spec instead, for example that of the branch that a pull request is for: no state is needed.`,
		Example: `  devctl preview
  devctl preview -o json | jq .summary
  devctl preview -o markdown > comment.md
  devctl preview --detailed-exitcode || echo "there is something to do"
  devctl preview --offline                        # nobody is asked
  git worktree add ../base main && devctl preview --against ../base`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.offline || opts.against != "" {
				return runOfflinePreview(cmd.Context(), d, opts)
			}
			return runPreview(cmd.Context(), d, opts)
		},
	}
	cmd.Flags().VarP(&opts.format, "output", "o", strings.Join(previewFormats, "|"))
	mustRegister(cmd, "output", cobra.FixedCompletions(previewFormats, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().BoolVar(&opts.detailedExitCode, "detailed-exitcode", false, "exit with 2 when there is something to change")
	cmd.Flags().BoolVar(&opts.offline, "offline", false, "ask nobody, compare with the last state")
	cmd.Flags().StringVar(&opts.against, "against", "", "compare with the spec of the project in this folder (implies --offline)")
	return cmd
}

// previewFormat is how a preview is written: one of previewFormats. It is a pflag.Value.
type previewFormat string

const (
	previewText     previewFormat = "text"
	previewMarkdown previewFormat = "markdown"
)

var previewFormats = []string{string(previewText), "json", "yaml", string(previewMarkdown)}

// String returns the format's name.
func (f *previewFormat) String() string { return string(*f) }

// Type names the kind of value in help texts.
func (f *previewFormat) Type() string { return "format" }

// Set takes the name of a format; the default's is table with other commands.
func (f *previewFormat) Set(name string) error {
	if name == string(output.Table) {
		name = string(previewText)
	}
	if !slices.Contains(previewFormats, name) {
		return fmt.Errorf("use %s", strings.Join(previewFormats, ", "))
	}
	*f = previewFormat(name)
	return nil
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
	return showPlan(d, opts, plan)
}

// runOfflinePreview is runPreview without anybody to ask.
func runOfflinePreview(ctx context.Context, d *deps, opts previewOptions) error {
	project, spec, err := d.project()
	if err != nil {
		return err
	}
	if overlaps := project.Overlaps(spec); len(overlaps) > 0 {
		return &stacks.SpecError{Problems: overlaps}
	}
	base, err := baseSpec(opts.against, spec.Stack)
	if err != nil {
		return err
	}
	env, err := d.openOffline(ctx, spec, base, opts.against)
	if err != nil {
		return err
	}
	defer env.Close()
	plan, err := planOf(ctx, d, env, env.input, env.unknowns)
	if err != nil {
		return err
	}
	return showPlan(d, opts, plan)
}

// showPlan prints the plan, and makes the exit code of it if so asked.
func showPlan(d *deps, opts previewOptions, plan planview.Plan) error {
	err := printPlan(d, opts.format, plan)
	if err == nil && opts.detailedExitCode && !plan.Empty() {
		return &exitError{code: exitChanges}
	}
	return err
}

// printPlan writes the plan to stdout.
func printPlan(d *deps, f previewFormat, plan planview.Plan) error {
	if f == previewMarkdown {
		_, err := io.WriteString(d.streams.Out, plan.Markdown(d.command("preview")))
		return err
	}
	return output.Write(d.streams.Out, output.Format(f), plan, func(w io.Writer) error { return writePlan(w, plan, d.outStyle()) })
}

// previewPlan asks the engine what an update would do.
func previewPlan(ctx context.Context, d *deps, env environment, spec *stacks.Spec) (planview.Plan, error) {
	return planOf(ctx, d, env, inputOf(spec), func() []string { return nil })
}

// previewer is a stack that can be previewed.
type previewer interface {
	Preview(ctx context.Context, each func(engine.Event)) (engine.Summary, error)
	SecretValues(ctx context.Context) ([]string, error)
}

// planOf runs a preview and makes a plan of it; unknowns are asked afterwards what it could not know.
func planOf(ctx context.Context, d *deps, env previewer, in planview.Input, unknowns func() []string) (planview.Plan, error) {
	show := d.display()
	defer show.Close()
	show.Start("Comparing stack " + in.Stack + " with its spec")
	show.Wait("the engine")
	// The state is read for its secrets while the engine works.
	var summary engine.Summary
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		in.Secrets, err = env.SecretValues(ctx)
		return err
	})
	both.Go(func() (err error) {
		summary, err = env.Preview(ctx, func(e engine.Event) { in.Events = append(in.Events, e) })
		return err
	})
	if err := both.Wait(); err != nil {
		show.Close()
		return planview.Plan{}, operationError(d, summary, nil, err)
	}
	in.Unknowns = append(in.Unknowns, unknowns()...)
	return planview.New(in), nil
}

func writePlan(w io.Writer, plan planview.Plan, s output.Style) error {
	for _, line := range plan.Lines(s) {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
