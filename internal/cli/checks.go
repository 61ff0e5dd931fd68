package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"devctl/internal/engine"
	"devctl/internal/localcloud"
	"devctl/stacks"
)

// allChecks are doctor's checks of the project, this machine and the state, in the order in which they are shown.
func allChecks(d *deps) []check {
	spec, specErr := d.spec()
	checks := []check{{"spec", func(context.Context) finding { return checkSpec(d, spec, specErr) }}}
	if spec != nil && spec.Provider == stacks.ProviderLocal {
		checks = append(checks, check{"docker", func(ctx context.Context) finding { return checkDocker(ctx, d, spec) }})
	}
	if spec != nil && spec.Provider != stacks.ProviderLocal {
		checks = append(checks, check{"credentials", func(ctx context.Context) finding { return checkCredentials(ctx, d, spec) }})
	}
	home, err := dataDir(d.getenv)
	if err != nil {
		return append(checks, check{"data folder", func(context.Context) finding { return fail(err.Error(), "set DEVCTL_HOME to a folder") }})
	}
	checks = append(checks, machineChecks(home, binDir(d.getenv))...)
	if spec != nil && spec.Provider == stacks.ProviderLocal {
		checks = append(checks, nodeChecks(spec.Size())...)
	}
	return append(checks,
		check{"state", func(ctx context.Context) finding { return checkState(ctx, d) }},
		check{"self-healing", func(ctx context.Context) finding { return checkSupervised(ctx, d, spec) }},
		check{"leftovers", func(ctx context.Context) finding { return checkLeftovers(ctx, d) }},
	)
}

func checkSpec(d *deps, spec *stacks.Spec, err error) finding {
	var wrong *stacks.SpecError
	switch {
	case errors.As(err, &wrong):
		return fail(fmt.Sprintf("%s in the spec of stack %s", count(len(wrong.Problems), "problem", "problems"), d.global.stack), d.command("config check")+" lists what is wrong")
	case err != nil:
		return fail(err.Error(), "choose a stack that exists with -s, or a project with -C")
	}
	return ok(fmt.Sprintf("stack %s: provider %s, %d nodes, %s", spec.Stack, spec.Provider, spec.Size(), spec.Network.CIDR))
}

func checkDocker(ctx context.Context, d *deps, spec *stacks.Spec) finding {
	problems := d.preflight(ctx, localcloud.PreflightArgs{Stack: spec.Stack, CIDR: spec.Network.CIDR, Nodes: spec.Size()})
	if len(problems) == 0 {
		return ok("Docker answers, and nothing else uses " + spec.Network.CIDR)
	}
	// Each of them says itself what to do, behind its first semicolon or colon.
	var all []string
	for _, problem := range problems {
		all = append(all, problem.Error())
	}
	return fail(strings.Join(all, "; "), "see there; then "+d.command("doctor")+" again")
}

// checkCredentials looks for what the cloud has to be shown.
func checkCredentials(ctx context.Context, d *deps, spec *stacks.Spec) finding {
	if err := errors.Join(missingSecrets(ctx, d, spec), d.credentials(ctx, spec)); err != nil {
		return fail(strings.ReplaceAll(err.Error(), "\n", " "), "see there; then "+d.command("doctor")+" again")
	}
	return ok("all that " + providerNames[spec.Provider] + " wants to see is there")
}

// checkState looks for runs that were killed, or go on.
func checkState(ctx context.Context, d *deps) finding {
	infos, err := d.list(ctx)
	if err != nil {
		return fail(err.Error(), "if the data folder is from another devctl, set DEVCTL_HOME to another folder")
	}
	created := 0
	for _, info := range infos {
		switch stackState(info) {
		case "changing":
			return warn(fmt.Sprintf("stack %s is being changed, or a run on it was killed", info.Name),
				fmt.Sprintf("if nobody works on it, `devctl up -s %[1]s` or `devctl destroy -s %[1]s` clears it up", info.Name))
		case "created":
			created++
		}
	}
	return ok(count(created, "stack", "stacks") + " created, none locked")
}

// checkSupervised looks whether machines that are lost come back by themselves.
func checkSupervised(ctx context.Context, d *deps, spec *stacks.Spec) finding {
	if spec == nil || spec.Provider != stacks.ProviderLocal {
		return ok("machines are the cloud's to replace")
	}
	err := d.supervised(ctx, spec.Stack)
	switch {
	case errors.Is(err, localcloud.ErrNoSocket):
		return warn(err.Error(), "set DOCKER_HOST to the unix socket of a Docker engine on this machine, if machines shall come back by themselves")
	case !d.exists(spec.Stack):
		return ok("stack " + spec.Stack + " is not up")
	case err != nil:
		return warn(err.Error()+": a node that is lost stays lost", d.command("up")+" starts it")
	}
	return ok("nodes of stack " + spec.Stack + " that are lost are replaced")
}

// checkLeftovers looks for what belongs to stacks that the state does not know.
func checkLeftovers(ctx context.Context, d *deps) finding {
	project, err := stacks.FindProject(d.global.dir)
	if err != nil {
		return fail(err.Error(), "choose a project with -C")
	}
	names, err := project.Stacks()
	if err != nil {
		return fail(err.Error(), "choose a project with -C")
	}
	infos, err := d.list(ctx)
	if err != nil {
		return warn("not known, because the state cannot be read", "")
	}
	for _, name := range names {
		if slices.ContainsFunc(infos, func(info engine.StackInfo) bool { return info.Name == name }) {
			continue
		}
		left, err := d.leftovers(ctx, name)
		if err != nil {
			return warn("not known: "+err.Error(), "")
		}
		if len(left) > 0 {
			return warn(fmt.Sprintf("stack %s is in no state but has %s", name, kinds(left)), fmt.Sprintf("`devctl destroy -s %s` removes them, unless another user or DEVCTL_HOME owns them", name))
		}
	}
	return ok("nothing is there of stacks that are not up")
}

// kinds counts leftovers, each a kind and a name: "8 containers, 1 network".
func kinds(leftovers []string) string {
	number := map[string]int{}
	for _, left := range leftovers {
		kind, _, _ := strings.Cut(left, " ")
		number[kind]++
	}
	var parts []string
	for _, kind := range sortedKeys(number) {
		parts = append(parts, count(number[kind], kind, kind+"s"))
	}
	return strings.Join(parts, ", ")
}
