// Package progress shows how a long command gets on: on a terminal a few lines that are redrawn in place under
// the lines that stay, elsewhere the same information as plain lines with the time in front.
package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"devctl/internal/cli/output"
)

// Level says how a line is meant.
type Level int

// The levels.
const (
	Info Level = iota
	Good
	Warn
	Bad
)

// Row is one thing that is watched: a resource or a node.
type Row struct {
	Key   string    // what stays the same while the row changes
	Cells []string  // the row on a terminal
	Line  string    // the same for a plain log; printed whenever it changes
	Level Level     // of Line
	Since time.Time // when it began to be busy; zero if it is not
}

// Options say what Display draws on.
type Options struct {
	Live  bool                        // the writer is a terminal that can be redrawn
	Size  func() (width, height int)  // of that terminal; zeros if it is not known
	Style output.Style                // colours
	Quiet bool                        // only warnings and errors
	Now   func() time.Time            // clock
	Every func(time.Duration) Stopper // starts ticking; nil for a ticker of the real clock
}

// Stopper is something that ticks until it is stopped.
type Stopper struct {
	C    <-chan time.Time
	Stop func()
}

const (
	frameTime   = 125 * time.Millisecond
	plainTime   = time.Second
	firstNotice = 3 * time.Second  // a wait this long is told on plain logs
	nextNotice  = 15 * time.Second // and again so often
)

// Display is safe for concurrent use.
type Display struct {
	opts Options
	stop func()

	mu      sync.Mutex
	w       io.Writer
	title   string // of the running step, "" between steps
	started time.Time
	header  []string
	rows    []Row
	lines   map[string]string // last printed line by row key
	wait    string
	waiting time.Time // since when
	noticed time.Time // when the wait was last told
	frame   int
	drawn   []int // widths of the lines of the last frame
	closed  bool
}

// New returns a display that draws on w until it is closed.
func New(w io.Writer, o Options) *Display {
	d := &Display{opts: o, w: w, lines: map[string]string{}}
	every := o.Every
	if every == nil {
		every = realTicker
	}
	interval := plainTime
	if o.Live {
		interval = frameTime
	}
	ticks, done, ended := every(interval), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-ticks.C:
				d.tick()
			}
		}
	}()
	d.stop = sync.OnceFunc(func() {
		ticks.Stop()
		close(done)
		<-ended
	})
	return d
}

func realTicker(interval time.Duration) Stopper {
	t := time.NewTicker(interval)
	return Stopper{C: t.C, Stop: t.Stop}
}

// Close removes what is drawn and leaves the lines that stay. It may be called twice.
func (d *Display) Close() {
	d.stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.title = ""
	d.update("")
	d.closed = true
}

// Start begins a step, for example "Creating stack local".
func (d *Display) Start(title string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.opts.Now()
	d.title, d.started = title, now
	d.header, d.rows, d.wait = nil, nil, ""
	clear(d.lines)
	d.update(d.line(Info, d.opts.Style.Bold(title)))
}

// Done ends the step and says what came of it and how long it took.
func (d *Display) Done(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	took := Elapsed(d.opts.Now().Sub(d.started))
	d.title, d.header, d.rows, d.wait = "", nil, nil, ""
	d.update(d.line(Good, text+" in "+took))
}

// Skip ends the step without a word: there was nothing to do.
func (d *Display) Skip() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.title, d.header, d.rows, d.wait = "", nil, nil, ""
	d.update("")
}

// Print writes a line that stays. A closed display writes nothing and returns false.
func (d *Display) Print(level Level, text string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.update(d.line(level, text))
	return !d.closed
}

// Wait says what is being waited for; "" says that nothing is.
func (d *Display) Wait(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if what == d.wait {
		return
	}
	d.wait, d.waiting, d.noticed = what, d.opts.Now(), time.Time{}
	d.update("")
}

// Rows shows what is watched. A terminal shows all rows; a plain log tells those that have changed.
func (d *Display) Rows(header []string, rows []Row) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.header, d.rows = header, rows
	var changed strings.Builder
	for _, row := range rows {
		if d.opts.Live || row.Line == "" || d.lines[row.Key] == row.Line {
			continue
		}
		d.lines[row.Key] = row.Line
		changed.WriteString(d.line(row.Level, row.Line))
	}
	d.update(changed.String())
}

func (d *Display) tick() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frame++
	d.update(d.notice())
}

// notice is the line of a plain log that says what a long wait is for, or "".
func (d *Display) notice() string {
	if d.opts.Live || d.wait == "" || d.closed {
		return ""
	}
	now := d.opts.Now()
	if now.Sub(d.waiting) < firstNotice || (!d.noticed.IsZero() && now.Sub(d.noticed) < nextNotice) {
		return ""
	}
	d.noticed = now
	return d.line(Info, fmt.Sprintf("still waiting for %s (%s)", d.wait, Elapsed(now.Sub(d.waiting))))
}

// line formats a line that stays, with its line end. Text of several lines is indented under its first.
func (d *Display) line(level Level, text string) string {
	if d.opts.Quiet && level < Warn {
		return ""
	}
	mark, indent := d.mark(level), "  "
	if !d.opts.Live {
		mark = d.opts.Now().Format("15:04:05") + " " + mark
		indent = strings.Repeat(" ", len("15:04:05 "))
	}
	return mark + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+indent) + "\n"
}

func (d *Display) mark(level Level) string {
	if !d.opts.Live {
		return [...]string{Info: "", Good: "", Warn: "warning: ", Bad: "error: "}[level]
	}
	s := d.opts.Style
	return [...]string{Info: "", Good: s.Good("✓ "), Warn: s.Warn("! "), Bad: s.Bad("✗ ")}[level]
}

// update prints lines that stay and, on a terminal, redraws what is below them. It is one write, so nothing flickers.
func (d *Display) update(stay string) {
	if d.closed {
		return
	}
	if !d.opts.Live || d.opts.Quiet {
		if stay != "" {
			_, _ = io.WriteString(d.w, stay) // there is nowhere to report that stderr is gone
		}
		return
	}
	width, height := d.size()
	var b strings.Builder
	b.WriteString(d.erase(width))
	b.WriteString(stay)
	lines := d.live(width, height)
	d.drawn = d.drawn[:0]
	for _, line := range lines {
		b.WriteString(line + "\n")
		d.drawn = append(d.drawn, output.Width(line))
	}
	if b.Len() > 0 {
		_, _ = io.WriteString(d.w, b.String())
	}
}

// erase moves to where the last frame began and clears from there. A terminal that became narrower since has
// wrapped the lines of that frame, so they take more rows now.
func (d *Display) erase(width int) string {
	if len(d.drawn) == 0 {
		return ""
	}
	rows := 0
	for _, w := range d.drawn {
		rows += max(1, (w+width-1)/width)
	}
	return fmt.Sprintf("\x1b[%dA\r\x1b[J", rows)
}

func (d *Display) size() (width, height int) {
	if d.opts.Size != nil {
		width, height = d.opts.Size()
	}
	if width <= 0 {
		width = 80
	}
	if height <= 0 {
		height = 24
	}
	return width, height
}

// live is what a terminal shows below the lines that stay: the rows, then what is going on.
func (d *Display) live(width, height int) []string {
	if d.title == "" {
		return nil
	}
	now := d.opts.Now()
	var lines []string
	if len(d.rows) > 0 {
		grid := output.NewGrid(d.header...)
		for _, row := range d.rows {
			cells := append([]string(nil), row.Cells...)
			if !row.Since.IsZero() {
				cells = append(cells, d.opts.Style.Faint(Elapsed(now.Sub(row.Since))))
			}
			grid.Row(cells...)
		}
		for _, line := range grid.Lines() {
			lines = append(lines, "  "+line)
		}
	}
	if room := max(height-3, 1); len(lines) > room {
		hidden := len(lines) - room + 1
		lines = append(lines[:room-1], fmt.Sprintf("  … and %d more", hidden))
	}
	spinner := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
	footer := string(spinner[d.frame%len(spinner)]) + " " + d.title
	if d.wait != "" {
		footer += ": waiting for " + d.wait
	}
	lines = append(lines, footer+" "+d.opts.Style.Faint(Elapsed(now.Sub(d.started))))
	for i, line := range lines {
		lines[i] = output.Cut(line, width-1) // the last column would wrap on some terminals
	}
	return lines
}

// Elapsed writes a duration for people: 0.4s, 12s, 3m05s.
func Elapsed(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	default:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
}
