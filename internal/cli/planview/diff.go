package planview

import (
	"fmt"
	"slices"
	"strings"
)

const (
	// around is how many unchanged lines are shown around a change.
	around = 3
	// maxTable bounds the work of comparing two texts: lines of the one times lines of the other, where they differ.
	maxTable = 4 << 20
)

// unified is the difference of two texts as a unified diff without file names: each hunk begins with a line
// "@@ -first,lines +first,lines @@ section", where the section is the last heading in brackets above it, as units have. It is
// nil when there is no difference.
func unified(before, after string) []string {
	a, b := split(before), split(after)
	all := script(a, b)
	keep := make([]bool, len(all))
	for i, line := range all {
		if line[0] == ' ' {
			continue
		}
		for j := max(0, i-around); j <= min(len(all)-1, i+around); j++ {
			keep[j] = true
		}
	}
	var shown []string
	oldLine, newLine, section := 1, 1, ""
	for i := 0; i < len(all); {
		if !keep[i] {
			section = heading(all[i], section)
			oldLine, newLine, i = oldLine+1, newLine+1, i+1
			continue
		}
		end := i
		for end < len(all) && keep[end] {
			end++
		}
		hunk := all[i:end]
		olds, news := count(hunk, '+'), count(hunk, '-')
		shown = append(shown, strings.TrimRight(fmt.Sprintf("@@ -%s +%s @@ %s", span(oldLine, olds), span(newLine, news), section), " "))
		shown = append(shown, hunk...)
		for _, line := range hunk {
			section = heading(line, section)
		}
		oldLine, newLine, i = oldLine+olds, newLine+news, end
	}
	return shown
}

// count is how many lines are not marked so.
func count(hunk []string, mark byte) int {
	n := 0
	for _, line := range hunk {
		if line[0] != mark {
			n++
		}
	}
	return n
}

// span is a range of lines as unified diffs write it.
func span(first, lines int) string {
	switch lines {
	case 0:
		return fmt.Sprintf("%d,0", first-1)
	case 1:
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d,%d", first, lines)
}

// heading is the section that a marked line is in or begins.
func heading(line, section string) string {
	if text := line[1:]; line[0] != '+' && strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		return text
	}
	return section
}

// script is a way from a to b: every line of both, marked with "+", "-" or a space. It is the shortest one, unless the texts
// are too long to look for it.
func script(a, b []string) []string {
	var head, tail []string
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		head, a, b = append(head, " "+a[0]), a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail, a, b = append(tail, " "+a[len(a)-1]), a[:len(a)-1], b[:len(b)-1]
	}
	slices.Reverse(tail)
	return slices.Concat(head, middle(a, b), tail)
}

// middle is the script of texts that begin and end differently.
func middle(a, b []string) []string {
	var lines []string
	if len(a)*len(b) > maxTable {
		for _, line := range a {
			lines = append(lines, "-"+line)
		}
		for _, line := range b {
			lines = append(lines, "+"+line)
		}
		return lines
	}
	// common[i][j] is the length of the longest common subsequence of a[i:] and b[j:].
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			lines = append(lines, " "+a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			lines = append(lines, "-"+a[i])
			i++
		default:
			lines = append(lines, "+"+b[j])
			j++
		}
	}
	return lines
}

func split(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}
