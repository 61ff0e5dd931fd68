package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

const (
	previewTurns = 7
	manyStacks   = 30
	manyTurns    = 3
	fewSlots     = 30
	manySlots    = 300

	maxPreview = 1.1
)

// preview measures `preview` of a local stack that has nothing to change.
func (b *bench) preview() (section, error) {
	s := section{
		title: "`devctl preview` with nothing changed",
		text: fmt.Sprintf("Of the standing local stack, against the bare engine on the same program, state and provider: Pulumi's Automation API with nothing of\n"+
			"devctl around it. Both compare with what Docker has; devctl asks the controllers as well, and checks spec and machine.\n"+
			"Each run is a process of its own. %d turns.", previewTurns),
		head: previewHead,
	}
	if err := b.stand(); err != nil {
		return s, err
	}
	ours := func(string) error {
		_, err := b.devctl("preview", "--detailed-exitcode") // fails when there is something to change
		return err
	}
	row, err := b.previewRow("nothing changed", previewTurns, []string{stackName}, ours)
	s.rows = [][]string{row}
	return s, err
}

// previews measures `preview --offline` of stacks on AWS that are not there yet, on stand-ins.
func (b *bench) previews() (section, error) {
	s := section{
		title: "`devctl preview --offline`",
		text: fmt.Sprintf("Of stacks on AWS that are not there yet, against the bare engine on the same program and stand-ins for the providers.\n"+
			"%d turns with one stack, %d with %d in one go.", previewTurns, manyTurns, manyStacks),
		head: previewHead,
	}
	spec, err := os.ReadFile("stacks/Pulumi.aws.yaml")
	if err != nil {
		return s, err
	}
	write := func(stack string, data int) error {
		before, after, found := strings.Cut(string(spec), "\n    data:\n      count: 3")
		if !found {
			return errors.New("stacks/Pulumi.aws.yaml has no data count of 3 any more: look at how the bench changes it")
		}
		text := fmt.Sprintf("%s\n    data:\n      count: %d%s", before, data, after)
		return os.WriteFile(b.specFile(stack), []byte(text), 0o644)
	}
	var many []string
	for i := range manyStacks {
		many = append(many, fmt.Sprintf("aws%d", i+1))
		if err := write(many[i], 3); err != nil {
			return s, err
		}
	}
	one, err := b.previewRow("one stack", previewTurns, many[:1], b.previewOffline)
	if err != nil {
		return s, err
	}
	all, err := b.previewRow(fmt.Sprintf("%d stacks", manyStacks), manyTurns, many, b.previewOffline)
	if err != nil {
		return s, err
	}
	if err := errors.Join(write("few", fewSlots), write("many", manySlots)); err != nil {
		return s, err
	}
	growth, err := b.growth()
	s.rows = [][]string{one, all, growth}
	return s, err
}

var previewHead = []string{"what", "devctl", "bare engine", "ratio", "bound", ""}

// growth measures how much longer a preview with many nodes takes than one with few.
func (b *bench) growth() ([]string, error) {
	offline := func(stack string) func() (time.Duration, error) {
		return timed(func() error { return b.previewOffline(stack) })
	}
	took, err := turns(manyTurns, offline("many"), offline("few"))
	if err != nil {
		return nil, err
	}
	row := []string{fmt.Sprintf("%d data nodes against %d, both with devctl", manySlots, fewSlots)}
	return append(row, compared(took[0], took[1], manySlots/fewSlots)...), nil
}

// previewRow measures both on every one of the stacks.
func (b *bench) previewRow(what string, count int, names []string, ours func(stack string) error) ([]string, error) {
	progress("preview, %s", what)
	each := func(preview func(stack string) error) func() (time.Duration, error) {
		return timed(func() error {
			for _, name := range names {
				if err := preview(name); err != nil {
					return err
				}
			}
			return nil
		})
	}
	took, err := turns(count, each(ours), each(b.barePreview))
	if err != nil {
		return nil, err
	}
	return append([]string{what}, compared(took[0], took[1], maxPreview)...), nil
}

func (b *bench) previewOffline(stack string) error {
	_, err := b.devctl("preview", "--offline", "--stack", stack)
	return err
}

// compared are the cells that say how long a and b took, and whether the ratio is within the bound.
func compared(a, b []time.Duration, limit float64) []string {
	each := ratios(a, b)
	return append([]string{seconds(median(a)), seconds(median(b)), spread(each)}, atMost(median(each), limit)...)
}
