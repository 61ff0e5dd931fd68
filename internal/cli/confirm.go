package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// mayAsk fails when a command would have to ask and nobody can answer. Commands call it before they do anything.
func mayAsk(cmd *cobra.Command, d *deps) error {
	if d.global.yes || d.streams.InTerminal && d.streams.ErrTerminal {
		return nil
	}
	return usagef(cmd, "%s asks before it changes anything, and there is no terminal to ask on: give --yes or set DEVCTL_YES=true", cmd.CommandPath())
}

// confirm asks a yes-or-no question, unless --yes was given.
func confirm(ctx context.Context, d *deps, question string) error {
	if d.global.yes {
		return nil
	}
	answer, err := ask(ctx, d, question+" [y/N] ")
	if err != nil {
		return err
	}
	switch strings.ToLower(answer) {
	case "y", "yes":
		return nil
	}
	return &cancelledError{what: "nothing was changed"}
}

// confirmName asks to type a name, unless --yes was given.
func confirmName(ctx context.Context, d *deps, question, name string) error {
	if d.global.yes {
		return nil
	}
	answer, err := ask(ctx, d, question)
	if err != nil {
		return err
	}
	if answer != name {
		return &cancelledError{what: fmt.Sprintf("%q is not %q: nothing was changed", answer, name)}
	}
	return nil
}

// ask reads a line from the terminal.
func ask(ctx context.Context, d *deps, prompt string) (string, error) {
	return askWith(ctx, d, prompt, func() (string, error) { return bufio.NewReader(d.streams.In).ReadString('\n') })
}

// askHidden is ask without showing what is typed.
func askHidden(ctx context.Context, d *deps, prompt string) (string, error) {
	read, restore, err := d.streams.Hidden()
	if err != nil {
		return "", fmt.Errorf("ask on the terminal: %w", err)
	}
	defer restore()
	line, err := askWith(ctx, d, prompt, read)
	if err == nil {
		fmt.Fprintln(d.streams.Err) // the typed line end was not shown either
	}
	return line, err
}

func askWith(ctx context.Context, d *deps, prompt string, read func() (string, error)) (string, error) {
	fmt.Fprint(d.streams.Err, prompt)
	type answer struct {
		line string
		err  error
	}
	// Reading a terminal cannot be interrupted: after Ctrl-C the read is left behind, and the process ends.
	answers := make(chan answer, 1)
	go func() {
		line, err := read()
		answers <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(d.streams.Err)
		return "", &cancelledError{what: "nothing was changed"}
	case a := <-answers:
		if a.err != nil && a.line == "" {
			fmt.Fprintln(d.streams.Err)
			return "", &cancelledError{what: "no answer: nothing was changed"}
		}
		return strings.TrimSpace(a.line), nil
	}
}
