package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"devctl/internal/atomicfile"
	"devctl/internal/cli/output"
	"devctl/internal/engine"
)

func newStackExportCommand(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:   "export [FILE|-]",
		Short: "Write the state of a stack to a file or to stdout",
		Long: `Writes the stack's state as JSON: a backup, or the way to another backend. Secrets in it stay encrypted; what they are
encrypted with (the passphrase file, or the key in KMS) has to be kept as well.`,
		Example: `  devctl stack export backup.json
  devctl stack export -s prod - | gzip > prod.json.gz`,
		Args: atMostOne("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runStackExport(cmd.Context(), d, append(args, "-")[0])
		},
	}
}

func runStackExport(ctx context.Context, d *deps, file string) error {
	state, err := d.state(ctx, d.global.stack, false)
	if err != nil {
		return err
	}
	data, err := state.Export(ctx)
	if err != nil {
		return err
	}
	if file == "-" {
		_, err := d.streams.Out.Write(data)
		return err
	}
	if err := atomicfile.Write(file, data, 0o600); err != nil {
		return fmt.Errorf("export stack %q: %w", d.global.stack, err)
	}
	d.say("Wrote the state of stack %s to %s.", d.global.stack, file)
	return nil
}

type stackImportOptions struct {
	format output.Format
	force  bool
}

// importedView is what `devctl stack import` tells.
type importedView struct {
	Stack     string `json:"stack"`
	Resources int    `json:"resources"` // the engine's own included
}

func newStackImportCommand(d *deps) *cobra.Command {
	var opts stackImportOptions
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Replace the state of a stack by an exported one",
		Long: `Replaces what devctl knows of the stack by a state that "devctl stack export" wrote, in the backend that the spec names
now. Machines are not touched: "devctl refresh" compares the state with them. A state of another stack is refused
unless --force is given, for the next "up" would remove everything in it; so is an empty one
in place of one that is not.`,
		Example: `  devctl stack import backup.json
  gunzip -c prod.json.gz | devctl stack import -s prod --yes -`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := mayAsk(cmd, d); err != nil {
				return err
			}
			if args[0] == "-" && !d.global.yes {
				return usagef(cmd, "stdin cannot be the state and answer questions: give --yes")
			}
			return runStackImport(cmd, d, args[0], opts)
		},
	}
	cmd.Flags().BoolVar(&opts.force, "force", false, "take the state of another stack, or an empty one")
	addFormat(cmd, &opts.format)
	return cmd
}

func runStackImport(cmd *cobra.Command, d *deps, file string, opts stackImportOptions) error {
	ctx, stack := cmd.Context(), d.global.stack
	data, err := readInput(d, file)
	if err != nil {
		return &usageError{command: cmd.CommandPath(), err: fmt.Errorf("read state: %w", err)}
	}
	state, err := d.state(ctx, stack, true)
	if err != nil {
		return err
	}
	resources, err := state.CheckState(data)
	var foreign *engine.ForeignStateError
	switch {
	case errors.As(err, &foreign) && opts.force:
		d.say("%s%s; the next %s removes everything in it.", d.errStyle().Warn("warning: "), err, d.command("up"))
	case errors.As(err, &foreign):
		return withNext(fmt.Errorf("import into stack %q: %w; nothing was changed", stack, err), "-s chooses the stack, --force imports it all the same")
	case err != nil:
		return fmt.Errorf("import into stack %q: %w; nothing was changed", stack, err)
	case resources == 0 && !opts.force:
		known, err := state.Resources(ctx)
		if err != nil && !errors.Is(err, engine.ErrNoStack) {
			return err
		}
		if len(known) > 0 {
			return withNext(fmt.Errorf("import into stack %q: it is a state without resources, and the one that it would replace has %d; nothing was changed", stack, len(known)),
				d.command("destroy")+" removes what there is, --force makes devctl forget it")
		}
	}
	question := fmt.Sprintf("Replace what devctl knows of stack %s by %s?", stack, file)
	if !state.Exists() {
		question = fmt.Sprintf("Make stack %s from %s?", stack, file)
	}
	if err := confirm(ctx, d, question); err != nil {
		return err
	}
	if err := state.Import(ctx, data, opts.force); err != nil {
		return err
	}
	view := importedView{Stack: stack, Resources: resources}
	return output.Write(d.streams.Out, opts.format, view, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "Imported the state of stack %s. %s compares it with what there is.\n", stack, d.command("refresh"))
		return err
	})
}

func newStackUnlockCommand(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:   "unlock NAME",
		Short: "Take the locks off a stack that nobody works on",
		Long: `Takes the locks off a stack whose run ended without doing so itself. In a state on this machine devctl clears locks of
dead processes by itself; on another machine, or in a bucket, only you can know that nobody works on the stack: two
runs at once damage its state.`,
		Example:           "  devctl stack unlock prod",
		Args:              exactly("NAME"),
		ValidArgsFunction: firstStack(d),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := mayAsk(cmd, d); err != nil {
				return err
			}
			return runStackUnlock(cmd.Context(), d, args[0])
		},
	}
}

func runStackUnlock(ctx context.Context, d *deps, stack string) error {
	state, err := d.state(ctx, stack, false)
	if err != nil {
		return err
	}
	if !state.Exists() {
		return fmt.Errorf("stack %q: %w", stack, engine.ErrNoStack)
	}
	if err := confirm(ctx, d, fmt.Sprintf("Take the locks off stack %s? Only when nobody works on it.", stack)); err != nil {
		return err
	}
	if err := state.Unlock(ctx); err != nil {
		return err
	}
	d.say("Stack %s is not locked.", stack)
	return nil
}

// readInput reads a file, or stdin.
func readInput(d *deps, file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(d.streams.In)
	}
	return os.ReadFile(file)
}

// atMostOne wants one argument or none.
func atMostOne(name string) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return exactly(name)(cmd, args)
		}
		return nil
	}
}
