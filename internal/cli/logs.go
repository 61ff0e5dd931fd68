package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"devctl/internal/api"
	"devctl/internal/localcloud"
	"devctl/stacks"
	"devctl/units"
)

type logsOptions struct {
	follow bool
	lines  int
}

func newLogsCommand(d *deps) *cobra.Command {
	var opts logsOptions
	cmd := &cobra.Command{
		Use:   "logs NODE [UNIT...] | UNIT...",
		Short: "Show the journal of a node, or of a unit on all nodes that run it",
		Long: `Shows the journal of a node, or of some of its units; or, when no node is named, the journal of units on all nodes
that run them, each line with its node in front. A unit may be given without ".service". The logs come from the
nodes themselves, so they can be read when no controller answers.`,
		Example: `  devctl logs main-1 -n 50
  devctl logs data-1 redis-1
  devctl logs redis-1 -f             # on every node that runs it
  devctl logs devctl-controller -f   # of all controllers`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef(cmd, "a node or a unit is needed: usage: %s", cmd.UseLine())
			}
			if opts.lines < 0 {
				return usagef(cmd, "--lines does not take \"%d\": use 0 or more", opts.lines)
			}
			return nil
		},
		ValidArgsFunction: completeLogs(d),
		RunE:              func(cmd *cobra.Command, args []string) error { return runLogs(cmd.Context(), d, opts, args) },
	}
	cmd.Flags().BoolVarP(&opts.follow, "follow", "f", false, "go on with new lines until interrupted")
	cmd.Flags().IntVarP(&opts.lines, "lines", "n", 200, "so many of the last lines of each node")
	return cmd
}

func runLogs(ctx context.Context, d *deps, opts logsOptions, args []string) error {
	spec, err := d.spec()
	if err == nil {
		err = onThisMachine(spec)
	}
	if err != nil {
		return err
	}
	if slices.Contains(nodeNames(spec), args[0]) {
		return nodeLogs(ctx, d, opts, spec, args[0], args[1:])
	}
	for _, unit := range args {
		if short := shortUnits(spec); !slices.Contains(short, strings.TrimSuffix(unit, ".service")) {
			nodes := nodeNames(spec)
			return &usageError{command: "devctl logs", err: fmt.Errorf("stack %q has neither a node nor a unit %q%s (nodes: %s; units: %s)",
				spec.Stack, unit, didYouMean(unit, append(nodes, short...)), strings.Join(nodes, ", "), strings.Join(short, ", "))}
		}
	}
	return unitLogs(ctx, d, opts, spec, args)
}

// nodeLogs passes one node's journal through. Units that are not ours have logs too, so a name is wrong only when
// there is nothing under it.
func nodeLogs(ctx context.Context, d *deps, opts logsOptions, spec *stacks.Spec, node string, units []string) error {
	var printed bool
	out := &prefixWriter{mu: new(sync.Mutex), w: d.streams.Out, printed: &printed}
	code, err := d.exec(ctx, spec.Stack, node, localcloud.ExecOptions{Argv: journalctl(opts, units), Stdout: out, Stderr: d.streams.Err})
	out.flush()
	if err := logsError(ctx, d, node, code, err); err != nil || printed || opts.follow || opts.lines == 0 || len(units) == 0 {
		return err
	}
	hint := ""
	for _, unit := range units {
		if short := shortUnits(spec); !slices.Contains(short, strings.TrimSuffix(unit, ".service")) {
			hint += didYouMean(unit, short)
		}
	}
	return withNext(fmt.Errorf("%s has no log of %s%s", node, strings.Join(units, ", "), hint),
		d.command("exec "+node+" -- systemctl list-units")+" shows its units")
}

// unitLogs shows units on all nodes. Every node is asked: which ones run a unit is known to the controllers, but
// logs are wanted most when these do not answer.
func unitLogs(ctx context.Context, d *deps, opts logsOptions, spec *stacks.Spec, units []string) error {
	var (
		mu       sync.Mutex // one line at a time on stdout
		printed  bool
		failures = make([]error, len(spec.Identities()))
		g        errgroup.Group
	)
	width := 0
	for _, id := range spec.Identities() {
		width = max(width, len(id.Name))
	}
	pages := make([]bytes.Buffer, len(spec.Identities())) // by node, to be shown in their order
	for i, id := range spec.Identities() {
		var page io.Writer = &pages[i]
		if opts.follow {
			page = d.streams.Out
		}
		g.Go(func() error {
			out := &prefixWriter{mu: &mu, w: page, printed: &printed, prefix: fmt.Sprintf("%-*s | ", width, id.Name)}
			var complaint bytes.Buffer
			code, err := d.exec(ctx, spec.Stack, id.Name, localcloud.ExecOptions{Argv: journalctl(opts, units), Stdout: out, Stderr: &complaint})
			out.flush()
			if failures[i] = logsError(ctx, d, id.Name, code, err); failures[i] != nil && complaint.Len() > 0 {
				failures[i] = fmt.Errorf("%w: %s", failures[i], strings.TrimSpace(complaint.String()))
			}
			return nil
		})
	}
	_ = g.Wait() // failures are kept by node: the others' lines are worth having
	for i := range pages {
		if _, err := pages[i].WriteTo(d.streams.Out); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return logsError(ctx, d, "", 0, nil)
	}
	failed := slices.DeleteFunc(failures, func(err error) bool { return err == nil })
	switch {
	case printed:
		for _, err := range failed {
			fmt.Fprintln(d.streams.Err, d.errStyle().Warn("warning: ")+err.Error())
		}
		return nil
	case len(failed) > 0:
		return failed[0]
	}
	return withNext(fmt.Errorf("no node of stack %q has a log of %s", spec.Stack, strings.Join(units, ", ")), d.command("status")+" shows which units there are")
}

func journalctl(opts logsOptions, units []string) []string {
	argv := []string{"journalctl", "--no-pager", "--quiet", "--output=short-iso", "--lines=" + strconv.Itoa(opts.lines)}
	if opts.follow {
		argv = append(argv, "--follow")
	}
	for _, unit := range units {
		argv = append(argv, "--unit="+unitFile(unit))
	}
	return argv
}

// logsError is how reading a journal ended. That a person ended it with Ctrl-C is how following ends.
func logsError(ctx context.Context, d *deps, node string, code int, err error) error {
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return withNext(fmt.Errorf("read the journal of %s: %w", node, err), d.command("status")+" shows which nodes are there, "+d.command("up")+" brings back what is missing")
	case code != 0:
		return fmt.Errorf("read the journal of %s: journalctl ended with exit code %d", node, code)
	}
	return nil
}

// unitFile is a unit's full name.
func unitFile(unit string) string {
	if strings.Contains(unit, ".") {
		return unit
	}
	return unit + ".service"
}

// unitNames lists every unit of ours that a node of the stack may run; the images do not matter for that.
func unitNames(spec *stacks.Spec) []string {
	var names []string
	for _, role := range api.Roles() {
		for _, unit := range units.Node(role, units.NodeArgs{}) {
			names = append(names, unit.Name)
		}
	}
	for _, a := range assignments(spec, api.ServiceImages{}) {
		names = append(names, a.Unit)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// shortUnits are the same without ".service", as people name them.
func shortUnits(spec *stacks.Spec) []string {
	names := unitNames(spec)
	for i, name := range names {
		names[i] = strings.TrimSuffix(name, ".service")
	}
	return names
}

// prefixWriter writes whole lines with a prefix, so that the lines of several nodes do not mix.
type prefixWriter struct {
	mu      *sync.Mutex
	w       io.Writer
	printed *bool
	prefix  string
	rest    []byte // the line so far
}

func (p *prefixWriter) Write(data []byte) (int, error) {
	p.rest = append(p.rest, data...)
	end := bytes.LastIndexByte(p.rest, '\n')
	if end < 0 {
		return len(data), nil
	}
	lines := p.rest[:end+1]
	defer func() { p.rest = append([]byte(nil), p.rest[end+1:]...) }()
	p.mu.Lock()
	defer p.mu.Unlock()
	*p.printed = true
	for line := range bytes.Lines(lines) {
		if _, err := p.w.Write(append([]byte(p.prefix), line...)); err != nil {
			return 0, err
		}
	}
	return len(data), nil
}

// flush writes a last line that has no end.
func (p *prefixWriter) flush() {
	if len(p.rest) > 0 {
		_, _ = p.Write([]byte("\n"))
	}
}
