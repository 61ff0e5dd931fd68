package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"devctl/internal/localcloud"
	"devctl/stacks"
)

func newExecCommand(d *deps) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec NODE [--] COMMAND [ARG...]",
		Short: "Run a command on a node",
		Long: `Runs a command on a node as root and ends with its exit code. Where stdin, stdout and stderr are a terminal the
command gets one too; otherwise its input and outputs are passed through as they are.`,
		Example: `  devctl exec main-1 -- systemctl --failed
  devctl exec data-1 -- podman ps
  devctl exec worker-1 -- cat /etc/devctl/node.env > worker-1.env`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 || len(args) == 2 && args[1] == "--" {
				return usagef(cmd, "a node and a command are needed: usage: %s", cmd.UseLine())
			}
			return nil
		},
		ValidArgsFunction: completeNodes(d),
		RunE: func(cmd *cobra.Command, args []string) error {
			argv := args[1:]
			if argv[0] == "--" {
				argv = argv[1:]
			}
			return runOnNode(cmd.Context(), d, args[0], argv)
		},
	}
	cmd.Flags().SetInterspersed(false) // flags after NODE belong to the command
	return cmd
}

func newSSHCommand(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:   "ssh NODE",
		Short: "Open a shell on a node",
		Long: `Opens a login shell on a node as root and ends with its exit code. Without a terminal the shell reads its commands
from stdin.`,
		Example: `  devctl ssh data-1
  echo 'systemctl is-system-running' | devctl ssh main-1`,
		Args:              exactly("NODE"),
		ValidArgsFunction: completeNodes(d),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runOnNode(cmd.Context(), d, args[0], []string{"/bin/bash", "--login"})
		},
	}
}

// runOnNode runs argv on a node with the command's own streams; an exit code other than 0 becomes devctl's.
func runOnNode(ctx context.Context, d *deps, node string, argv []string) error {
	spec, err := d.spec()
	if err != nil {
		return err
	}
	if err := onThisMachine(spec); err != nil {
		return err
	}
	if err := knownNode(spec, node); err != nil {
		return withNext(&usageError{err: err}, d.command("status")+" shows the nodes")
	}
	s := d.streams
	o := localcloud.ExecOptions{Argv: argv, Stdin: s.In, Stdout: s.Out, Stderr: s.Err}
	if s.InTerminal && s.OutTerminal && s.ErrTerminal {
		sizes, restore, err := s.Raw()
		if err != nil {
			return fmt.Errorf("prepare the terminal for %q: %w", node, err)
		}
		defer restore()
		o.TTY, o.Sizes = true, sizes
	}
	code, err := d.exec(ctx, spec.Stack, node, o)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return withNext(fmt.Errorf("run %q on %s: %w", argv[0], node, err), d.command("status")+" shows which nodes are there, "+d.command("up")+" brings back what is missing")
	case code != 0:
		return &exitError{code: code}
	}
	return nil
}

// onThisMachine refuses to look into nodes that are no containers: devctl starts nothing on machines of a cloud.
func onThisMachine(spec *stacks.Spec) error {
	if spec.Provider == stacks.ProviderLocal {
		return nil
	}
	return withNext(fmt.Errorf("the nodes of stack %q are machines on %s: this command is for local stacks", spec.Stack, providerNames[spec.Provider]),
		"ssh core@ADDRESS, to a main node's address in `devctl outputs`, and from there to the other nodes")
}

// knownNode refuses a name that no node of the stack has.
func knownNode(spec *stacks.Spec, name string) error {
	names := nodeNames(spec)
	if slices.Contains(names, name) {
		return nil
	}
	return fmt.Errorf("stack %q has no node %q%s (nodes: %s)", spec.Stack, name, didYouMean(name, names), strings.Join(names, ", "))
}

func nodeNames(spec *stacks.Spec) []string {
	var names []string
	for _, id := range spec.Identities() {
		names = append(names, id.Name)
	}
	return names
}
