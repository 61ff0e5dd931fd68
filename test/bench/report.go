package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// section is what the report says of one part.
type section struct {
	title string
	text  string // what was measured, and how
	head  []string
	rows  [][]string
}

func (s section) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", s.title, s.text)
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(s.head)
	line(slices.Repeat([]string{"---"}, len(s.head)))
	for _, row := range s.rows {
		line(row)
	}
	return b.String()
}

// atMost and atLeast are two cells: the bound of a figure, and whether it is met.
func atMost(value, limit float64) []string {
	return bounded(fmt.Sprintf("at most %.3g", limit), value <= limit)
}

func atLeast(value, limit float64) []string {
	return bounded(fmt.Sprintf("at least %.3g", limit), value >= limit)
}

func bounded(bound string, met bool) []string {
	if met {
		return []string{bound, "met"}
	}
	return []string{bound, "**not met**"}
}

// unbounded are the cells of a figure that nothing is promised of.
func unbounded() []string { return []string{"none", ""} }

// preface says where and how the numbers were taken.
func (b *bench) preface() (string, error) {
	out, err := b.command("docker", "info", "--format", "{{json .}}")
	if err != nil {
		return "", err
	}
	var info struct {
		NCPU                                                                 int
		MemTotal                                                             uint64
		ServerVersion, KernelVersion, OperatingSystem, CgroupVersion, Driver string
	}
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		return "", fmt.Errorf("read what docker info says: %w", err)
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", err
	}
	kernel, _, _ := strings.Cut(info.KernelVersion, "-") // what follows is who built it
	return fmt.Sprintf(`# Benchmarks

Made by `+"`make bench`"+`: do not edit. It takes three quarters of an hour, and needs a machine that has nothing else to do.

Taken with %d processors, %.0f GiB of memory, %s, kernel %s, Docker %s (%s, cgroup v%s); the load average was %s before. Everything runs on this
one machine: the nodes, what they are compared with, and the clients. So ratios mean something elsewhere, and times and rates by
themselves do not. What is compared takes turns, forth and back, and unless it says otherwise a ratio is the median of the ratios of the turns,
with the smallest and the largest in brackets.
`, info.NCPU, float64(info.MemTotal)/(1<<30), info.OperatingSystem, kernel, info.ServerVersion, info.Driver, info.CgroupVersion,
		strings.Fields(string(load))[0]), nil
}

// turns lets contenders take turns, forth and back, so that a machine whose speed drifts is fair to all of them. It returns
// what each of them measured, turn by turn.
func turns[T any](n int, contenders ...func() (T, error)) ([][]T, error) {
	all := make([][]T, len(contenders))
	for turn := range n {
		for i := range contenders {
			if turn%2 == 1 {
				i = len(contenders) - 1 - i
			}
			measured, err := contenders[i]()
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], measured)
		}
	}
	return all, nil
}

// timed is a contender whose measure is how long it takes.
func timed(work func() error) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		start := time.Now()
		err := work()
		return time.Since(start), err
	}
}

// ratios are those of a to b, turn by turn.
func ratios[T time.Duration | float64](a, b []T) []float64 {
	all := make([]float64, len(a))
	for i := range a {
		all[i] = float64(a[i]) / float64(b[i])
	}
	return all
}

// median is the middle one; of an even number, the upper of the two in the middle.
func median[T time.Duration | float64](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// spread is the median of ratios as the report shows it, with the smallest and the largest.
func spread(ratios []float64) string {
	return fmt.Sprintf("%.2f (%.2f–%.2f)", median(ratios), slices.Min(ratios), slices.Max(ratios))
}

// seconds is a time as the report shows it.
func seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
