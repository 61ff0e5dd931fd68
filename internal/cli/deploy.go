package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"devctl/internal/api"
	"devctl/internal/cli/planview"
	"devctl/internal/cli/progress"
	"devctl/stacks"
)

const (
	deployTimeout = 5 * time.Minute
	pollEvery     = 100 * time.Millisecond
)

type deployOptions struct {
	timeout time.Duration
	preview bool
	format  previewFormat // of the preview
}

func newDeployCommand(d *deps) *cobra.Command {
	opts := deployOptions{format: previewText}
	cmd := &cobra.Command{
		Use:   "deploy",
		Short: "Deploy Redis, HAProxy and keepalived on a stack that is up",
		Long: `Tells the controllers what should run on the nodes, follows what they do, and ends when everything runs and is ready.
It changes no machine. "devctl up" does the same after it has brought the machines up to date.

With --preview it only shows what would change on which node: units and their files, against what runs now.`,
		Example: `  devctl deploy
  devctl deploy --preview
  devctl deploy --timeout 10m`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case opts.preview:
				return runDeployPreview(cmd.Context(), d, opts.format)
			case cmd.Flags().Changed("output"):
				return usagef(cmd, "--output is the format of a preview: give --preview too")
			}
			return runDeploy(cmd.Context(), d, opts)
		},
	}
	addTimeout(cmd, &opts.timeout, deployTimeout, "how long the deployment may take to be ready")
	cmd.Flags().BoolVar(&opts.preview, "preview", false, "show what would change, and change nothing")
	addPreviewFormat(cmd, &opts.format)
	return cmd
}

func addTimeout(cmd *cobra.Command, timeout *time.Duration, value time.Duration, usage string) {
	cmd.Flags().DurationVar(timeout, "timeout", value, usage)
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if *timeout <= 0 {
			return usagef(cmd, "--timeout does not take %q: use a duration above zero, for example 5m", *timeout)
		}
		return nil
	}
}

func runDeploy(ctx context.Context, d *deps, opts deployOptions) error {
	spec, out, err := d.standing(ctx)
	if err != nil {
		return err
	}
	release, err := d.hold(spec.Stack, "deploy")
	if err != nil {
		return err
	}
	defer release()
	show := d.display()
	defer show.Close()
	st, changed, err := deploy(ctx, d, show, spec, out, opts.timeout, func() {})
	if err != nil {
		return err
	}
	show.Close()
	if !changed {
		d.say("No changes: deployment %s of stack %s runs.", st.Deployed, spec.Stack)
	}
	return nil
}

// runDeployPreview shows what a deployment would change.
func runDeployPreview(ctx context.Context, d *deps, format previewFormat) error {
	spec, err := d.spec()
	if err != nil {
		return err
	}
	in := inputOf(spec)
	found := previewDeployment(ctx, d, spec)
	if found.view.Unknown != "" {
		return withNext(fmt.Errorf("what runs on stack %q is not known: %s", spec.Stack, found.view.Unknown), d.command("status")+" and "+d.command("doctor")+" show more")
	}
	in.Deployment = &found.view
	if err := printPlan(d, format, planview.New(in), "deploy --preview"); err != nil {
		return err
	}
	return deployable(found)
}

// deploy makes what the spec wants what runs, and returns once it is settled, with the status then and whether
// anything had to change. started is called, perhaps more than once, when every unit runs and the rest is mostly waiting.
func deploy(ctx context.Context, d *deps, show *progress.Display, spec *stacks.Spec, out *stacks.Outputs, timeout time.Duration,
	started func()) (api.Status, bool, error) {
	set, err := d.images()
	if err != nil {
		return api.Status{}, false, err
	}
	c, err := d.dial(out)
	if err != nil {
		return api.Status{}, false, err
	}
	defer c.Close()
	show.Start("Deploying on stack " + spec.Stack)
	s := settling{d: d, c: c, show: show, spec: spec, started: started, wake: make(chan struct{}, 1)}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	changed, err := s.run(limited, api.DeployRequest{Deployment: spec.Deployment(set.Deployed(), out), Secrets: out.Secrets})
	if err != nil {
		show.Close()
		if ctx.Err() != nil {
			return s.last, changed, withNext(ctx.Err(), "the controllers go on by themselves: "+d.command("status --watch")+" shows how far they are")
		}
		return s.last, changed, s.failure(err, timeout)
	}
	if changed {
		show.Done("Deployed on stack " + spec.Stack)
	}
	return s.last, changed, nil
}

// settling waits for a deployment to be what runs.
type settling struct {
	d    *deps
	c    cluster
	show *progress.Display
	spec *stacks.Spec
	last api.Status // the last one seen
	// waited: it was not settled yet. Events alone do not say so: they may tell of what is over.
	waited bool

	started func()        // see deploy
	wake    chan struct{} // something happened to the stack as a whole: look at once
}

// errSettled ends the stream of events when there is nothing more to wait for.
var errSettled = errors.New("settled")

// run hands the deployment over and follows it until it is settled. It tells whether anything had to change.
func (s *settling) run(ctx context.Context, req api.DeployRequest) (changed bool, err error) {
	s.show.Wait("a controller to answer")
	answer, err := s.c.Deploy(ctx, req)
	if err != nil {
		return false, err
	}
	s.show.Wait("the nodes to take it up")
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return s.c.Events(ctx, answer.Seq, func(e api.Event) error {
			s.show.Print(eventLine(e))
			if e.Node == "" {
				select {
				case s.wake <- struct{}{}:
				default: // it looks soon anyway
				}
			}
			return nil
		})
	})
	g.Go(func() error {
		if err := s.poll(ctx, answer.Revision); err != nil {
			return err
		}
		return errSettled // ends the events too
	})
	// What was desired already may still have had to be repaired.
	err = g.Wait()
	changed = answer.Changed || s.waited
	if errors.Is(err, errSettled) {
		err = nil
	}
	return changed, err
}

// poll asks for the status until the revision is deployed and settled.
func (s *settling) poll(ctx context.Context, revision string) error {
	for {
		st, err := s.c.Status(ctx)
		if err != nil {
			return err
		}
		s.last = st
		if st.Deployed == revision && st.Settled && st.Healthy {
			return nil
		}
		if st.Deployed == revision && !slices.ContainsFunc(st.Nodes, func(n api.NodeStatus) bool { return n.State == api.NodeDegraded }) {
			s.started()
		}
		s.waited = true
		s.show.Rows(nodeRows(s.spec, st, s.d.errStyle()))
		s.show.Wait(waitingFor(s.spec, st))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.d.after(pollEvery):
		case <-s.wake:
		}
	}
}

// failure is the error of a deployment that did not settle, with what the cluster says about it.
func (s *settling) failure(err error, timeout time.Duration) error {
	var b strings.Builder
	if errors.Is(err, context.DeadlineExceeded) {
		fmt.Fprintf(&b, "deploy on stack %q: not ready after %s", s.spec.Stack, timeout)
	} else {
		fmt.Fprintf(&b, "deploy on stack %q: %s", s.spec.Stack, err)
	}
	if s.last.Stack == "" {
		if errors.Is(err, context.DeadlineExceeded) {
			fmt.Fprintf(&b, ": %s", err)
		}
		return &nextError{err: &explainedError{text: b.String(), cause: err},
			next: s.d.command("logs devctl-controller") + " and " + s.d.command("logs etcd") + " show why; then " + s.d.command("deploy")}
	}
	next := s.d.command("status")
	said := map[string]bool{} // the units' problems, which are told with what the units say themselves
	var units strings.Builder
	for _, n := range s.last.Nodes {
		for _, u := range n.Units {
			if u.Ready() {
				continue
			}
			said[u.On(n.Name)] = true
			units.WriteString("\n  " + u.On(n.Name))
			if message := strings.TrimSpace(u.Message); message != "" {
				units.WriteString(":\n    " + strings.ReplaceAll(message, "\n", "\n    "))
			}
			next = s.d.command("logs " + n.Name + " " + strings.TrimSuffix(u.Name, ".service"))
		}
	}
	for _, problem := range s.last.Problems {
		if !said[problem] {
			b.WriteString("\n  " + strings.ReplaceAll(strings.TrimSpace(problem), "\n", "\n    "))
		}
	}
	b.WriteString(units.String())
	return &nextError{err: &explainedError{text: b.String(), cause: err}, next: next + " shows more; then " + s.d.command("deploy") + " tries again"}
}

func eventLine(e api.Event) (progress.Level, string) {
	level := progress.Info
	switch e.Level {
	case "warning":
		level = progress.Warn
	case "error":
		level = progress.Bad
	}
	where := ""
	for _, name := range []string{e.Node, e.Unit} {
		if name != "" && !strings.Contains(e.Message, name) {
			where += name + " "
		}
	}
	if where != "" {
		where = strings.TrimSpace(where) + ": "
	}
	return level, where + e.Message
}
