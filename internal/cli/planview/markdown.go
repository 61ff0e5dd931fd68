package planview

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"devctl/ignition/diff"
	"devctl/internal/engine"
)

// maxMarkdown is how many characters a comment may have: GitHub takes 65,536, GitLab a million.
const maxMarkdown = 64_900

// section is a part of the Markdown that is folded: a title and what differs.
type section struct {
	title string
	lines []string // of a diff
}

// Markdown is the plan as a comment on a pull request: a table of all groups first, the details folded below. What does not
// fit into maxMarkdown characters is left out, and said to be: command is what shows all of it.
func (p Plan) Markdown(command string) string {
	head := p.markdownHead()
	var all []section
	for _, g := range p.Groups {
		all = append(all, p.sections(g)...)
	}
	room := maxMarkdown - utf8.RuneCountInString(head) - 400 // for the last sentence
	var b strings.Builder
	b.WriteString(head)
	cutLines, cutSections := 0, 0
	for _, s := range all {
		text := s.markdown()
		size := utf8.RuneCountInString(text)
		if cutSections == 0 && size <= room {
			b.WriteString(text)
			room -= size
			continue
		}
		left := len(s.lines)
		if cutSections == 0 { // of the first one that does not fit, as much as does
			if shorter := s.cut(room); len(shorter.lines) > 0 {
				b.WriteString(shorter.markdown())
				left -= len(shorter.lines)
			}
		}
		cutLines += left
		cutSections++
	}
	if cutSections > 0 {
		fmt.Fprintf(&b, "\n> [!WARNING]\n> This comment is cut: %s of %s do not fit. `%s` shows all of it.\n",
			number(cutLines, "line", "lines"), number(cutSections, "section", "sections"), command)
	}
	return b.String()
}

// markdownHead is what is never left out.
func (p Plan) markdownHead() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### devctl preview of stack `%s` (%s)\n\n", p.Stack, p.Provider)
	if p.Empty() {
		fmt.Fprintf(&b, "%s\n", p.Line())
	} else {
		fmt.Fprintf(&b, "**%s** People notice: **%s**.\n\n", strings.TrimPrefix(p.Line(), "Stack "+p.Stack+": "), p.Notice.text())
		b.WriteString("| | Resources | Machines | People notice |\n|---|---|---|---|\n")
		for _, g := range p.Groups {
			fmt.Fprintf(&b, "| **%s** | %s | %s | %s |\n", g.Name, cell(g.resourceWords()), cell(g.machineWords()), cell(strings.TrimPrefix(g.sentence(), "people notice ")))
		}
	}
	if len(p.Losses) > 0 {
		fmt.Fprintf(&b, "\n> [!CAUTION]\n> %s.\n", escaped(p.LossText()))
	}
	if p.Against != "" {
		fmt.Fprintf(&b, "\nCompared with the spec in `%s`.\n", p.Against)
	}
	if len(p.Unknowns) > 0 {
		b.WriteString("\n> [!NOTE]\n> What this preview cannot know:\n")
		for _, u := range p.Unknowns {
			fmt.Fprintf(&b, "> - %s\n", strings.ReplaceAll(escaped(u), "\n", " "))
		}
	}
	return b.String()
}

func (g Group) resourceWords() string {
	var parts []string
	for _, op := range changing {
		if n := g.Resources[op]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", n, op))
		}
	}
	return strings.Join(parts, ", ")
}

func (g Group) machineWords() string {
	var parts []string
	for _, m := range g.Machines {
		parts = append(parts, m.title())
	}
	return strings.Join(parts, "; ")
}

// escaped is text that is no HTML.
func escaped(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// cell is text in a table.
func cell(text string) string {
	if text == "" {
		return "–"
	}
	return strings.ReplaceAll(escaped(text), "|", `\|`)
}

// sections are a group's details: configurations one by one, then its resources.
func (p Plan) sections(g Group) []section {
	var all []section
	starting, configs := g.starting()
	if starting != "" {
		all = append(all, section{title: "start " + starting})
	}
	for _, c := range configs {
		all = append(all, c.section(g.Name == groupDeployment))
	}
	resources := section{title: g.Name + ": resources"}
	rows := p.rows(g)
	if len(rows) == 1 && len(rows[0].lines) == 0 {
		return append(titled(g, all), section{title: g.Name + ": " + rows[0].title})
	}
	for _, r := range rows {
		sign := map[engine.Op]string{engine.OpCreate: "+", engine.OpUpdate: "!", engine.OpReplace: "!", engine.OpDelete: "-"}[r.op]
		resources.lines = append(resources.lines, sign+" "+r.title)
		for _, line := range r.lines {
			if line[0] == '@' {
				resources.lines = append(resources.lines, line)
				continue
			}
			resources.lines = append(resources.lines, line[:1]+"   "+line[1:])
		}
	}
	all = titled(g, all)
	if len(resources.lines) > 0 {
		all = append(all, resources)
	}
	return all
}

// titled puts the group's name before the titles.
func titled(g Group, sections []section) []section {
	for i := range sections {
		sections[i].title = g.Name + ": " + sections[i].title
	}
	return sections
}

// section is what differs inside of a configuration.
func (c Config) section(deployment bool) section {
	s := section{title: c.title(deployment)}
	if c.SameAs != "" {
		return s
	}
	var names []string
	for _, p := range c.Parts {
		names = append(names, p.Name)
		sign := map[diff.Op]string{diff.Added: "+", diff.Changed: "!", diff.Removed: "-"}[p.Op]
		if p.SameAs != "" {
			s.lines = append(s.lines, sign+" "+p.title())
			continue
		}
		s.lines = append(s.lines, fmt.Sprintf("%s %s %s", sign, p.title(), p.Op))
		s.lines = append(s.lines, p.attributes()...)
		s.lines = append(s.lines, p.content(deployment)...)
	}
	if len(names) > maxNamed {
		names = append(names[:maxNamed:maxNamed], fmt.Sprintf("%d more", len(names)-maxNamed))
	}
	if len(names) > 0 {
		s.title += ": " + strings.Join(names, ", ")
	}
	return s
}

// markdown is the section folded, its lines in a block that nothing in them can end.
func (s section) markdown() string {
	if len(s.lines) == 0 {
		return "\n" + escaped(s.title) + "\n"
	}
	fence := "```"
	for strings.Contains(strings.Join(s.lines, "\n"), fence) {
		fence += "`"
	}
	return fmt.Sprintf("\n<details><summary>%s</summary>\n\n%sdiff\n%s\n%s\n</details>\n", escaped(s.title), fence, strings.Join(s.lines, "\n"), fence)
}

// cut is as much of the section as fits; it has no lines when nothing does.
func (s section) cut(room int) section {
	short := section{title: s.title + " (cut)"}
	size := utf8.RuneCountInString(short.markdown())
	for _, line := range s.lines {
		if size += utf8.RuneCountInString(line) + 1; size > room {
			break
		}
		short.lines = append(short.lines, line)
	}
	return short
}
