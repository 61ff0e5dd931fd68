package output

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Grid is a table for people: left-aligned columns two spaces apart, no lines. A cell may hold colour codes;
// they take no room.
type Grid struct {
	header []string
	rows   [][]string
}

// NewGrid starts a table. Headers are written as they are; no headers means none are printed.
func NewGrid(header ...string) *Grid { return &Grid{header: header} }

// Row adds a row. An empty cell is shown as "-", so that columns can be told apart and cut by programs.
func (g *Grid) Row(cells ...string) {
	for i, cell := range cells {
		if cell == "" {
			cells[i] = "-"
		}
	}
	g.rows = append(g.rows, cells)
}

// Lines returns the table's lines without line ends.
func (g *Grid) Lines() []string {
	all := g.rows
	if len(g.header) > 0 {
		all = append([][]string{g.header}, g.rows...)
	}
	var widths []int
	for _, row := range all {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(cell))
		}
	}
	lines := make([]string, 0, len(all))
	for _, row := range all {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-Width(cell)+2))
			}
		}
		lines = append(lines, b.String())
	}
	return lines
}

// Write writes the table.
func (g *Grid) Write(w io.Writer) error {
	for _, line := range g.Lines() {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// Width is how many columns of a terminal the text takes: colour codes take none, every other character one.
func Width(s string) int {
	width := 0
	for len(s) > 0 {
		if n := escape(s); n > 0 {
			s = s[n:]
			continue
		}
		_, n := utf8.DecodeRuneInString(s)
		s = s[n:]
		width++
	}
	return width
}

// Cut shortens the text to the given width, with an ellipsis in the last column when something was cut. Colour
// codes are kept, so that a colour always ends.
func Cut(s string, width int) string {
	if Width(s) <= width {
		return s
	}
	var b strings.Builder
	for used := 0; len(s) > 0; {
		if n := escape(s); n > 0 {
			b.WriteString(s[:n])
			s = s[n:]
			continue
		}
		_, n := utf8.DecodeRuneInString(s)
		switch {
		case used < width-1:
			b.WriteString(s[:n])
		case used == width-1:
			b.WriteString("…")
		}
		used++
		s = s[n:]
	}
	return b.String()
}

// escape returns the length of the colour code that s starts with, 0 if it starts with none.
func escape(s string) int {
	if !strings.HasPrefix(s, "\x1b[") {
		return 0
	}
	if end := strings.IndexByte(s, 'm'); end > 0 {
		return end + 1
	}
	return 0
}
