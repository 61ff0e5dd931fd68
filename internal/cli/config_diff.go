package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"devctl/internal/cli/output"
	"devctl/stacks"
)

func newConfigDiffCommand(d *deps) *cobra.Command {
	var format output.Format
	cmd := &cobra.Command{
		Use:   "diff STACK STACK",
		Short: "Show what two specs have different",
		Long: `Compares the specs of two stacks key by key, with defaults applied: what makes no difference to the stacks is not
shown. It reads the spec files only.`,
		Example: `  devctl config diff staging prod
  devctl config diff staging prod -o json | jq -r '.[].key'`,
		Args:              exactly("STACK", "STACK"),
		ValidArgsFunction: completeTwoStacks(d),
		RunE:              func(_ *cobra.Command, args []string) error { return runConfigDiff(d, args[0], args[1], format) },
	}
	addFormat(cmd, &format)
	return cmd
}

func runConfigDiff(d *deps, left, right string, format output.Format) error {
	project, err := stacks.FindProject(d.global.dir)
	if err != nil {
		return err
	}
	l, err := project.Load(left)
	if err != nil {
		return err
	}
	r, err := project.Load(right)
	if err != nil {
		return err
	}
	differences := stacks.Diff(l, r)
	return output.Write(d.streams.Out, format, differences, func(w io.Writer) error {
		if len(differences) == 0 {
			_, err := fmt.Fprintf(w, "The specs of %s and %s say the same.\n", left, right)
			return err
		}
		g := output.NewGrid("KEY", left, right)
		for _, difference := range differences {
			g.Row(difference.Key, specValue(difference.Left), specValue(difference.Right))
		}
		return g.Write(w)
	})
}

// specValue is a value of a spec on one line, as YAML would have it.
func specValue(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []string:
		return "[" + strings.Join(v, ", ") + "]"
	default:
		return fmt.Sprint(v)
	}
}

// completeTwoStacks offers stacks as the first and, without that one, as the second argument.
func completeTwoStacks(d *deps) cobra.CompletionFunc {
	all := completeStacks(d)
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		offers, directive := all(cmd, args, toComplete)
		var rest []string
		for _, offer := range offers {
			if len(args) < 2 && (len(args) == 0 || offer != args[0]) {
				rest = append(rest, offer)
			}
		}
		return rest, directive
	}
}
