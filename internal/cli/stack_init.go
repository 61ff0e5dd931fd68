package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"devctl/internal/cli/output"
	"devctl/stacks"
)

type stackInitOptions struct {
	format output.Format
	from   string
}

func newStackInitCommand(d *deps) *cobra.Command {
	var opts stackInitOptions
	cmd := &cobra.Command{
		Use:   "init NAME --from local|aws|digitalocean",
		Short: "Write the spec of a new stack from an example",
		Long: `Writes stacks/Pulumi.NAME.yaml from the example for a provider, with a domain and a network that no other stack of the
project has, and says what in it only you can know. It touches nothing else and never overwrites a file. Outside of a
project it makes one: a Pulumi.yaml beside the folder of stacks.`,
		Example: `  devctl stack init alpha --from local && devctl up -s alpha
  devctl stack init prod --from aws
  devctl stack init prod --from aws -o json | jq -r '.edit[].key'`,
		Args:              exactly("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.from == "" {
				return usagef(cmd, "--from is missing: use %s", strings.Join(stacks.Providers(), ", "))
			}
			return runStackInit(cmd, d, args[0], opts)
		},
	}
	cmd.Flags().StringVar(&opts.from, "from", "", "provider whose example to start from: "+strings.Join(stacks.Providers(), ", "))
	mustRegister(cmd, "from", cobra.FixedCompletions(stacks.Providers(), cobra.ShellCompDirectiveNoFileComp))
	addFormat(cmd, &opts.format)
	return cmd
}

func runStackInit(cmd *cobra.Command, d *deps, name string, opts stackInitOptions) error {
	project, err := stacks.FindProject(d.global.dir)
	if err != nil {
		return err
	}
	created, err := project.Create(d.global.dir, name, opts.from)
	var file *fs.PathError
	switch {
	case errors.As(err, &file) && errors.Is(err, fs.ErrExist):
		return withNext(fmt.Errorf("%s is there already, nothing was written", file.Path), "choose another name, or edit that file")
	case errors.As(err, &file):
		return fmt.Errorf("write the spec of stack %q: %w", name, err)
	case err != nil:
		return &usageError{command: cmd.CommandPath(), err: err}
	}
	if err := output.Write(d.streams.Out, opts.format, created, func(w io.Writer) error { return writeCreated(w, d, created) }); err != nil {
		return err
	}
	return nil
}

// writeCreated tells of a new spec, and what to do with it.
func writeCreated(w io.Writer, d *deps, c *stacks.Created) error {
	s := d.outStyle()
	lines := []string{fmt.Sprintf("Wrote %s from the example for %s: network %s, domain %s.", s.Bold(c.File), c.From, c.CIDR, c.Domain)}
	if c.Project != "" {
		lines = append(lines, "Wrote "+c.Project+", which makes this folder a project.")
	}
	if len(c.Edit) > 0 {
		lines = append(lines, "", "Put in what is yours:")
		g := output.NewGrid()
		for _, edit := range c.Edit {
			sentence, _, _ := strings.Cut(edit.Doc, ". ")
			g.Row(fmt.Sprintf("  %s:%d", c.File, edit.Line), edit.Key, s.Faint("# "+strings.TrimSuffix(sentence, ".")))
		}
		lines = append(lines, g.Lines()...)
	}
	lines = append(lines, "", "Then:")
	then := output.NewGrid()
	on := *d
	on.global.stack = c.Stack
	then.Row("  "+on.command("config check"), s.Faint("# is it right?"))
	if c.From != stacks.ProviderLocal {
		then.Row("  "+on.command("secrets ls"), s.Faint("# which credentials are missing"))
	}
	then.Row("  "+on.command("preview"), s.Faint("# what would be made"))
	then.Row("  "+on.command("up"), s.Faint("# make it"))
	for _, line := range append(lines, then.Lines()...) {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
