package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"devctl/internal/api"
	"devctl/internal/cli/progress"
	"devctl/stacks"
)

const (
	// scaleAnswer is how long the controllers may take to tell the cloud.
	scaleAnswer = 30 * time.Second
	// scaleTimeout is how long workers may take to be there, or to be gone.
	scaleTimeout = 10 * time.Minute
)

func newScaleCommand(d *deps) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "scale worker COUNT",
		Short: "Change the number of workers on AWS",
		Long: `Has the controllers make the workers' autoscaling group larger or smaller, between devctl:nodes.worker.min and max, and
waits until the workers are there and the stack is healthy. "up" leaves their number alone from then on.

When there are too many, the controllers choose who goes: machines that have not joined yet, then workers without a
load balancer, from the zone with most of them. AWS by itself does not know which ones the endpoint needs.

Nothing is lost by an interrupt: AWS goes on. The number of main and data nodes is in the spec, and so is that of
workers on local. On DigitalOcean it is the size of the pool.`,
		Example: `  devctl scale worker 4
  devctl -s prod scale worker 2 --timeout 20m`,
		Args: exactly("worker", "COUNT"),
		ValidArgsFunction: completeSpec(d, func(_ *stacks.Spec, args []string) []string {
			return []string{string(api.RoleWorker)}[min(1, len(args)):]
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runScale(cmd.Context(), d, args[0], args[1], timeout)
		},
	}
	addTimeout(cmd, &timeout, scaleTimeout, "how long the workers may take to be there")
	return cmd
}

func runScale(ctx context.Context, d *deps, role, asked string, timeout time.Duration) error {
	spec, err := d.spec()
	if err != nil {
		return err
	}
	count, err := scalable(d, spec, role, asked)
	if err != nil {
		return err
	}
	c, _, err := d.reach(ctx, spec.Stack)
	if err != nil {
		return err
	}
	defer c.Close()
	told, cancel := context.WithTimeout(ctx, scaleAnswer)
	defer cancel()
	answer, err := c.Workers(told, api.WorkersRequest{Count: count})
	if err != nil {
		return err
	}
	show := d.display()
	defer show.Close()
	if answer.Before == count && len(answer.Ended) == 0 {
		show.Start(fmt.Sprintf("Stack %s has %s already", spec.Stack, workers(count)))
	} else {
		show.Start(fmt.Sprintf("Scaling stack %s from %d to %s", spec.Stack, answer.Before, workers(count)))
	}
	if len(answer.Ended) > 0 {
		show.Print(progress.Info, "AWS ends "+strings.Join(answer.Ended, ", "))
	}
	show.Wait(workers(count) + ", and the stack to be healthy")
	there := wait{node: "workers", until: fmt.Sprintf("there are %d and the stack is healthy", count), timeout: timeout, fits: func(st api.Status) bool {
		live := 0
		for _, n := range st.Nodes {
			if n.Role == api.RoleWorker && n.State == api.NodeReady {
				live++
			}
		}
		return live == count && st.Healthy
	}}
	_, err = there.run(ctx, d, c)
	switch {
	case errors.Is(err, context.Canceled):
		return withNext(&cancelledError{what: "AWS goes on, as it was told to"}, d.command("status --watch")+" shows the workers come and go")
	case err != nil:
		return withNext(fmt.Errorf("scale to %s: %w", workers(count), err), d.command("status")+" shows who is there; AWS's console says, under the group's activity, why a machine did not start")
	}
	show.Done(fmt.Sprintf("Stack %s has %s", spec.Stack, workers(count)))
	return nil
}

func workers(n int) string { return count(n, "worker", "workers") }

// scalable refuses what is not scaled by this command, and says what does it.
func scalable(d *deps, spec *stacks.Spec, role, asked string) (int, error) {
	refuse := func(format string, args ...any) (int, error) {
		return 0, &usageError{command: "devctl scale", err: fmt.Errorf(format, args...)}
	}
	switch api.Role(role) {
	case api.RoleWorker:
	case api.RoleMain, api.RoleData:
		return 0, withNext(fmt.Errorf("the number of %s nodes is in the spec: devctl:nodes.%[1]s.count", role), "change it there, then "+d.command("up"))
	default:
		return refuse("there are no nodes of role %q%s (use worker)", role, didYouMean(role, []string{string(api.RoleWorker)}))
	}
	n, err := strconv.Atoi(asked)
	if err != nil {
		return refuse("%q is no number of workers", asked)
	}
	switch spec.Provider {
	case stacks.ProviderLocal:
		return 0, withNext(fmt.Errorf("the number of workers of stack %q is in the spec: devctl:nodes.worker.min", spec.Stack), "change it there, then "+d.command("up"))
	case stacks.ProviderDigitalOcean:
		return 0, fmt.Errorf("the controllers of stack %q have no right to change the size of its pool: set that of %s at DigitalOcean", spec.Stack, api.ResourceName(spec.Stack, role))
	}
	if group := spec.Nodes.Worker; n < group.Min || n > group.Max {
		return refuse("stack %q may have %d to %d workers, not %d (devctl:nodes.worker.min and max)", spec.Stack, group.Min, group.Max, n)
	}
	return n, nil
}
