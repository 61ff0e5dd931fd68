package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// idleTime is how long nothing is asked of a stack before its agents count as idle.
	idleTime = time.Minute

	maxResident = 20 // MB
	maxPrivate  = 6  // MB
)

// memory measures what the idle agent of every role has in memory, as the kernel counts it.
func (b *bench) memory() (section, error) {
	s := section{
		title: "Memory of an idle agent",
		text: fmt.Sprintf("What the kernel counts as the agent's, in MB, after %s in which nothing was asked of the stack. Resident are also pages of the program's\n"+
			"file, which all agents of a machine have in common; private is what one more agent costs.", idleTime),
		head: []string{"node", "resident", "bound", "", "private", "bound", "", "anonymous"},
	}
	if err := b.stand(); err != nil {
		return s, err
	}
	progress("waiting until the agents are idle")
	select {
	case <-time.After(idleTime):
	case <-b.ctx.Done():
		return s, b.ctx.Err()
	}
	for _, node := range []string{"main-1", "worker-1", "data-1"} {
		rollup, err := b.onNode(node, "cat /proc/$(systemctl show --property MainPID --value devctl-agent.service)/smaps_rollup")
		if err != nil {
			return s, err
		}
		resident := megabytes(rollup, "Rss:")
		private := megabytes(rollup, "Private_Clean:") + megabytes(rollup, "Private_Dirty:")
		row := append([]string{node, fmt.Sprintf("%.1f", resident)}, atMost(resident, maxResident)...)
		row = append(append(row, fmt.Sprintf("%.1f", private)), atMost(private, maxPrivate)...)
		s.rows = append(s.rows, append(row, fmt.Sprintf("%.1f", megabytes(rollup, "Anonymous:"))))
	}
	return s, nil
}

// megabytes reads one line of a smaps file, which counts in KiB.
func megabytes(rollup, field string) float64 {
	for line := range strings.Lines(rollup) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			n, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return n * 1.024 / 1000
		}
	}
	return 0
}
