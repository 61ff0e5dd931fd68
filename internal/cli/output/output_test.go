package output

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type sample struct {
	Name  string   `json:"name"`
	Count int      `json:"count"`
	Tags  []string `json:"tags"`
	Text  string   `json:"text"`
	On    bool     `json:"on"`
	Code  string   `json:"code"`
}

func TestWrite(t *testing.T) {
	t.Parallel()
	v := sample{Name: "data-1", Count: 3, Tags: []string{"<a>", "b"}, Text: "one\ntwo\n", Code: "007"}
	for _, tc := range []struct {
		format Format
		want   string
	}{
		{Table, "a table\n"},
		{JSON, `{
  "name": "data-1",
  "count": 3,
  "tags": [
    "<a>",
    "b"
  ],
  "text": "one\ntwo\n",
  "on": false,
  "code": "007"
}
`},
		// "007" must stay a string for whoever reads the YAML.
		{YAML, `name: data-1
count: 3
tags:
  - <a>
  - b
text: |
  one
  two
on: false
code: "007"
`},
	} {
		t.Run(string(tc.format), func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			err := Write(&b, tc.format, v, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, "a table")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, b.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFormatSet(t *testing.T) {
	t.Parallel()
	for _, name := range Formats() {
		var f Format
		if err := f.Set(name); err != nil || string(f) != name {
			t.Errorf("Set(%q): %v, format %q", name, err, f)
		}
	}
	f := Table
	err := f.Set("jsno")
	if err == nil || err.Error() != "use table, json, yaml" {
		t.Errorf("error %v", err)
	}
	if f != Table {
		t.Errorf("a refused value changed the format to %q", f)
	}
}

func TestGrid(t *testing.T) {
	t.Parallel()
	on := Style{On: true}
	g := NewGrid("NAME", "STATE", "UNITS")
	g.Row("main-1", on.Good("ready"), "4/4")
	g.Row("worker-12", on.Bad("degraded"), "")
	want := []string{
		"NAME       STATE     UNITS",
		"main-1     \x1b[32mready\x1b[0m     4/4",
		"worker-12  \x1b[31mdegraded\x1b[0m  -",
	}
	if diff := cmp.Diff(want, g.Lines()); diff != "" {
		t.Error(diff)
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in    string
		width int
		want  string
	}{
		{"short", 10, "short"},
		{"exactly", 7, "exactly"},
		{"too long", 5, "too …"},
		{"größer als", 4, "grö…"},
		{"\x1b[31mred text\x1b[0m", 4, "\x1b[31mred…\x1b[0m"},
	} {
		got := Cut(tc.in, tc.width)
		if got != tc.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", tc.in, tc.width, got, tc.want)
		}
		if Width(got) > tc.width {
			t.Errorf("Cut(%q, %d) takes %d columns", tc.in, tc.width, Width(got))
		}
	}
}

func TestStyleOffChangesNothing(t *testing.T) {
	t.Parallel()
	off := Style{}
	all := off.Good("a") + off.Warn("b") + off.Bad("c") + off.Faint("d") + off.Bold("e")
	if all != "abcde" || strings.Contains(all, "\x1b") {
		t.Errorf("got %q", all)
	}
}
