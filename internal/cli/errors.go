package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"devctl/internal/cli/output"
	"devctl/stacks"
)

// Exit codes.
const (
	exitDone      = 0
	exitFailed    = 1
	exitUsage     = 2 // the command line or the spec is wrong; nothing was touched
	exitChanges   = 2 // preview --detailed-exitcode: there is something to change
	exitCancelled = 130
)

// usageError is a wrong command line.
type usageError struct {
	command string // whose help to point at
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// nextError is an error with what to do about it.
type nextError struct {
	err  error
	next string // a command, or a sentence
}

func (e *nextError) Error() string { return e.err.Error() }
func (e *nextError) Unwrap() error { return e.err }

// withNext adds what to do next to an error, unless something below has said so already.
func withNext(err error, next string) error {
	var said *nextError
	if err == nil || errors.As(err, &said) {
		return err
	}
	return &nextError{err: err, next: next}
}

// cancelledError is a person who changed their mind: an answer of no, or Ctrl-C.
type cancelledError struct{ what string }

func (e *cancelledError) Error() string { return e.what }

// exitError ends the command with a code of its own after everything has been said.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// explainedError keeps the cause of a text that says more than the cause does.
type explainedError struct {
	text  string
	cause error
}

func (e *explainedError) Error() string { return e.text }
func (e *explainedError) Unwrap() error { return e.cause }

// exitCode is the one place that turns an error into an exit code.
func exitCode(err error) int {
	var (
		exit      *exitError
		cancelled *cancelledError
		usage     *usageError
		spec      *stacks.SpecError
		missing   *stacks.NotFoundError
	)
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &cancelled), errors.Is(err, context.Canceled):
		return exitCancelled
	case errors.As(err, &usage), errors.As(err, &spec), errors.As(err, &missing):
		return exitUsage
	default:
		return exitFailed
	}
}

// explain tells a person about an error: what failed, then what to do next.
// The program is how devctl was called, for commands to paste.
func explain(w io.Writer, style output.Style, program string, err error) {
	var (
		exit  *exitError
		usage *usageError
		next  *nextError
		spec  *stacks.SpecError
	)
	switch {
	case err == nil, errors.As(err, &exit):
		return
	case errors.As(err, &spec):
		fmt.Fprintf(w, "%s%s, nothing was touched:\n", style.Bad("error: "), count(len(spec.Problems), "problem in the spec", "problems in the spec"))
		for _, problem := range spec.Problems {
			fmt.Fprintf(w, "  %s\n", problem)
		}
		fmt.Fprintf(w, "%s%[2]s config schema describes every key, %[2]s config check %[3]s checks the file again\n", style.Bold("next: "), program, quoted(spec.Problems[0].File))
		return
	case exitCode(err) == exitCancelled:
		fmt.Fprintln(w, style.Warn("cancelled: ")+cancelReason(err))
	default:
		fmt.Fprintln(w, style.Bad("error: ")+strings.TrimSpace(err.Error()))
	}
	if errors.As(err, &next) {
		fmt.Fprintln(w, style.Bold("next: ")+next.next)
	} else if errors.As(err, &usage) {
		fmt.Fprintln(w, style.Bold("next: ")+program+strings.TrimPrefix(usage.command, "devctl")+" --help")
	}
}

func cancelReason(err error) string {
	if errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	return err.Error()
}

// count is a number of things in words: 1 node, 3 nodes.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
