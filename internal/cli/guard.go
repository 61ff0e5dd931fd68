package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"devctl/internal/api"
	"devctl/internal/cli/planview"
	"devctl/internal/engine"
	"devctl/stacks"

	"github.com/spf13/cobra"
)

// addAllowReplace gives a command its --allow-replace flag.
func addAllowReplace(d *deps, cmd *cobra.Command, allowed *[]string) {
	cmd.Flags().StringSliceVar(allowed, "allow-replace", nil, "allow to delete or replace `NAME`: a main or data node, network or bucket; repeatable")
	mustRegister(cmd, "allow-replace", completeLosses(d))
}

// completeLosses completes what --allow-replace takes.
func completeLosses(d *deps) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		spec, err := d.spec()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return losable(spec, nil), cobra.ShellCompDirectiveNoFileComp
	}
}

// losable are the names that --allow-replace takes: what the spec has, and what the plan takes away that it has no more.
func losable(spec *stacks.Spec, losses []planview.Loss) []string {
	names := []string{planview.LossNetwork}
	for _, role := range []api.Role{api.RoleMain, api.RoleData} {
		for _, id := range spec.Group(role) {
			names = append(names, id.Name)
		}
	}
	for _, l := range losses {
		if !slices.Contains(names, l.Name) {
			names = append(names, l.Name)
		}
	}
	if spec.Provider != stacks.ProviderLocal && !slices.Contains(names, planview.LossBucket) {
		names = append(names, planview.LossBucket)
	}
	return names
}

// guard refuses what takes away something that holds data, unless it was allowed by name.
func guard(d *deps, spec *stacks.Spec, losses []planview.Loss, allowed []string) error {
	if err := checkAllowed("devctl up", spec, losses, allowed); err != nil {
		return err
	}
	missing := slices.DeleteFunc(slices.Clone(losses), func(l planview.Loss) bool { return slices.Contains(allowed, l.Name) })
	if len(missing) > 0 {
		return lossError(d, missing, allowed)
	}
	if err := quorumless(spec, losses); err != nil {
		return err
	}
	return tooMany(d, losses)
}

// checkAllowed refuses names that --allow-replace does not take.
func checkAllowed(command string, spec *stacks.Spec, losses []planview.Loss, allowed []string) error {
	known := losable(spec, losses)
	for _, name := range allowed {
		switch {
		case slices.Contains(known, name):
		case strings.HasPrefix(name, string(api.RoleWorker)):
			return &usageError{command: command, err: fmt.Errorf("--allow-replace does not take %q: workers hold nothing that cannot be made again, and need no permission", name)}
		default:
			return &usageError{command: command, err: fmt.Errorf("--allow-replace does not take %q: stack %q has no such node%s (use %s)", name, spec.Stack, didYouMean(name, known), strings.Join(known, ", "))}
		}
	}
	return nil
}

// quorumless refuses to remove so many main nodes in one run that those left are no quorum of what etcd was, unless the
// network goes too, and everything with it.
func quorumless(spec *stacks.Spec, losses []planview.Loss) error {
	left, gone := len(spec.Mains()), len(deleted(losses, api.RoleMain))
	before := left + gone
	if left > before/2 || networkGoes(losses) {
		return nil
	}
	quorum := before/2 + 1
	return withNext(fmt.Errorf("%d of %d main nodes would go, and the others are no quorum: nothing was touched", gone, before),
		fmt.Sprintf("set nodes.main.count to %d first, and go on when the stack is healthy", quorum|1)) // an odd number of them
}

// lossError says what would be lost, and how to allow it.
func lossError(d *deps, missing []planview.Loss, allowed []string) error {
	var b strings.Builder
	b.WriteString("this would take away what nobody can make again, nothing was touched:")
	names := slices.Clone(allowed)
	for _, l := range missing {
		b.WriteString("\n  " + l.String())
		names = append(names, l.Name)
	}
	command := d.command("up --allow-replace " + strings.Join(names, ","))
	i := slices.IndexFunc(missing, func(l planview.Loss) bool { return l.Together })
	if i >= 0 && !slices.Contains(names, planview.LossNetwork) {
		return &nextError{err: &explainedError{text: b.String()}, next: fmt.Sprintf("if that is meant, one machine at a time: %s; the others stay as they are until their turn",
			d.command("up --allow-replace "+missing[i].Name))}
	}
	return &nextError{err: &explainedError{text: b.String()}, next: "if that is meant, " + command}
}

// tooMany refuses to replace several main or data machines in one run where nothing keeps one of them up meanwhile, unless
// the network goes too, and everything with it.
func tooMany(d *deps, losses []planview.Loss) error {
	var names []string
	for _, l := range losses {
		if l.Together {
			names = append(names, l.Name)
		}
	}
	if len(names) < 2 || networkGoes(losses) {
		return nil
	}
	return &nextError{err: fmt.Errorf("%s would be replaced at the same time, nothing was touched", strings.Join(names, ", ")),
		next: fmt.Sprintf("%s replaces one, and the others stay as they are until their turn", d.command("up --allow-replace "+names[0]))}
}

// spared waits until the others have all that the machine has that is about to be replaced by the engine, which asks nobody.
// When the network goes there are no others.
func spared(ctx context.Context, d *deps, spec *stacks.Spec, losses []planview.Loss) error {
	i := slices.IndexFunc(losses, func(l planview.Loss) bool { return l.Together })
	if i < 0 || networkGoes(losses) {
		return nil
	}
	outputs := func() (*stacks.Outputs, error) { return readOutputs(ctx, d, spec.Stack) }
	node := api.Identity{Stack: spec.Stack, Name: losses[i].Name}
	role, _, _ := strings.Cut(node.Name, "-")
	node.Role = api.Role(role)
	if err := gate(d, outputs, sparing)(ctx, node); err != nil {
		return withNext(fmt.Errorf("replace %s, nothing was touched: %w", node.Name, err), d.command("status")+" shows what is missing")
	}
	return nil
}

// networkGoes tells whether the network is lost, and with it everything: then nothing in it has to be spared.
func networkGoes(losses []planview.Loss) bool {
	return slices.ContainsFunc(losses, func(l planview.Loss) bool { return l.Name == planview.LossNetwork })
}

// deleted are the names of a role's nodes that go and do not come back.
func deleted(losses []planview.Loss, role api.Role) []string {
	var names []string
	for _, l := range losses {
		if l.Action == engine.OpDelete && strings.HasPrefix(l.Name, string(role)+"-") {
			names = append(names, l.Name)
		}
	}
	return names
}
