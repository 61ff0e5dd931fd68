package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"devctl/internal/api"
	"devctl/internal/cli/output"
	"devctl/internal/cli/planview"
	"devctl/internal/cli/progress"
	"devctl/stacks"
)

// rollTimeout is how long a machine may take: to end, to be missed by its group, to boot, and to have its data again.
const rollTimeout = 20 * time.Minute

type rollOptions struct {
	timeout time.Duration
	nodes   []string // none: those that are outdated
}

// slots are the machines of main and data nodes on a cloud that puts another one in the place of one that ends: see clouds.Slots.
type slots interface {
	Machine(ctx context.Context, node api.Identity) (id, state string, err error)
	Replace(ctx context.Context, machine string) error
}

func newRollCommand(d *deps) *cobra.Command {
	var opts rollOptions
	cmd := &cobra.Command{
		Use:   "roll [NODE...]",
		Short: "Replace outdated main and data nodes on AWS, one by one",
		Long: `Replaces main and data nodes that still run an older machine configuration than the stack's, or the given ones: one
after the other, mains first. AWS never replaces them by itself; "up" changes only what their next machine is made
from.

Before each node it waits until the others have all that it has: etcd's quorum, a copy of every shard in sync. Then it
ends the node's machine, its autoscaling group makes another one, and devctl goes on when that has joined with the
stack's configuration and the stack is healthy. At the first node for which that takes too long, it stops.

The first Ctrl-C lets the node in work be finished. The second stops at once; a machine that has ended by then is still
replaced by AWS.

Workers are replaced by AWS. On local "up" itself rolls, on DigitalOcean "up --allow-replace NODE" replaces a node.`,
		Example: `  devctl roll
  devctl roll main-2            # whether or not it is outdated
  devctl -s prod roll --yes --timeout 30m`,
		ValidArgsFunction: completeSlots(d),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.nodes = args
			if err := mayAsk(cmd, d); err != nil {
				return err
			}
			return runRoll(cmd.Context(), d, opts)
		},
	}
	addTimeout(cmd, &opts.timeout, rollTimeout, "how long each node may take to be back, and the stack to be healthy")
	return cmd
}

// completeSlots offers main and data nodes that are not there yet.
func completeSlots(d *deps) cobra.CompletionFunc {
	return completeSpec(d, func(spec *stacks.Spec, args []string) []string {
		return slices.DeleteFunc(slotNames(spec), func(name string) bool { return slices.Contains(args, name) })
	})
}

func slotNames(spec *stacks.Spec) []string {
	var names []string
	for _, id := range slices.Concat(spec.Group(api.RoleMain), spec.Group(api.RoleData)) {
		names = append(names, id.Name)
	}
	return names
}

func runRoll(ctx context.Context, d *deps, opts rollOptions) error {
	spec, err := d.spec()
	if err != nil {
		return err
	}
	if err := rollable(d, spec, opts.nodes); err != nil {
		return err
	}
	release, err := d.hold(spec.Stack, "roll")
	if err != nil {
		return err
	}
	defer release()
	c, out, err := d.reach(ctx, spec.Stack)
	if err != nil {
		return err
	}
	defer c.Close()
	st, err := askStatus(ctx, d, c)
	if err != nil {
		return err
	}
	markOutdated(&st, out.Configs)
	nodes := rolled(spec, st, opts.nodes)
	if len(nodes) == 0 {
		d.say("No changes: no main or data node of stack %s runs an older machine configuration than the stack's.", spec.Stack)
		return nil
	}
	machines, err := d.slots(ctx, spec)
	if err != nil {
		return err
	}
	for _, line := range rollPlan(spec, nodes, d.errStyle()) {
		d.say("%s", line)
	}
	if err := confirm(ctx, d, fmt.Sprintf("Replace %s of stack %s, one by one?", count(len(nodes), "node", "nodes"), spec.Stack)); err != nil {
		return err
	}
	show := d.display()
	defer show.Close()
	r := roll{d: d, c: c, show: show, slots: machines, configs: out.Configs, timeout: opts.timeout}
	show.Start(fmt.Sprintf("Rolling %s of stack %s", count(len(nodes), "node", "nodes"), spec.Stack))
	if err := r.run(ctx, nodes); err != nil {
		show.Close()
		return err
	}
	show.Done(fmt.Sprintf("Rolled %s of stack %s", count(len(nodes), "node", "nodes"), spec.Stack))
	return nil
}

// rollable refuses what is not rolled by this command, and says what does it.
func rollable(d *deps, spec *stacks.Spec, names []string) error {
	known := slotNames(spec)
	for _, name := range names {
		switch {
		case slices.Contains(known, name):
		case strings.HasPrefix(name, string(api.RoleWorker)+"-"):
			return &usageError{command: "devctl roll", err: fmt.Errorf("%s is a worker: %s", name, map[string]string{
				stacks.ProviderLocal: "up replaces it when its configuration changes", stacks.ProviderAWS: "AWS's instance refresh replaces workers by itself",
				stacks.ProviderDigitalOcean: "DigitalOcean's pool replaces workers by itself"}[spec.Provider])}
		default:
			return &usageError{command: "devctl roll", err: fmt.Errorf("stack %q has no main or data node %q%s (use %s)", spec.Stack, name, didYouMean(name, known), strings.Join(known, ", "))}
		}
	}
	switch spec.Provider {
	case stacks.ProviderLocal:
		return withNext(fmt.Errorf("the nodes of stack %q are on this machine: up itself replaces those that are outdated, one by one", spec.Stack), d.command("up"))
	case stacks.ProviderDigitalOcean:
		name := "NODE"
		if len(names) > 0 {
			name = names[0]
		}
		return withNext(fmt.Errorf("the nodes of stack %q are droplets: up replaces the one that it is given", spec.Stack), d.command("up --allow-replace "+name))
	}
	return nil
}

// rolled are the nodes to replace: the named ones in their order, or those that the status marks as outdated, main nodes first.
func rolled(spec *stacks.Spec, st api.Status, names []string) []api.Identity {
	var nodes []api.Identity
	for _, id := range slices.Concat(spec.Group(api.RoleMain), spec.Group(api.RoleData)) {
		marked := slices.ContainsFunc(st.Nodes, func(n api.NodeStatus) bool { return n.Name == id.Name && n.Outdated })
		if slices.Contains(names, id.Name) || len(names) == 0 && marked {
			nodes = append(nodes, id)
		}
	}
	slices.SortStableFunc(nodes, func(a, b api.Identity) int { return slices.Index(names, a.Name) - slices.Index(names, b.Name) })
	return nodes
}

// rollPlan says which nodes are replaced and what people notice.
func rollPlan(spec *stacks.Spec, nodes []api.Identity, s output.Style) []string {
	var lines []string
	for _, role := range []api.Role{api.RoleMain, api.RoleData} {
		var names []string
		for _, n := range nodes {
			if n.Role == role {
				names = append(names, n.Name)
			}
		}
		if len(names) > 0 {
			lines = append(lines, s.Bold(strings.Join(names, ", ")), "  "+planview.NoticedOfRoll(role, spec.Redis.Replicas))
		}
	}
	return lines
}

// roll replaces machines one after the other.
type roll struct {
	d       *deps
	c       cluster
	show    *progress.Display
	slots   slots
	configs map[api.Role]string // what the new machines will report
	timeout time.Duration
}

func (r *roll) run(ctx context.Context, nodes []api.Identity) error {
	for i, node := range nodes {
		began := r.d.now()
		id, err := r.replace(ctx, node)
		switch {
		case err == nil:
			r.show.Print(progress.Good, fmt.Sprintf("replaced %s by %s in %s", node.Name, id, progress.Elapsed(r.d.now().Sub(began))))
		case errors.Is(err, context.Canceled):
			return r.interrupted(nodes, i, id != "")
		default:
			left := ""
			if i+1 < len(nodes) {
				left = "\n  not begun: " + names(nodes[i+1:])
			}
			return withNext(fmt.Errorf("%w%s", err, left), fmt.Sprintf("%s shows when the stack is healthy again, then %s goes on", r.d.command("status --watch"), r.d.command("roll")))
		}
		if ctx.Err() != nil && i+1 < len(nodes) {
			return r.interrupted(nodes, i+1, false)
		}
	}
	return nil
}

// interrupted says how far the roll came: at is the first node that is not done, half that its machine was ended.
func (r *roll) interrupted(nodes []api.Identity, at int, half bool) error {
	what, rest := "replaced so far: "+names(nodes[:at]), nodes[at:]
	if half {
		what += "; AWS still replaces " + rest[0].Name
		rest = rest[1:]
	}
	if len(rest) > 0 {
		what += "; not begun: " + names(rest)
	}
	return withNext(&cancelledError{what: what}, fmt.Sprintf("%s shows when the stack is healthy, then %s goes on", r.d.command("status"), r.d.command("roll")))
}

func names(nodes []api.Identity) string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.Name)
	}
	return orNone(strings.Join(all, ", "))
}

// replace replaces one node's machine, and returns the ID of the new one; with an error, the ID of the one that was ended, if
// one was. Once that is done an interrupt does not end it any more, but a second one.
func (r *roll) replace(ctx context.Context, node api.Identity) (id string, err error) {
	fail := func(err error) error {
		if errors.Is(err, context.Canceled) {
			return err
		}
		return fmt.Errorf("replace %s: %w", node.Name, err)
	}
	r.show.Wait("the others to have all that " + node.Name + " has")
	st, err := sparing(r.d, node).run(ctx, r.d, r.c)
	if err != nil {
		return "", fail(err)
	}
	old, err := r.machine(ctx, st, node)
	if err != nil {
		return "", fail(err)
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	told := context.AfterFunc(ctx, func() {
		r.show.Print(progress.Warn, "Interrupted: finishing "+node.Name+", so that nothing is left half done. Ctrl-C again stops at once.")
	})
	defer told()
	r.show.Wait(node.Name + " to be back, " + old + " ends")
	if err := r.slots.Replace(r.d.hard, old); err != nil {
		return old, fail(err)
	}
	renewed := func(st api.Status) bool {
		n, live := nodeOf(st, node.Name)
		return live && n.ID != old && (r.configs[node.Role] == "" || n.Config == r.configs[node.Role]) && healthyWith(st, node)
	}
	back := wait{node: node.Name, until: "it is back and the stack is healthy", timeout: r.timeout, fits: renewed}
	st, err = back.run(r.d.hard, r.d, r.c)
	if errors.Is(err, context.DeadlineExceeded) {
		err = &explainedError{text: err.Error() + "\n  " + r.seen(st, node, old), cause: err}
	}
	if err != nil {
		return old, fail(err)
	}
	n, _ := nodeOf(st, node.Name)
	return n.ID, nil
}

// machine is the one in the node's slot. When another one says that it is the node, it is being replaced already.
func (r *roll) machine(ctx context.Context, st api.Status, node api.Identity) (string, error) {
	id, _, err := r.slots.Machine(ctx, node)
	n, live := nodeOf(st, node.Name)
	switch {
	case err != nil:
		return "", err
	case id == "":
		return "", errors.New("there is no machine in its slot: AWS has to make one first")
	case live && n.ID != id:
		return "", fmt.Errorf("its slot has %s, but %s says that it is %[3]s: it is being replaced already", id, n.ID, node.Name)
	}
	return id, nil
}

// seen is what was seen last of a node that is not back in time.
func (r *roll) seen(st api.Status, node api.Identity, old string) string {
	asked, cancel := context.WithTimeout(r.d.hard, statusTimeout)
	defer cancel()
	slot := "its slot is empty"
	id, state, err := r.slots.Machine(asked, node)
	switch {
	case err != nil:
		slot = err.Error()
	case id != "":
		slot = fmt.Sprintf("its slot has %s (%s)", id, state)
	}
	n, live := nodeOf(st, node.Name)
	switch {
	case !live:
		return slot + ", and no machine says that it is " + node.Name
	case n.ID == old:
		return slot + ", and the old machine, " + old + ", still says that it is " + node.Name
	case r.configs[node.Role] != "" && n.Config != r.configs[node.Role]:
		return fmt.Sprintf("%s, and %s has joined with configuration %s instead of %s", slot, n.ID, n.Config, r.configs[node.Role])
	}
	return fmt.Sprintf("%s, and %s has joined and is %s, units %s", slot, n.ID, n.State, unitCount(n))
}

// nodeOf is the node of that name, if it beats.
func nodeOf(st api.Status, name string) (api.NodeStatus, bool) {
	i := slices.IndexFunc(st.Nodes, func(n api.NodeStatus) bool { return n.Name == name })
	if i < 0 {
		return api.NodeStatus{}, false
	}
	return st.Nodes[i], true
}
