// Package cli is devctl's command line. It is the only package that knows terminals, flags and exit codes: data goes
// to stdout, everything else to stderr, and what went wrong ends as one message and one exit code in Run.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	_ "devctl/internal/cli/background"
	"devctl/internal/cli/output"
)

// Main is Run on the process's own streams.
func Main(args []string) int {
	return Run(context.Background(), standardStreams(os.Stdin, os.Stdout, os.Stderr), args)
}

// Run runs devctl with the given arguments (without the program's name) and returns the exit code: 0 done, 1 failed,
// 2 wrong usage or spec, 130 cancelled, and with `preview --detailed-exitcode` 2 for changes.
// While it runs, the first SIGINT or SIGTERM ends the context of the command, the second the hard one as well.
func Run(ctx context.Context, s Streams, args []string) int {
	ctx, hard, stop := interruptible(ctx)
	defer stop()
	d := realDeps(s)
	d.hard = hard
	return run(ctx, d, args)
}

func run(ctx context.Context, d *deps, args []string) int {
	root := newRootCommand(d)
	root.SetArgs(append([]string{}, args...)) // nil would mean the process's own
	cmd, err := root.ExecuteContextC(ctx)
	if cmd.GroupID == groupLife && errors.Is(err, context.Canceled) {
		err = withNext(err, d.command(cmd.Name())+" begins again") // as all of these can, whatever they had done
	}
	explain(d.streams.Err, d.errStyle(), d.program, err)
	return exitCode(err)
}

// globalOptions are the flags that every command takes.
type globalOptions struct {
	stack    string
	selected string // what stack is without flag and environment; bind sets it
	dir      string
	yes      bool
	quiet    bool
	noColor  bool
}

// Groups of the commands in the help.
const (
	groupLife   = "life"
	groupLook   = "look"
	groupNodes  = "nodes"
	groupConfig = "config"
	groupOther  = "other"
)

func newRootCommand(d *deps) *cobra.Command {
	root := &cobra.Command{
		Use:   "devctl",
		Short: "From a short spec to a running, self-healing Redis platform",
		Long: `devctl takes an environment from a short YAML file to a running, self-healing cluster: main nodes with etcd and
the controller, workers with a load balancer and a virtual IP, data nodes with Redis Cluster. The default stack,
local, runs on this machine.

Data goes to stdout and everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage or spec (nothing was
touched), 130 cancelled; "preview --detailed-exitcode" ends with 2 when there is something to change.`,
		Example: `  devctl up                  # bring the stack up, or up to date
  devctl status --watch      # how it is
  devctl preview             # what up would change
  devctl destroy             # remove it`,
		SilenceErrors:     true, // explain prints them
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true}, // completion.go has its own
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return d.bind(cmd) },
	}
	root.SetIn(d.streams.In)
	root.SetOut(d.streams.Out)
	root.SetErr(d.streams.Err)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(newHelpCommand())

	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.StringVarP(&d.global.stack, "stack", "s", defaultStack, "stack to work on, instead of the selected one (env DEVCTL_STACK)")
	flags.StringVarP(&d.global.dir, "project-dir", "C", ".", "folder of the project, or below it (env DEVCTL_PROJECT_DIR)")
	flags.BoolVar(&d.global.yes, "yes", false, "do not ask, go on (env DEVCTL_YES)")
	flags.BoolVarP(&d.global.quiet, "quiet", "q", false, "print only data, warnings and errors (env DEVCTL_QUIET)")
	flags.BoolVar(&d.global.noColor, "no-color", false, "do not colour (env NO_COLOR)")
	mustRegister(root, "stack", completeStacks(d))
	root.Flags().BoolP("help", "h", false, "show help")

	root.AddGroup(
		&cobra.Group{ID: groupLife, Title: "Bring up and take down:"},
		&cobra.Group{ID: groupLook, Title: "Look:"},
		&cobra.Group{ID: groupNodes, Title: "Reach nodes and services:"},
		&cobra.Group{ID: groupConfig, Title: "Configuration:"},
		&cobra.Group{ID: groupOther, Title: "Other:"},
	)
	newGroup(root, commands(d)...)
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return cmd.Help()
	}
	return root
}

// commands are devctl's commands, by the group that the help shows them in.
func commands(d *deps) []*cobra.Command {
	grouped := []struct {
		group    string
		commands []*cobra.Command
	}{
		{groupLife, []*cobra.Command{
			newUpCommand(d), newPreviewCommand(d), newDeployCommand(d), newRollCommand(d), newScaleCommand(d), newRefreshCommand(d), newDestroyCommand(d),
			newEtcdCommand(d),
		}},
		{groupLook, []*cobra.Command{newStatusCommand(d), newOutputsCommand(d), newStackCommand(d), newDoctorCommand(d)}},
		{groupNodes, []*cobra.Command{newLogsCommand(d), newSSHCommand(d), newExecCommand(d), newRedisCommand(d)}},
		{groupConfig, []*cobra.Command{newConfigCommand(d), newSecretsCommand(d), newRenderCommand(d)}},
		{groupOther, []*cobra.Command{newVersionCommand(d), newCompletionCommand(d), newDocsCommand(d)}},
	}
	var all []*cobra.Command
	for _, g := range grouped {
		for _, cmd := range g.commands {
			cmd.GroupID = g.group
			all = append(all, cmd)
		}
	}
	return all
}

func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show the help of a command",
		Long:    "Shows the help of a command, as the command's --help does.",
		Example: "  devctl help up",
		GroupID: groupOther,
		RunE: func(cmd *cobra.Command, args []string) error {
			found := cmd.Root()
			for _, name := range args {
				next, _, err := found.Find([]string{name})
				if err != nil || next == found {
					return unknownCommand(found, name)
				}
				found = next
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

// bindEnvironment gives every global flag that was not given the value of its environment variable.
func bindEnvironment(cmd *cobra.Command, getenv func(string) string) error {
	var bad error
	cmd.Root().PersistentFlags().VisitAll(func(f *pflag.Flag) {
		name := "DEVCTL_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := getenv(name)
		if f.Name == "no-color" {
			// https://no-color.org: any value but an empty one.
			name, value = "NO_COLOR", strconv.FormatBool(getenv("NO_COLOR") != "")
		}
		if f.Changed || value == "" {
			return
		}
		if err := f.Value.Set(value); err != nil {
			bad = errors.Join(bad, fmt.Errorf("the environment variable %s does not take %q: use true or false", name, value))
		}
	})
	if bad != nil {
		return &usageError{command: cmd.CommandPath(), err: bad}
	}
	return nil
}

// addFormat gives a read command its -o flag.
func addFormat(cmd *cobra.Command, format *output.Format) {
	*format = output.Table
	cmd.Flags().VarP(format, "output", "o", strings.Join(output.Formats(), "|"))
	mustRegister(cmd, "output", cobra.FixedCompletions(output.Formats(), cobra.ShellCompDirectiveNoFileComp))
}

// mustRegister sets the completion of a flag that the same function has just defined.
func mustRegister(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // only when the flag does not exist: a slip in this package that every test would meet
	}
}
