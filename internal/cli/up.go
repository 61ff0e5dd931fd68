package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"devctl/internal/api"
	"devctl/internal/cli/output"
	"devctl/internal/cli/planview"
	"devctl/internal/cli/progress"
	"devctl/internal/engine"
	"devctl/internal/localcloud"
	"devctl/stacks"
)

type upOptions struct {
	timeout      time.Duration
	plan         string   // file of an approved plan
	allowReplace []string // names of what may be deleted or replaced though it holds data
}

func newUpCommand(d *deps) *cobra.Command {
	var opts upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Bring a stack up, or up to date with its spec",
		Long: `Brings the stack up to what its spec says: network, nodes, and on them Redis, HAProxy and keepalived. It checks the
spec and this machine first, shows what it would change and asks, then shows how it gets on, and ends with where the
stack is reached. What is there already stays; run again with nothing to change, it says so within seconds.

What would delete or replace a main or data node, the network or the bucket is refused until --allow-replace names
them. A changed machine configuration reaches nodes in their cloud's way, and never two main or data nodes at once: on
local up replaces them one by one, each only while the others have all that it has; on AWS "devctl roll" does after up;
on DigitalOcean up replaces the one that --allow-replace names. Up ends by naming those that are outdated.

With --plan it does not ask, but does what "preview --save-plan" wrote to the file, and refuses when spec, program,
state or what would be done are not what they were.

Interrupted or failed, it can be run again and goes on where it stopped. The first Ctrl-C lets the running step
finish, the second stops at once.`,
		Example: `  devctl up
  devctl up --yes               # do not ask
  devctl up -s alpha --yes      # the stack of stacks/Pulumi.alpha.yaml
  devctl up --plan plan.json    # exactly what preview --save-plan plan.json has shown
  devctl up --allow-replace data-4`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.plan == "" {
				if err := mayAsk(cmd, d); err != nil {
					return err
				}
			}
			return runUp(cmd.Context(), d, opts)
		},
	}
	addTimeout(cmd, &opts.timeout, deployTimeout, "how long the deployment may take to be ready")
	cmd.Flags().StringVar(&opts.plan, "plan", "", "do what preview --save-plan wrote to `FILE`, or nothing")
	addAllowReplace(d, cmd, &opts.allowReplace)
	return cmd
}

func runUp(ctx context.Context, d *deps, opts upOptions) error {
	approved, err := readPlan(d, opts.plan)
	if err != nil {
		return err
	}
	spec, err := preflight(ctx, d)
	if err != nil {
		return err
	}
	release, err := d.hold(spec.Stack, "up")
	if err != nil {
		return err
	}
	defer release()
	allowed := opts.allowReplace
	if approved != nil {
		allowed = slices.Concat(allowed, approved.AllowReplace)
	}
	env, err := d.open(ctx, spec.Stack, spec, allowed)
	if err != nil {
		return err
	}
	defer env.Close()
	isNew := !env.Exists() // a preview makes it, empty
	may, err := approve(ctx, d, env, spec, approved, allowed)
	if err != nil {
		return err
	}
	if err := spared(ctx, d, spec, may.losses); err != nil {
		return err
	}
	show := d.display()
	defer show.Close()
	if err := drain(ctx, d, show, spec, may.losses); err != nil {
		return err
	}
	var summary engine.Summary
	var out *stacks.Outputs
	if may.idle {
		out = upToDate(ctx, d, env, spec)
	}
	if out == nil {
		if summary, out, err = provision(ctx, d, show, env, spec, isNew); err != nil {
			return err
		}
	}
	// Not sooner: it would only take the processors from what people wait for. It takes a moment, and an interrupt is no reason for
	// machines not to heal: only the second one is (d.hard).
	supervising := make(chan error, 1)
	supervise := sync.OnceFunc(func() { go func() { supervising <- env.Supervise(d.hard) }() })
	st, deployed, err := deploy(ctx, d, show, spec, out, opts.timeout, supervise)
	supervise() // also when services do not start: machines are to heal all the same
	unsupervised := <-supervising
	if err != nil {
		return err
	}
	if unsupervised != nil && !errors.Is(unsupervised, localcloud.ErrNoSocket) {
		return withNext(fmt.Errorf("let the machines of stack %q heal by themselves: %w", spec.Stack, unsupervised), d.command("up")+" tries again")
	}
	show.Close()
	if unsupervised != nil {
		d.say("%s%s.", d.errStyle().Warn("warning: "), unsupervised)
	}
	markOutdated(&st, out.Configs)
	return writeUp(d.streams.Out, d, spec.Provider, out, st, summary.Changed() || deployed)
}

// upToDate returns the outputs of a stack whose preview has found no resource to touch, when they are the state's already:
// then an update would find out the same once more. Else it is nil.
func upToDate(ctx context.Context, d *deps, env environment, spec *stacks.Spec) *stacks.Outputs {
	select {
	case now := <-env.Made():
		if last, err := d.outputs(ctx, spec.Stack); err == nil && reflect.DeepEqual(now, last) {
			return last
		}
	default:
	}
	return nil
}

// provision brings network and machines up, and returns the outputs.
func provision(ctx context.Context, d *deps, show *progress.Display, env environment, spec *stacks.Spec, isNew bool) (engine.Summary, *stacks.Outputs, error) {
	var out *stacks.Outputs
	early, stop := context.WithCancel(ctx)
	begun, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case out = <-env.Made():
		case <-early.Done():
			return
		}
		select {
		case <-begun:
			handOver(early, d, spec, out)
		case <-early.Done():
		}
	}()
	begin := sync.OnceFunc(func() { close(begun) })
	up := func(ctx context.Context, each func(engine.Event)) (engine.Summary, error) {
		return env.Up(ctx, func(e engine.Event) {
			// Not sooner: what answers at a main node's address before there is one is somebody else.
			if isNew && planview.BeginsMachine(e, api.RoleMain) {
				begin()
			}
			each(e)
		})
	}
	summary, err := runOperation(ctx, d, show, up, "Bringing up stack "+spec.Stack, "Brought up stack "+spec.Stack)
	stop()
	<-done
	if err != nil {
		return summary, nil, err
	}
	if ctx.Err() != nil {
		return summary, nil, withNext(ctx.Err(), d.command("up")+" goes on where it stopped")
	}
	if out == nil {
		out, err = d.outputs(ctx, spec.Stack)
	}
	return summary, out, err
}

// handOver gives a new stack's deployment to the first controller that answers, so that services start on each machine as
// it joins, while the others still boot. It is the deploy stage's work done sooner: that does it again, and is the one
// to tell what goes wrong. Not on a stack that exists: its machines may have to be replaced before they can run what is
// deployed next.
func handOver(ctx context.Context, d *deps, spec *stacks.Spec, out *stacks.Outputs) {
	set, err := d.images()
	if err != nil {
		return
	}
	c, err := d.dial(out)
	if err != nil {
		return
	}
	defer c.Close()
	_, _ = c.Deploy(ctx, api.DeployRequest{Deployment: spec.Deployment(set.Deployed(), out), Secrets: out.Secrets})
}

// preflight loads the spec, checks all that can be checked before anything is touched, and reports everything at once.
func preflight(ctx context.Context, d *deps) (*stacks.Spec, error) {
	project, spec, err := d.project()
	if err != nil {
		return nil, err
	}
	if overlaps := project.Overlaps(spec); len(overlaps) > 0 {
		return nil, &stacks.SpecError{Problems: overlaps}
	}
	var problems []error
	var unreadable error
	var reading sync.WaitGroup // what machines run is some 100 MB to read
	reading.Go(func() { _, unreadable = d.images() })
	if err := missingSecrets(ctx, d, spec); err != nil {
		problems = append(problems, err)
	}
	if err := d.credentials(ctx, spec); err != nil {
		problems = append(problems, err)
	}
	if spec.Provider == stacks.ProviderLocal {
		problems = append(problems, d.preflight(ctx, localcloud.PreflightArgs{Stack: spec.Stack, CIDR: spec.Network.CIDR, Nodes: spec.Size()})...)
	}
	reading.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if unreadable != nil {
		problems = slices.Insert(problems, 0, unreadable)
	}
	if len(problems) == 0 {
		return spec, nil
	}
	var b strings.Builder
	for _, problem := range problems {
		b.WriteString("\n  " + strings.ReplaceAll(problem.Error(), "\n", "\n    "))
	}
	return nil, withNext(&explainedError{text: fmt.Sprintf("this machine is not ready for stack %q, nothing was touched:%s", spec.Stack, b.String()), cause: errors.Join(problems...)},
		d.command("doctor")+" checks everything")
}

// writeUp ends `up`: where the stack is reached, and what to try.
func writeUp(w io.Writer, d *deps, provider string, out *stacks.Outputs, st api.Status, changed bool) error {
	s := d.outStyle()
	head := fmt.Sprintf("Stack %s is up: %d nodes, %d Redis shards.", s.Bold(st.Stack), len(st.Nodes), len(st.Redis.Shards))
	if !changed {
		head = fmt.Sprintf("No changes: stack %s is up, %d nodes, %d Redis shards.", s.Bold(st.Stack), len(st.Nodes), len(st.Redis.Shards))
	}
	reach := output.NewGrid()
	reach.Row("  Redis endpoint", s.Good(fmt.Sprintf("%s:%d", out.Redis.Address, out.Redis.Port)))
	reach.Row("  Stats page", out.StatsURL)
	try := output.NewGrid()
	try.Row("  "+d.command("redis SET greeting hello"), s.Faint("# talk to Redis through the endpoint"))
	try.Row("  "+d.command("status --watch"), s.Faint("# nodes, shards, who holds the endpoint"))
	try.Row("  "+d.command("outputs --show-secrets"), s.Faint("# user and password for your own client"))
	lines := append([]string{head}, reach.Lines()...)
	if names := outdated(st.Nodes); len(names) > 0 {
		lines = append(lines, "", s.Warn(outdatedText(names)+"."))
		for _, line := range renewal(d, provider, st.Nodes) {
			lines = append(lines, "  "+line)
		}
	}
	lines = append(lines, "", "Try:")
	for _, line := range append(lines, try.Lines()...) {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
