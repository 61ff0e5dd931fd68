package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newGroup makes a command that only has subcommands. Without one, or with one that does not exist, it is an
// error, so that a misspelt script does not pass.
func newGroup(cmd *cobra.Command, subcommands ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(subcommands...)
	cmd.Args = cobra.ArbitraryArgs // RunE explains it better
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef(cmd, "%s needs a subcommand: %s", cmd.CommandPath(), strings.Join(subcommandNames(cmd), ", "))
		}
		return unknownCommand(cmd, args[0])
	}
	return cmd
}

func unknownCommand(cmd *cobra.Command, name string) error {
	return usagef(cmd, "unknown command %q for %q%s", name, cmd.CommandPath(), didYouMean(name, subcommandNames(cmd)))
}

func subcommandNames(cmd *cobra.Command) []string {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return names
}

// usagef is an error in how cmd was called.
func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{command: cmd.CommandPath(), err: fmt.Errorf(format, args...)}
}

// flagError explains a flag that could not be parsed.
func flagError(cmd *cobra.Command, err error) error {
	switch e := err.(type) {
	case *pflag.NotExistError:
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, "--"+f.Name)
			}
		})
		if len(e.GetSpecifiedName()) == 1 {
			return usagef(cmd, "unknown flag -%s of %q", e.GetSpecifiedName(), cmd.CommandPath())
		}
		name := "--" + e.GetSpecifiedName()
		return usagef(cmd, "unknown flag %s of %q%s", name, cmd.CommandPath(), didYouMean(name, names))
	case *pflag.InvalidValueError:
		return usagef(cmd, "--%s does not take %q: %w", e.GetFlag().Name, e.GetValue(), valid(e))
	case *pflag.ValueRequiredError:
		return usagef(cmd, "--%s needs a value", e.GetFlag().Name)
	default:
		return usagef(cmd, "%w", err)
	}
}

// valid says what a flag takes, where the cause of the error is a parser of the standard library.
func valid(e *pflag.InvalidValueError) error {
	switch e.GetFlag().Value.Type() {
	case "bool":
		return errors.New("use true or false")
	case "int":
		return errors.New("use a whole number")
	case "duration":
		return errors.New("use a duration, for example 90s or 5m")
	}
	return e.Unwrap()
}

// exactly wants so many arguments; names is how the help calls them.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usagef(cmd, "%s is missing: usage: %s", names[len(args)], cmd.UseLine())
		case len(args) > len(names):
			return usagef(cmd, "unexpected argument %q: usage: %s", args[len(names)], cmd.UseLine())
		}
		return nil
	}
}

// didYouMean is the end of a message about a name that does not exist, "" if nothing is close to it.
func didYouMean(name string, known []string) string {
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

// nearest returns the known name that takes the fewest typing mistakes to get from, "" if all take too many.
func nearest(name string, known []string) string {
	best, bestDistance := "", max(2, len(name)/3)+1
	for _, candidate := range known {
		distance := levenshtein.Distance(strings.ToLower(name), strings.ToLower(candidate), nil)
		if strings.HasPrefix(candidate, name) && len(name) > 1 {
			distance = 0
		}
		if distance < bestDistance && distance < len(candidate) {
			best, bestDistance = candidate, distance
		}
	}
	return best
}
