package engine

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNoStack is what is asked of a stack that was never brought up.
var ErrNoStack = errors.New("there is no such stack; `devctl up` makes it")

// ErrCancelled ends a run whose context was cancelled, or that was killed. What was finished is in the state, and the
// next run goes on from there. What was being worked on then and did not get to its end is in a *FailedError beside it.
var ErrCancelled = errors.New("cancelled before it was complete")

// LockedError says who is working on the stack.
type LockedError struct {
	Stack string
	PID   int
	User  string
	Host  string
	Since time.Time
	Lock  string // file or URL; "" is a hold, which ends with its process
	Gone  bool   // the process was one of this machine, and is no more

	Command string // of a hold: what holds the stack
}

func (e *LockedError) Error() string {
	if e.Lock == "" {
		return fmt.Sprintf("stack %q is being changed by process %d of %s on %s since %s (%s); wait for it, or end it with Ctrl-C",
			e.Stack, e.PID, e.User, e.Host, e.Since.Format(time.RFC3339), e.Command)
	}
	if e.Gone {
		return fmt.Sprintf("stack %q is locked by process %d of %s on this machine, which ended without unlocking it; take the lock %s away with `devctl stack unlock %s`",
			e.Stack, e.PID, e.User, e.Lock, e.Stack)
	}
	return fmt.Sprintf("stack %q is being changed by process %d of %s on %s since %s; wait for it, or, if it is gone, take the lock %s away with `devctl stack unlock %s`",
		e.Stack, e.PID, e.User, e.Host, e.Since.Format(time.RFC3339), e.Lock, e.Stack)
}

// Failure is what went wrong with one resource.
type Failure struct {
	URN     string
	Type    string
	Name    string // empty when it was the program that failed, or the engine itself
	Op      Op
	Message string
}

// FailedError is a run that did not succeed: its failures, in the order they happened.
type FailedError struct {
	Op       string // preview, up, refresh, destroy
	Failures []Failure
	Dir      string // the run's log
}

// Error says each failure once, without Pulumi's surroundings.
func (e *FailedError) Error() string {
	parts := make([]string, len(e.Failures))
	for i, f := range e.Failures {
		parts[i] = f.Message
		if f.Name != "" {
			parts[i] = fmt.Sprintf("%s %s %q: %s", f.Op, f.Type, f.Name, f.Message)
		}
	}
	return fmt.Sprintf("%s: %s", e.Op, strings.Join(parts, "; "))
}

// cliError is what a pulumi command said on its standard error, shortened.
type cliError struct {
	said string
	err  error
}

func (e *cliError) Error() string { return e.said }
func (e *cliError) Unwrap() error { return e.err }

// plain shortens an error of the Automation API, which carries the whole output of the command, to what that
// command complained about.
func plain(err error) error {
	text := err.Error()
	_, stderr, found := strings.Cut(text, "\nstderr: ")
	if !found {
		return err
	}
	if i := strings.LastIndex(stderr, "error: "); i >= 0 {
		stderr = stderr[i+len("error: "):]
	}
	if stderr = strings.TrimSpace(stderr); stderr == "" {
		first, _, _ := strings.Cut(text, "\n")
		stderr = first
	}
	return &cliError{said: stderr, err: err}
}
