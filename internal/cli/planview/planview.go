// Package planview shows what an update would change, or has changed, the way people think about a stack: network,
// nodes by role, endpoint; and of every change what is different inside, a config as text and never as one long
// line. It is pure.
package planview

import (
	"fmt"
	"slices"
	"strings"

	"devctl/internal/cli/output"
)

// What is done to a resource.
const (
	Create  = "create"
	Update  = "update"
	Replace = "replace"
	Delete  = "delete"
)

// Groups in the order in which they are shown.
var groups = []string{"network", "main", "worker", "data", "endpoint", "other"}

// Change is one resource that changes.
type Change struct {
	Group string     `json:"group"` // network | main | worker | data | endpoint | other
	Op    string     `json:"op"`    // create | update | replace | delete
	Type  string     `json:"type"`  // for example devctl:local:NodeGroup
	Name  string     `json:"name"`
	Diff  []Property `json:"diff"` // empty for create and delete
}

// Property is one property that changes.
type Property struct {
	Path     string `json:"path"`
	Old      any    `json:"old,omitempty"`
	New      any    `json:"new,omitempty"`
	Secret   bool   `json:"secret,omitempty"`   // Old and New are absent then
	Replaces bool   `json:"replaces,omitempty"` // its change replaces the resource
}

// Summary counts resources.
type Summary struct {
	Create  int `json:"create"`
	Update  int `json:"update"`
	Replace int `json:"replace"`
	Delete  int `json:"delete"`
	Same    int `json:"same"`
}

// Plan is all that an update would do.
type Plan struct {
	Stack   string   `json:"stack"`
	Changes []Change `json:"changes"`
	Summary Summary  `json:"summary"`
}

// New sorts changes into a plan: by group, then by what the resource is. same counts resources that stay as they are.
func New(stack string, changes []Change, same int) Plan {
	p := Plan{Stack: stack, Changes: []Change{}, Summary: Summary{Same: same}}
	for _, c := range changes {
		c.Group = group(c)
		if c.Diff == nil {
			c.Diff = []Property{}
		}
		for i, property := range c.Diff {
			if property.Secret {
				c.Diff[i].Old, c.Diff[i].New = nil, nil
			}
		}
		slices.SortFunc(c.Diff, func(a, b Property) int { return strings.Compare(a.Path, b.Path) })
		p.Changes = append(p.Changes, c)
		switch c.Op {
		case Create:
			p.Summary.Create++
		case Update:
			p.Summary.Update++
		case Replace:
			p.Summary.Replace++
		case Delete:
			p.Summary.Delete++
		}
	}
	slices.SortStableFunc(p.Changes, func(a, b Change) int {
		if a.Group != b.Group {
			return slices.Index(groups, a.Group) - slices.Index(groups, b.Group)
		}
		return strings.Compare(a.Type+" "+a.Name, b.Type+" "+b.Name)
	})
	return p
}

// Empty tells whether nothing would change.
func (p Plan) Empty() bool { return len(p.Changes) == 0 }

// group is what a person thinks of when they see the resource.
func group(c Change) string {
	kind := strings.ToLower(c.Type[strings.LastIndex(c.Type, ":")+1:])
	switch {
	case kind == "network":
		return "network"
	case kind == "nodegroup" && slices.Contains(groups, c.Name):
		return c.Name
	case kind == "endpoint":
		return "endpoint"
	}
	return "other"
}

// Line is the plan in one line.
func (p Plan) Line() string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", n, what))
		}
	}
	add(p.Summary.Create, "create")
	add(p.Summary.Update, "update")
	add(p.Summary.Replace, "replace")
	add(p.Summary.Delete, "delete")
	if len(parts) == 0 {
		return fmt.Sprintf("No changes: all %d resources of stack %s are as the spec wants them.", p.Summary.Same, p.Stack)
	}
	if p.Summary.Same > 0 {
		parts = append(parts, fmt.Sprintf("%d unchanged", p.Summary.Same))
	}
	return fmt.Sprintf("Stack %s: %s.", p.Stack, strings.Join(parts, ", "))
}

// Lines is the plan for people.
func (p Plan) Lines(s output.Style) []string {
	var lines []string
	for _, name := range groups {
		first := true
		for _, c := range p.Changes {
			if c.Group != name {
				continue
			}
			if first {
				lines = append(lines, s.Bold(name))
				first = false
			}
			lines = append(lines, changeLines(c, s)...)
		}
		if !first {
			lines = append(lines, "")
		}
	}
	return append(lines, p.Line())
}

func changeLines(c Change, s output.Style) []string {
	mark := map[string]string{Create: s.Good("+"), Update: s.Warn("~"), Replace: s.Bad("±"), Delete: s.Bad("-")}[c.Op]
	kind := c.Type[strings.LastIndex(c.Type, ":")+1:]
	lines := []string{fmt.Sprintf("  %s %s %s %s", mark, c.Op, kind, c.Name)}
	for _, property := range c.Diff {
		for _, line := range propertyLines(property, s) {
			lines = append(lines, "      "+line)
		}
	}
	return lines
}

func propertyLines(p Property, s output.Style) []string {
	because := ""
	if p.Replaces {
		because = s.Bad(" (replaces)")
	}
	if p.Secret {
		return []string{p.Path + ": a secret changes" + because}
	}
	before, after := text(p.Old), text(p.New)
	if !strings.Contains(before, "\n") && !strings.Contains(after, "\n") {
		switch {
		case p.Old == nil:
			return []string{p.Path + ": " + s.Good(after) + because}
		case p.New == nil:
			return []string{p.Path + ": " + s.Bad(before) + " is removed" + because}
		}
		return []string{p.Path + ": " + s.Bad(before) + " → " + s.Good(after) + because}
	}
	lines := []string{p.Path + ":" + because}
	for _, line := range diff(split(before), split(after)) {
		switch line[0] {
		case '+':
			line = s.Good(line)
		case '-':
			line = s.Bad(line)
		}
		lines = append(lines, "  "+line)
	}
	return lines
}

func split(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimRight(text, "\n"), "\n")
}
