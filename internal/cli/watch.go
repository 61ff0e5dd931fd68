package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"devctl/internal/api"
	"devctl/internal/cli/output"
)

const watchEvery = 2 * time.Second

// watchStatus follows the status until ctx ends, which is not an error.
func watchStatus(ctx context.Context, d *deps, c cluster, opts statusOptions) error {
	w := statusWatch{d: d, format: opts.format}
	for {
		st, err := askStatus(ctx, d, c)
		if ctx.Err() != nil {
			return nil
		}
		if err := w.show(st, err); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.after(watchEvery):
		}
	}
}

// statusWatch shows one status after another.
type statusWatch struct {
	d      *deps
	format output.Format
	seen   bool
	last   api.Status
	silent bool // the last time nobody answered
}

func (w *statusWatch) show(st api.Status, failed error) error {
	redraw := w.d.streams.OutTerminal && w.format == output.Table
	switch {
	case redraw:
		return w.redraw(st, failed)
	case failed != nil:
		if w.silent {
			return nil
		}
		w.silent = true
		_, err := fmt.Fprintf(w.d.streams.Err, "%s %s\n", w.d.now().Format(time.TimeOnly), failed)
		return err
	}
	lines := statusChanges(w.last, st)
	again := w.silent
	w.silent = false
	first := !w.seen
	w.seen, w.last = true, st
	switch {
	case !first && !again && len(lines) == 0:
		return nil
	case w.format != output.Table:
		return output.Write(w.d.streams.Out, w.format, st, nil)
	case first:
		return writeStatus(w.d.streams.Out, w.d, w.format, st)
	}
	if again {
		lines = append([]string{"the controllers answer again"}, lines...)
	}
	for _, line := range lines {
		if _, err := fmt.Fprintf(w.d.streams.Out, "%s %s\n", w.d.now().Format(time.TimeOnly), line); err != nil {
			return err
		}
	}
	return nil
}

// redraw writes one frame over the last one: every line is cleared to its end, and what is below it too, so
// nothing flickers.
func (w *statusWatch) redraw(st api.Status, failed error) error {
	style := w.d.outStyle()
	var lines []string
	switch {
	case failed == nil:
		w.last, w.seen = st, true
		lines = statusLines(st, w.d.now(), style)
	default:
		lines = append(lines, style.Bad("no answer: ")+strings.ReplaceAll(failed.Error(), "\n", " "))
		if w.seen {
			lines = append(append(lines, "", style.Faint("The last answer:")), statusLines(w.last, w.d.now(), style)...)
		}
	}
	lines = append(lines, "", style.Faint(w.d.now().Format(time.TimeOnly)+", every 2s, Ctrl-C ends"))
	width, height := 80, 24
	if w.d.streams.Size != nil {
		if cols, rows := w.d.streams.Size(); cols > 0 && rows > 0 {
			width, height = cols, rows
		}
	}
	lines = strings.Split(strings.Join(lines, "\n"), "\n")
	if len(lines) > height-1 {
		lines = append(lines[:max(height-2, 1)], style.Faint("…"))
	}
	var b strings.Builder
	b.WriteString("\x1b[H")
	for _, line := range lines {
		b.WriteString(output.Cut(line, width-1) + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	_, err := io.WriteString(w.d.streams.Out, b.String())
	return err
}
