package planview

import (
	"fmt"
	"strings"

	"devctl/ignition/diff"
	"devctl/internal/cli/output"
	"devctl/internal/engine"
)

// columns is how wide prose gets: what every terminal has. Lines of files stay as they are.
const columns = 80

// Lines is the plan for people who read it on a terminal.
func (p Plan) Lines(s output.Style) []string {
	var lines []string
	for _, g := range p.Groups {
		lines = append(lines, s.Bold(g.Name))
		for _, m := range g.Machines {
			lines = append(lines, wrap("  "+machineMark(m.Action, s)+" ", m.title())...)
		}
		if g.disturbs() {
			lines = append(lines, wrap("    ", noticed(g, s))...)
		}
		starting, configs := g.starting()
		if starting != "" {
			lines = append(lines, wrap("  "+s.Good("+")+" ", "start "+starting)...)
		}
		for _, c := range configs {
			lines = append(lines, c.text(s, g.Name == groupDeployment)...)
		}
		for _, r := range p.rows(g) {
			lines = append(lines, wrap("  "+mark(r.op, s)+" ", r.title)...)
			lines = append(lines, diffText("      ", r.lines, s)...)
		}
		lines = append(lines, "")
	}
	if len(p.Unknowns) > 0 {
		lines = append(lines, s.Bold("What this preview cannot know"))
		for _, u := range p.Unknowns {
			lines = append(lines, wrap("  - ", u)...)
		}
		lines = append(lines, "")
	}
	if len(p.Losses) > 0 {
		lines = append(append(lines, wrap(s.Bad("! "), p.LossText()+".")...), "")
	}
	if p.Against != "" {
		lines = append(lines, wrap("", "Compared with the spec in "+p.Against+".")...)
	}
	return append(lines, p.Line())
}

// noticed is the group's sentence, coloured by how bad it is.
func noticed(g Group, s output.Style) string {
	switch {
	case g.Notice.worse(NoticeFailover):
		return s.Bad(g.sentence())
	case g.Notice.worse(NoticeAccess):
		return s.Warn(g.sentence())
	}
	return g.sentence()
}

func mark(op engine.Op, s output.Style) string {
	return map[engine.Op]string{
		engine.OpCreate: s.Good("+"), engine.OpUpdate: s.Warn("~"), engine.OpReplace: s.Bad("±"), engine.OpDelete: s.Bad("-"),
	}[op]
}

func machineMark(a Action, s output.Style) string {
	return map[Action]string{
		ActionCreate: s.Good("+"), ActionReplace: s.Bad("±"), ActionRestart: s.Warn("~"), ActionResize: s.Warn("~"), ActionRemove: s.Bad("-"),
	}[a]
}

// text is what differs inside of a configuration. Of a deployment, what comes or goes as a whole is named only.
func (c Config) text(s output.Style, deployment bool) []string {
	lines := wrap("  "+s.Warn("~")+" ", c.title(deployment))
	if c.SameAs != "" {
		return lines
	}
	for _, p := range c.Parts {
		sign := map[diff.Op]string{diff.Added: s.Good("+"), diff.Changed: s.Warn("~"), diff.Removed: s.Bad("-")}[p.Op]
		lines = append(lines, wrap("      "+sign+" ", p.title())...)
		if p.SameAs != "" {
			continue
		}
		lines = append(lines, diffText("        ", p.attributes(), s)...)
		lines = append(lines, diffText("        ", p.content(deployment), s)...)
	}
	return lines
}

// title says whose configuration it is.
func (c Config) title(deployment bool) string {
	what := "configuration of "
	if deployment {
		what = "on "
	}
	title := what + strings.Join(c.Nodes, ", ")
	switch {
	case c.Unknown:
		title += ": only the update will know it"
	case c.SameAs != "":
		title += " changes as that of " + c.SameAs + " does"
	}
	return title
}

// title says what differs; of what was shown before, where.
func (p Part) title() string {
	title := string(p.Kind) + " " + p.Name
	if p.SameAs != "" {
		title += " " + map[diff.Op]string{diff.Added: "comes", diff.Changed: "changes", diff.Removed: "goes"}[p.Op] + " as on " + p.SameAs
	}
	return title
}

// attributes are the differences besides the content, as lines of a diff. What goes as a whole is not taken apart.
func (p Part) attributes() []string {
	var lines []string
	if p.Op == diff.Removed {
		return nil
	}
	for _, a := range p.Attributes {
		switch {
		case a.Old == secret || a.New == secret:
			lines = append(lines, " "+a.Name+": a secret changes")
		case p.Op == diff.Added:
			lines = append(lines, "+"+a.Name+": "+a.New)
		case len(a.Name)+len(a.Old)+len(a.New) > columns-16 && a.Old != "" && a.New != "":
			lines = append(lines, "-"+a.Name+": "+a.Old, "+"+a.Name+": "+a.New)
		default:
			lines = append(lines, fmt.Sprintf(" %s: %s → %s", a.Name, orNone(a.Old), orNone(a.New)))
		}
	}
	return lines
}

func orNone(value string) string {
	if value == "" {
		return "(none)"
	}
	return value
}

// content is the part's diff as far as it is worth reading: not that of a file that goes, nor a heading over one that comes.
func (p Part) content(deployment bool) []string {
	switch {
	case p.Op == diff.Removed, p.Op == diff.Added && deployment, len(p.Diff) == 0:
		return nil
	case p.Op == diff.Added:
		return p.Diff[1:]
	}
	return p.Diff
}

// diffText are lines of a diff on a terminal: the marks in a column of their own, the hunks' headings in words.
func diffText(indent string, lines []string, s output.Style) []string {
	var out []string
	for _, line := range lines {
		if strings.HasPrefix(line, "@@ -1") && (line[5] == ' ' || line[5] == ',') { // nothing is left out above
			continue
		}
		body := strings.TrimRight(line[:1]+" "+line[1:], " ")
		switch line[0] {
		case '+':
			body = s.Good(body)
		case '-':
			body = s.Bad(body)
		case '@':
			_, section, _ := strings.Cut(line[2:], "@@")
			body = s.Faint(strings.TrimRight("  ⋯"+section, " "))
		}
		out = append(out, strings.TrimRight(indent+body, " "))
	}
	return out
}

// wrap breaks prose behind a lead into lines; the following ones are indented as far.
func wrap(lead, text string) []string {
	indent := strings.Repeat(" ", output.Width(lead))
	var lines []string
	line := lead
	for i, word := range strings.Fields(text) {
		if i > 0 && output.Width(line)+1+output.Width(word) > columns {
			lines = append(lines, line)
			line = indent + word
			continue
		}
		if i > 0 {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
