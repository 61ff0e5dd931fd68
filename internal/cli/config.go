package cli

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"devctl/stacks"
)

func newConfigCommand(d *deps) *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "config",
		Short: "Describe, check and compare specs",
		Long:  `Describes what a spec (stacks/Pulumi.<stack>.yaml) may hold, checks specs and compares them, without touching anything.`,
		Example: `  devctl config check
  devctl config diff staging prod
  devctl config schema`,
	}, newConfigCheckCommand(d), newConfigDiffCommand(d), newConfigSchemaCommand(d))
}

func newConfigSchemaCommand(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of specs",
		Long: `Prints the JSON Schema of specs. Editors complete and check a spec with it: write it to a file, and begin the spec with
a line "# yaml-language-server: $schema=FILE".`,
		Example: "  devctl config schema > stacks/schema.json",
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(d.streams.Out, strings.TrimRight(string(stacks.Schema()), "\n")+"\n")
			return err
		},
	}
}

func newConfigCheckCommand(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE|-]",
		Short: "Check a spec and report every problem at once",
		Long: `Checks the spec of the stack, or a file, or stdin ("-"). Every problem is reported at once, with its place, the
value and what would be valid; the exit code is 2 then.`,
		Example: `  devctl config check
  devctl config check stacks/Pulumi.local.yaml
  sed 's/count: 3/count: 4/' stacks/Pulumi.local.yaml | devctl config check -`,
		Args: atMostOne("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return checkStack(d)
			}
			return checkFile(d, args[0])
		},
	}
}

func checkStack(d *deps) error {
	spec, err := d.spec()
	if err != nil {
		return err
	}
	return checked(d, "the spec of stack "+spec.Stack, spec)
}

func checkFile(d *deps, file string) error {
	name, data, err := readFile(d, file)
	if err != nil {
		return err
	}
	spec, err := stacks.Parse(name, data, stackOf(file, d.global.stack))
	if err != nil {
		return err
	}
	return checked(d, name, spec)
}

func readFile(d *deps, file string) (name string, data []byte, err error) {
	data, err = readInput(d, file)
	if err != nil {
		return "", nil, &usageError{command: "devctl config check", err: fmt.Errorf("read spec: %w", err)}
	}
	if file == "-" {
		file = "stdin"
	}
	return file, data, nil
}

// stackOf is the stack that a spec's file name says, or else the one that was asked for.
func stackOf(file, stack string) string {
	name, isSpec := strings.CutPrefix(filepath.Base(file), "Pulumi.")
	if name, isYAML := strings.CutSuffix(name, ".yaml"); isSpec && isYAML && name != "" {
		return name
	}
	return stack
}

func checked(d *deps, what string, spec *stacks.Spec) error {
	if d.global.quiet {
		return nil
	}
	_, err := fmt.Fprintf(d.streams.Err, "%s is valid: provider %s, %d nodes, endpoint %s:%d\n", what, spec.Provider, spec.Size(), cmp.Or(spec.EndpointAddress(), spec.Domain), spec.Endpoint.Port)
	return err
}
