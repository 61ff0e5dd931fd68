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
	against          string   // folder of a project
	savePlan         string   // file
	allowReplace     []string // goes into the saved plan
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
spec instead, for example that of the branch that a pull request is for: no state is needed.

With --allow-replace it shows what "up" would do that is given the same names.

With --save-plan the plan is also written to a file, with all that it rests on, for "up --plan" to carry out just that
and nothing else. A plan that takes away a main or data node, the network or the bucket is only saved when
--allow-replace names them; up then needs no more permission.`,
		Example: `  devctl preview
  devctl preview -o json | jq .summary
  devctl preview -o markdown > comment.md
  devctl preview --detailed-exitcode || echo "there is something to do"
  devctl preview --save-plan plan.json && devctl up --plan plan.json
  devctl preview --offline                        # nobody is asked
  git worktree add ../base main && devctl preview --against ../base`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case opts.against != "" && opts.savePlan != "":
				return usagef(cmd, "--save-plan is for a plan that can be carried out: leave --against out, which compares with what exists nowhere")
			case opts.offline || opts.against != "":
				return runOfflinePreview(cmd.Context(), d, opts)
			}
			return runPreview(cmd.Context(), d, opts)
		},
	}
	addPreviewFormat(cmd, &opts.format)
	cmd.Flags().BoolVar(&opts.detailedExitCode, "detailed-exitcode", false, "exit with 2 when there is something to change")
	cmd.Flags().BoolVar(&opts.offline, "offline", false, "ask nobody, compare with the last state")
	cmd.Flags().StringVar(&opts.against, "against", "", "compare with the spec of the project in this folder (implies --offline)")
	cmd.Flags().StringVar(&opts.savePlan, "save-plan", "", "write the plan to `FILE`, for up --plan")
	addAllowReplace(d, cmd, &opts.allowReplace)
	return cmd
}

// addPreviewFormat gives a command that shows plans its -o flag.
func addPreviewFormat(cmd *cobra.Command, format *previewFormat) {
	cmd.Flags().VarP(format, "output", "o", strings.Join(previewFormats, "|"))
	mustRegister(cmd, "output", cobra.FixedCompletions(previewFormats, cobra.ShellCompDirectiveNoFileComp))
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
	env, err := d.open(ctx, spec.Stack, spec, opts.allowReplace)
	if err != nil {
		return err
	}
	defer env.Close()
	found, err := preview(ctx, d, env, spec)
	if err != nil {
		return err
	}
	return showPlan(ctx, d, env, spec, found, opts)
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
	env, err := d.openOffline(ctx, spec, base, opts.against, opts.allowReplace)
	if err != nil {
		return err
	}
	defer env.Close()
	found, err := planOf(ctx, d, env, env.input, env.unknowns, func(context.Context) redeployment { return env.deployment })
	if err != nil {
		env.keep = true // the error names its log
		return err
	}
	found.offline, found.placeholders = true, env.placeholders()
	return showPlan(ctx, d, env, spec, found, opts)
}

// showPlan prints the plan, saves it and makes the exit code of it if so asked.
func showPlan(ctx context.Context, d *deps, env previewer, spec *stacks.Spec, found previewed, opts previewOptions) error {
	if err := checkAllowed("devctl preview", spec, found.plan.Losses, opts.allowReplace); err != nil {
		return err
	}
	if err := printPlan(d, opts.format, found.plan, "preview"); err != nil {
		return err
	}
	if opts.savePlan != "" {
		if err := savePlan(ctx, d, env, spec, found, opts); err != nil {
			return err
		}
	}
	if opts.detailedExitCode && !found.plan.Empty() {
		return &exitError{code: exitChanges}
	}
	return nil
}

// printPlan writes the plan to stdout; command is the one that shows it again.
func printPlan(d *deps, f previewFormat, plan planview.Plan, command string) error {
	if f == previewMarkdown {
		_, err := io.WriteString(d.streams.Out, plan.Markdown(d.command(command)))
		return err
	}
	return output.Write(d.streams.Out, output.Format(f), plan, func(w io.Writer) error { return writePlan(w, plan, d.outStyle()) })
}

// previewed is what a preview found.
type previewed struct {
	plan         planview.Plan
	events       []engine.Event
	deployment   redeployment
	idle         bool // the engine has nothing to do
	offline      bool
	placeholders []string // that stand for what nobody has looked up
}

// approval is what is approved with what was found.
func (p previewed) approval() approval { return approval{losses: p.plan.Losses, idle: p.idle} }

// preview asks the engine what an update would do, and the controllers what a deployment would.
func preview(ctx context.Context, d *deps, env environment, spec *stacks.Spec) (previewed, error) {
	return planOf(ctx, d, env, inputOf(spec), func() []string { return nil }, func(ctx context.Context) redeployment {
		return previewDeployment(ctx, d, spec)
	})
}

// previewer is a stack that can be previewed.
type previewer interface {
	Preview(ctx context.Context, each func(engine.Event)) (engine.Summary, error)
	// SecretValues are all secrets of the stack, for keeping them out of what is shown.
	SecretValues(ctx context.Context) ([]string, error)
	// Basis reads the state for comparing it; keyOutput names the output that keys digests of secrets.
	Basis(ctx context.Context, keyOutput string) (engine.Basis, error)
}

// planOf runs a preview and makes a plan of it; unknowns are asked afterwards what it could not know.
func planOf(ctx context.Context, d *deps, env previewer, in planview.Input, unknowns func() []string,
	deployment func(context.Context) redeployment) (previewed, error) {
	show := d.display()
	defer show.Close()
	show.Start("Comparing stack " + in.Stack + " with its spec")
	show.Wait("the engine")
	// The state is read for its secrets, and the controllers are asked, while the engine works.
	var summary engine.Summary
	var found previewed
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() (err error) {
		in.Secrets, err = env.SecretValues(ctx)
		return err
	})
	all.Go(func() error {
		found.deployment = deployment(ctx)
		return nil
	})
	all.Go(func() (err error) {
		summary, err = env.Preview(ctx, func(e engine.Event) { found.events = append(found.events, e) })
		return err
	})
	if err := all.Wait(); err != nil {
		show.Close()
		return found, operationError(d, summary, nil, err)
	}
	found.idle = !summary.Changed()
	in.Events, in.Deployment = found.events, &found.deployment.view
	in.Unknowns = append(in.Unknowns, unknowns()...)
	found.plan = planview.New(in)
	return found, nil
}

// previewQuietly asks the engine only what an update would do. Nothing of it is shown.
func previewQuietly(ctx context.Context, d *deps, env environment, spec *stacks.Spec) (approval, error) {
	show := d.display()
	defer show.Close()
	show.Start("Comparing stack " + spec.Stack + " with its spec")
	show.Wait("the engine")
	in := inputOf(spec)
	summary, err := env.Preview(ctx, func(e engine.Event) { in.Events = append(in.Events, e) })
	if err != nil {
		show.Close()
		return approval{}, operationError(d, summary, nil, err)
	}
	return approval{losses: planview.New(in).Losses, idle: !summary.Changed()}, nil
}

func writePlan(w io.Writer, plan planview.Plan, s output.Style) error {
	for _, line := range plan.Lines(s) {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
