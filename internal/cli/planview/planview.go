// Package planview shows what an update would change, or has changed, the way people think about a stack: network,
// nodes by role, endpoint; and of every change what is different inside, a config as text and never as one long
// line. It is pure.
package planview

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"devctl/internal/cli/output"
	"devctl/internal/engine"
)

// Groups in the order in which they are shown.
var groups = []string{"network", "main", "worker", "data", "endpoint", "other"}

// Change is one resource that changes.
type Change struct {
	Group string                  `json:"group"` // network | main | worker | data | endpoint | other
	Op    engine.Op               `json:"op"`    // create | update | replace | delete
	Type  string                  `json:"type"`  // for example devctl:local:NodeGroup
	Name  string                  `json:"name"`
	Diff  []engine.PropertyChange `json:"diff"` // sorted by path
}

// Plan is all that an update would do.
type Plan struct {
	Stack   string            `json:"stack"`
	Changes []Change          `json:"changes"`
	Summary map[engine.Op]int `json:"summary"` // number of resources by what is done to them; same: nothing
}

// New sorts the events of a preview into a plan: by group, then by what the resource is.
func New(stack string, events []engine.Event) Plan {
	p := Plan{Stack: stack, Changes: []Change{}, Summary: map[engine.Op]int{engine.OpSame: 0}}
	for _, op := range changing {
		p.Summary[op] = 0
	}
	for _, e := range events {
		if e.Kind != engine.KindPlanned {
			continue
		}
		if _, counted := p.Summary[e.Op]; counted {
			p.Summary[e.Op]++
		}
		if slices.Contains(changing, e.Op) {
			diff := append([]engine.PropertyChange{}, e.Diff...)
			p.Changes = append(p.Changes, Change{Group: group(e.Type, e.Name), Op: e.Op, Type: e.Type, Name: e.Name, Diff: diff})
		}
	}
	slices.SortStableFunc(p.Changes, func(a, b Change) int {
		return cmp.Or(
			cmp.Compare(slices.Index(groups, a.Group), slices.Index(groups, b.Group)),
			cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name),
		)
	})
	return p
}

// changing are the operations that change something, in the order in which they are counted.
var changing = []engine.Op{engine.OpCreate, engine.OpUpdate, engine.OpReplace, engine.OpDelete}

// Empty tells whether nothing would change.
func (p Plan) Empty() bool { return len(p.Changes) == 0 }

// group is what a person thinks of when they see the resource.
func group(resourceType, name string) string {
	switch kind(resourceType) {
	case "Network":
		return "network"
	case "Endpoint":
		return "endpoint"
	case "NodeGroup":
		if slices.Contains(groups, name) {
			return name
		}
	}
	return "other"
}

// kind is the last part of a type.
func kind(resourceType string) string { return resourceType[strings.LastIndex(resourceType, ":")+1:] }

// Noun is what people call a resource.
func Noun(resourceType, name string) string {
	switch kind(resourceType) {
	case "NodeGroup":
		return name + " nodes"
	case "Network":
		return "network"
	case "Endpoint":
		return "endpoint"
	case "Image":
		return "images"
	case "Authority":
		return "certificate authority"
	case "Password":
		return "password " + name
	}
	return kind(resourceType) + " " + name
}

// Line is the plan in one line.
func (p Plan) Line() string {
	var parts []string
	for _, op := range changing {
		if n := p.Summary[op]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", n, op))
		}
	}
	same := p.Summary[engine.OpSame]
	if len(parts) == 0 {
		return fmt.Sprintf("No changes: all %d resources of stack %s are as the spec wants them.", same, p.Stack)
	}
	if same > 0 {
		parts = append(parts, fmt.Sprintf("%d unchanged", same))
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
	mark := map[engine.Op]string{
		engine.OpCreate: s.Good("+"), engine.OpUpdate: s.Warn("~"), engine.OpReplace: s.Bad("±"), engine.OpDelete: s.Bad("-"),
	}[c.Op]
	line := fmt.Sprintf("  %s %s %s", mark, c.Op, Noun(c.Type, c.Name))
	if c.Op == engine.OpCreate || c.Op == engine.OpDelete {
		return []string{line + extent(c)} // all of it comes or goes
	}
	lines := []string{line}
	for _, property := range c.Diff {
		if property.Path == "machines" && property.New == "" {
			// What was made is known, what will be made is not yet: the other properties say why.
			if len(c.Diff) == 1 {
				lines = append(lines, "      not all of its machines are there as they should be")
			}
			continue
		}
		for _, line := range propertyLines(property, s) {
			lines = append(lines, "      "+line)
		}
	}
	return lines
}

// extent says which nodes a group comes or goes with, or which addresses a network has.
func extent(c Change) string {
	for _, p := range c.Diff {
		value := p.New
		if c.Op == engine.OpDelete {
			value = p.Old
		}
		var nodes []struct{ Name string }
		switch {
		case p.Path == "cidr" && value != "":
			return " " + value
		case p.Path == "nodes" && json.Unmarshal([]byte(value), &nodes) == nil:
			var names []string
			for _, n := range nodes {
				names = append(names, n.Name)
			}
			return ": " + strings.Join(names, ", ")
		}
	}
	return ""
}

// secret is what the engine writes in place of a secret.
const secret = "[secret]"

func propertyLines(p engine.PropertyChange, s output.Style) []string {
	because := ""
	if p.Replaces {
		because = s.Bad(" (replaces)")
	}
	before, after := text(p.Old), text(p.New)
	switch {
	case before == secret && after == secret:
		return []string{p.Path + ": a secret changes" + because}
	case strings.Contains(before, "\n") || strings.Contains(after, "\n"):
		return append([]string{p.Path + ":" + because}, textLines(before, after, s)...)
	case p.Kind == engine.ChangeAdd:
		return []string{p.Path + ": " + s.Good(after) + " is added" + because}
	case p.Kind == engine.ChangeDelete:
		return []string{p.Path + ": " + s.Bad(before) + " is removed" + because}
	}
	return []string{p.Path + ": " + s.Bad(before) + " → " + s.Good(after) + because}
}

// textLines is the difference of two texts.
func textLines(before, after string, s output.Style) []string {
	var lines []string
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
