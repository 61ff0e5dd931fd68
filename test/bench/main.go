// Command bench measures what devctl promises, as ratios, times and sizes taken in one run on one machine, each beside the
// bound that it is held to. `make bench` runs all of it and writes docs/benchmarks.md; `go run ./test/bench PART…` runs
// some of its parts and prints what that page would say of them.
//
// It brings up a stack of its own, beside whatever else runs here, and removes it afterwards, also when it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// part is one thing that can be measured by itself.
type part struct {
	name string
	run  func(*bench) (section, error)
}

// parts are all there is. Those that need a standing stack come one after the other: it is brought up once.
var parts = []part{
	{"previews", (*bench).previews},
	{"memory", (*bench).memory},
	{"preview", (*bench).preview},
	{"throughput", (*bench).throughput},
	{"heal", (*bench).heal},
	{"up", (*bench).up},
	{"sizes", (*bench).sizes},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	work := run
	if len(os.Args) == 4 && os.Args[1] == bareEngine {
		work = func(ctx context.Context) error { return runBareEngine(ctx, os.Args[2], os.Args[3]) }
	}
	if err := work(ctx); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	file := flag.String("o", "", "write the report to `FILE`, too")
	flag.Parse()
	chosen, err := choose(flag.Args())
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "devctl-bench-")
	if err != nil {
		return err
	}
	b := &bench{ctx: ctx, dir: dir}
	defer func() { err = errors.Join(err, b.clean(), os.RemoveAll(dir)) }()
	if err := b.prepare(); err != nil {
		return err
	}
	report, err := b.preface()
	if err != nil {
		return err
	}
	fmt.Print(report)
	for _, p := range chosen {
		s, err := p.run(b)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Print(s.markdown())
		report += s.markdown()
	}
	if *file == "" {
		return nil
	}
	return os.WriteFile(*file, []byte(report), 0o644)
}

// choose returns the parts of these names, in the order in which they run; all of them when there are no names.
func choose(names []string) ([]part, error) {
	var known []string
	for _, p := range parts {
		known = append(known, p.name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no part %q, there are %s", name, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return len(names) > 0 && !slices.Contains(names, p.name) }), nil
}
