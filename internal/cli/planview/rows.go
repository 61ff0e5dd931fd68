package planview

import (
	"fmt"
	"slices"
	"strings"

	"devctl/internal/engine"
)

// row is a line or more about resources: one kind of change, once for all resources that have it.
type row struct {
	op    engine.Op
	title string
	// lines are what is different, beginning with "+", "-", "@" or a space; see Part.Diff.
	lines []string
}

// maxNamed is how many resources of a type are named where they are summed up.
const maxNamed = 3

// maxRules is how many rules that come or go are shown one by one.
const maxRules = 6

// rows sum up the resources of a group: what differs in them first, then what only follows, what comes and what goes.
func (p Plan) rows(g Group) []row {
	var rows []row
	sums := map[string][]Change{}
	keys := []string{}
	members := map[string][]Change{}
	for _, c := range p.Changes {
		if c.Group != g.Name {
			continue
		}
		lines := c.lines()
		if len(lines) == 0 {
			what := string(c.Op)
			sums[what] = append(sums[what], c)
			continue
		}
		key := string(c.Op) + c.Type + strings.Join(lines, "\n")
		if members[key] == nil {
			keys = append(keys, key)
		}
		members[key] = append(members[key], c)
	}
	for _, key := range keys {
		all := members[key]
		rows = append(rows, row{all[0].Op, string(all[0].Op) + " " + named(all), all[0].lines()})
	}
	for _, op := range []engine.Op{engine.OpUpdate, engine.OpReplace, engine.OpCreate, engine.OpDelete} {
		rows = append(rows, summed(op, sums[string(op)], len(g.Machines) > 0)...)
	}
	return rows
}

// summed is a line about all resources to which the same is done, and before it those that say more than their number.
// Local node groups are their machines: where those are listed, there is no more to say.
func summed(op engine.Op, all []Change, machines bool) []row {
	var rows []row
	var parts []string
	rules := filter(all, func(c Change) bool { return c.brief() != "" })
	for len(all) > 0 {
		same := filter(all, func(c Change) bool { return c.Type == all[0].Type })
		first := all[0]
		all = filter(all, func(c Change) bool { return c.Type != first.Type })
		switch {
		case kind(first.Type) == "NodeGroup" && machines:
		case first.brief() != "" && len(rules) <= maxRules:
			for _, c := range same {
				rows = append(rows, row{op, string(op) + " " + Noun(c.Type, c.Name) + ": " + c.brief(), nil})
			}
		case len(same) <= maxNamed:
			parts = append(parts, named(same))
		default:
			parts = append(parts, number(len(same), of(first.Type).one, of(first.Type).many))
		}
	}
	if len(parts) > 0 {
		lead := string(op) + " "
		if op == engine.OpUpdate || op == engine.OpReplace {
			lead = "with that: "
		}
		rows = append(rows, row{op, lead + strings.Join(parts, ", "), nil})
	}
	return rows
}

// named are resources of one type by their names.
func named(all []Change) string {
	if len(all) == 1 {
		return strings.TrimSpace(Noun(all[0].Type, all[0].Name) + " " + all[0].extent)
	}
	var names []string
	for _, c := range all {
		names = append(names, c.Name)
	}
	slices.SortFunc(names, byNumber)
	return of(all[0].Type).many + " " + strings.Join(names, ", ")
}

// lines are what is different in a resource, without what is shown elsewhere or only follows: the IDs of what is replaced for
// example. What comes or goes as a whole has none.
func (c Change) lines() []string {
	if c.Op == engine.OpCreate || c.Op == engine.OpDelete {
		return nil
	}
	var lines []string
	for i, p := range c.Diff {
		if p.Old == "" && p.New == "" || c.follows(i) || p.New == unknown && p.Kind == engine.ChangeUpdate {
			continue
		}
		lines = append(lines, propertyLines(p)...)
	}
	return lines
}

func (c Change) follows(i int) bool { return i < len(c.follow) && c.follow[i] }

// brief is what a rule lets through, in a few words; empty of what is no rule.
func (c Change) brief() string {
	if kind(c.Type) != "SecurityGroupRule" {
		return ""
	}
	of := func(path string) string {
		for _, p := range c.Diff {
			if p.Path == path {
				return p.New + p.Old // of a resource that comes or goes only one of them is there
			}
		}
		return ""
	}
	ports := of("fromPort")
	if last := of("toPort"); last != ports {
		ports += "-" + last
	}
	direction, who := "from", strings.Join(strings.Fields(strings.ReplaceAll(of("cidrBlocks"), "- ", " ")), ", ")
	if of("type") == "egress" {
		direction = "to"
	}
	if who == "" { // the rule's name says which
		direction = ""
	}
	return strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", of("protocol"), ports, direction, who)), " ")
}

// propertyLines are the difference of one property, as lines of a diff.
func propertyLines(p engine.PropertyChange) []string {
	because := ""
	if p.Replaces {
		because = " (replaces)"
	}
	switch {
	case p.Old == secret && p.New == "":
		return []string{" " + p.Path + ": a secret is no longer set" + because}
	case p.Old == "" && p.New == secret:
		return []string{" " + p.Path + ": a secret is set" + because}
	case p.Old == secret || p.New == secret:
		return []string{" " + p.Path + ": a secret changes" + because}
	case strings.Contains(p.Old, "\n") || strings.Contains(p.New, "\n"):
		lines := []string{" " + p.Path + ":" + because}
		for _, line := range unified(p.Old, p.New) {
			if line[0] != '@' {
				line = line[:1] + "  " + line[1:]
			}
			lines = append(lines, line)
		}
		return lines
	case p.Kind == engine.ChangeAdd:
		return []string{"+" + p.Path + ": " + shown(p.New) + because}
	case p.Kind == engine.ChangeDelete:
		return []string{"-" + p.Path + ": " + shown(p.Old) + because}
	}
	if len(p.Path)+len(p.Old)+len(p.New)+len(because) > columns-16 {
		return []string{"-" + p.Path + ": " + shown(p.Old), "+" + p.Path + ": " + shown(p.New) + because}
	}
	return []string{" " + p.Path + ": " + shown(p.Old) + " → " + shown(p.New) + because}
}

// shown is a value, or words where there is nothing to see.
func shown(value string) string {
	switch value {
	case "":
		return "(empty)"
	case unknown:
		return "(known during the update)"
	}
	return value
}

// title says what happens to machines.
func (m Machines) title() string {
	title, is := strings.Join(m.Nodes, ", "), " is "
	many := len(m.Nodes) > 1 || strings.HasPrefix(title, "the ") // see all
	if many {
		is = " are "
	}
	words := map[Action]string{
		ActionCreate: "created", ActionReplace: "replaced", ActionRestart: "turned off and on", ActionResize: "given another size", ActionRemove: "removed",
	}
	if m.later() {
		them := map[bool]string{true: "them as they are, and devctl status marks them", false: "it as it is, and devctl status marks it"}[many]
		return title + is + "to be replaced, one by one, with " + m.By + ": " + strings.Join(m.Why, ", ") + "; up leaves " + them
	}
	title += is + words[m.Action]
	if many && m.Action != ActionCreate && m.Action != ActionResize {
		title += map[bool]string{true: ", " + m.Order + ",", false: " " + m.Order}[m.Order == newFirst]
	}
	if m.Action == ActionReplace {
		title += " by " + m.By
	}
	if len(m.Why) > 0 {
		title += ": " + strings.Join(m.Why, ", ")
	}
	return title
}

// text is the notice in words.
func (n Notice) text() string {
	return map[Notice]string{
		NoticeNothing: "nothing", NoticeAccess: "nothing, unless they are let in no longer", NoticeReconnect: "a reconnect", NoticePause: "a short pause",
		NoticeFailover: "a failover", NoticeOutage: "an outage", NoticeDataLoss: "loss of data",
	}[n]
}

// disturbs tells whether there is something to say about what people notice.
func (g Group) disturbs() bool { return g.Notice != NoticeNothing || g.Why != "" }

// sentence is what people notice in a group, and why.
func (g Group) sentence() string {
	sentence := "people notice " + g.Notice.text()
	if slices.ContainsFunc(g.Machines, Machines.later) {
		sentence += ", when they are replaced"
	}
	if g.Why != "" {
		sentence += ": " + g.Why
	}
	return sentence
}
