package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newDocsCommand(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:     "docs",
		Hidden:  true,
		Short:   "Print the reference of all commands as Markdown",
		Long:    "Prints docs/cli.md, the reference of all commands, made from the commands themselves.",
		Example: "  devctl docs > docs/cli.md",
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return writeDocs(d.streams.Out, cmd.Root()) },
	}
}

// writeDocs writes the reference: the root, then every command that the help shows, depth first.
func writeDocs(w io.Writer, root *cobra.Command) error {
	var b strings.Builder
	b.WriteString("# devctl: command reference\n\n")
	b.WriteString("<!-- Made by `devctl docs > docs/cli.md`; a test checks that it is up to date. -->\n\n")
	b.WriteString(root.Long + "\n\n")
	for _, group := range root.Groups() {
		fmt.Fprintf(&b, "**%s**\n\n", strings.TrimSuffix(group.Title, ":"))
		for _, cmd := range root.Commands() {
			if cmd.GroupID == group.ID && cmd.IsAvailableCommand() {
				fmt.Fprintf(&b, "- [`%s`](#%s): %s\n", cmd.CommandPath(), anchor(cmd), cmd.Short)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("## Flags of every command\n\n")
	docsFlags(&b, root.PersistentFlags())
	for _, cmd := range root.Commands() {
		docsCommand(&b, cmd, "##")
	}
	_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}

func anchor(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func docsCommand(b *strings.Builder, cmd *cobra.Command, level string) {
	if !cmd.IsAvailableCommand() {
		return
	}
	fmt.Fprintf(b, "%s %s\n\n%s.\n\n", level, cmd.CommandPath(), cmd.Short)
	if cmd.Runnable() {
		fmt.Fprintf(b, "```\n%s\n```\n\n", cmd.UseLine())
	}
	fmt.Fprintf(b, "%s\n\n", cmd.Long)
	if cmd.Example != "" {
		fmt.Fprintf(b, "```sh\n%s\n```\n\n", dedent(cmd.Example))
	}
	docsFlags(b, cmd.NonInheritedFlags())
	for _, sub := range cmd.Commands() {
		docsCommand(b, sub, level+"#")
	}
}

func docsFlags(b *strings.Builder, flags *pflag.FlagSet) {
	var rows []string
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		value := ""
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
			value = "`" + f.DefValue + "`"
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s |\n", name, value, strings.ReplaceAll(f.Usage, "|", "\\|")))
	})
	if len(rows) > 0 {
		fmt.Fprintf(b, "| Flag | Default | |\n|---|---|---|\n%s\n", strings.Join(rows, ""))
	}
}

// dedent takes away the two columns that examples are indented by in the help.
func dedent(example string) string {
	return strings.TrimPrefix(strings.ReplaceAll(example, "\n  ", "\n"), "  ")
}
