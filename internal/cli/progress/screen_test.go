package progress

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// screen is as much of a terminal as Display uses: lines that wrap, moving up, and clearing to the end.
type screen struct {
	mu            sync.Mutex
	width, height int
	lines         [][]rune // logical lines; a terminal re-wraps them when its width changes
	row           int      // of the cursor, in rows as displayed
}

func newScreen(width, height int) *screen { return &screen{width: width, height: height} }

func (s *screen) size() (int, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.width, s.height
}

func (s *screen) resize(width int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.width = width
	s.row = s.rows(len(s.lines)) // the cursor stays below the last line
}

// rows is how many displayed rows the first n lines take.
func (s *screen) rows(n int) int {
	rows := 0
	for _, line := range s.lines[:n] {
		rows += max(1, (len(line)+s.width-1)/s.width)
	}
	return rows
}

var control = regexp.MustCompile(`^\x1b\[(\d*)([A-Za-z])`)

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var current []rune
	for text := string(p); text != ""; {
		if m := control.FindStringSubmatch(text); m != nil {
			text = text[len(m[0]):]
			switch m[2] {
			case "A":
				up, _ := strconv.Atoi(m[1])
				s.row -= up
			case "J":
				s.clear()
			case "m":
			default:
				return 0, fmt.Errorf("unexpected control %q", m[0])
			}
			continue
		}
		r := []rune(text)[0]
		text = text[len(string(r)):]
		switch r {
		case '\r':
		case '\n':
			s.lines = append(s.lines, current)
			current = nil
			s.row = s.rows(len(s.lines))
		default:
			current = append(current, r)
		}
	}
	if current != nil {
		return 0, fmt.Errorf("a write ends inside of a line: %q", string(current))
	}
	return len(p), nil
}

// clear drops everything from the cursor's row on.
func (s *screen) clear() {
	keep := 0
	for keep < len(s.lines) && s.rows(keep+1) <= s.row {
		keep++
	}
	s.lines = s.lines[:keep]
}

func (s *screen) text() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, line := range s.lines {
		all = append(all, string(line))
	}
	return all
}

func (s *screen) want(t *testing.T, lines ...string) {
	t.Helper()
	if diff := cmp.Diff(lines, s.text()); diff != "" {
		t.Errorf("screen (-want +got):\n%s", strings.TrimSpace(diff))
	}
}
