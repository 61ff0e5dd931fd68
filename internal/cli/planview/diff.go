package planview

import "fmt"

// around is how many unchanged lines are shown around a change.
const around = 3

// diff compares two texts line by line. Lines of the result begin with "+ ", "- " or two spaces; unchanged lines far
// from any change are left out, and where some are, one line says how many.
func diff(a, b []string) []string {
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
	for i := 0; i < len(all); i++ {
		if keep[i] {
			shown = append(shown, all[i])
			continue
		}
		first := i
		for i+1 < len(all) && !keep[i+1] {
			i++
		}
		if i == first { // the line itself takes no more room
			shown = append(shown, all[i])
			continue
		}
		shown = append(shown, fmt.Sprintf("  … %d unchanged lines", i-first+1))
	}
	return shown
}

// script is the shortest way from a to b: every line of both, marked.
func script(a, b []string) []string {
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
	var lines []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			lines = append(lines, "  "+a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			lines = append(lines, "- "+a[i])
			i++
		default:
			lines = append(lines, "+ "+b[j])
			j++
		}
	}
	return lines
}
