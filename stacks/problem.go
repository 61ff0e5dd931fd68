package stacks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with a spec.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`             // from 1; 0: the file as a whole
	Column  int    `json:"column,omitempty"` // from 1; 0: not known
	Path    string `json:"path,omitempty"`   // for example devctl:network.zones[1]
	Value   string `json:"value,omitempty"`  // what is there, shortened
	Message string `json:"message"`          // what is wrong with it, and what would be valid
}

// String is file:line:col: path: message, without the parts that are not known.
func (p Problem) String() string {
	place := p.File
	for _, n := range []int{p.Line, p.Column} {
		if n == 0 {
			break
		}
		place += fmt.Sprintf(":%d", n)
	}
	if p.Path == "" {
		return place + ": " + p.Message
	}
	return place + ": " + p.Path + ": " + p.Message
}

// SpecError holds every problem of one spec file, in the order of its lines.
type SpecError struct {
	Problems []Problem
}

// Error has a line for each problem, and one that says what to do next.
func (e *SpecError) Error() string {
	var b strings.Builder
	for _, p := range e.Problems {
		fmt.Fprintln(&b, p)
	}
	fmt.Fprintf(&b, "`devctl config schema` describes every key; `devctl config check %s` checks it again", e.Problems[0].File)
	return b.String()
}

func newSpecError(problems []Problem) *SpecError {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
	return &SpecError{Problems: problems}
}

// position is a place in a file.
type position struct{ line, column int }

// source is where the values of a spec were found.
type source struct {
	file      string
	positions map[string]position // by path; "" is the config mapping
}

// has tells whether the file gives the key at path.
func (s source) has(path string) bool {
	_, found := s.positions[path]
	return found
}

// problem is about the value at path, or, when that was left to its default, the nearest mapping around it.
func (s source) problem(path, value, message string) Problem {
	place := path
	for place != "" {
		if _, found := s.positions[place]; found {
			break
		}
		place, _ = parent(place)
	}
	at := s.positions[place]
	return Problem{File: s.file, Line: at.line, Column: at.column, Path: path, Value: value, Message: message}
}
