package cli

import (
	"fmt"
	"strings"

	"devctl/internal/api"
	"devctl/internal/cli/output"
	"devctl/internal/cli/progress"
	"devctl/stacks"
)

// nodeRows shows every expected node for progress: those that the controllers do not see yet as well.
func nodeRows(spec *stacks.Spec, st api.Status, s output.Style) ([]string, []progress.Row) {
	live := map[string]api.NodeStatus{}
	for _, n := range st.Nodes {
		live[n.Name] = n
	}
	var rows []progress.Row
	for _, id := range spec.Identities() {
		n, joined := live[id.Name]
		if !joined {
			rows = append(rows, progress.Row{Key: id.Name, Cells: []string{id.Name, id.Zone, s.Faint("joining"), "", ""}})
			continue
		}
		busy := busyUnits(n)
		line := fmt.Sprintf("%s: %s, %s units ready", n.Name, n.State, unitCount(n))
		if len(busy) > 0 {
			line += ", waiting for " + strings.Join(busy, ", ")
		}
		rows = append(rows, progress.Row{
			Key:   id.Name,
			Cells: []string{n.Name, n.Zone, nodeState(n, s), unitCount(n), strings.Join(busy, ", ")},
			Line:  line,
		})
	}
	return []string{"NODE", "ZONE", "STATE", "UNITS", "NOT READY"}, rows
}

// busyUnits are the units of a node that do not do their work yet, with their state.
func busyUnits(n api.NodeStatus) []string {
	var busy []string
	for _, u := range n.Units {
		if !u.Ready() {
			busy = append(busy, fmt.Sprintf("%s (%s)", strings.TrimSuffix(u.Name, ".service"), u.Active))
		}
	}
	return busy
}

// waitingFor says what is missing until the stack is settled, the first thing first.
func waitingFor(spec *stacks.Spec, st api.Status) string {
	live := map[string]bool{}
	var busy []string
	for _, n := range st.Nodes {
		live[n.Name] = true
		for _, unit := range busyUnits(n) {
			busy = append(busy, unit+" on "+n.Name)
		}
	}
	var missing []string
	for _, id := range spec.Identities() {
		if !live[id.Name] {
			missing = append(missing, id.Name)
		}
	}
	switch {
	case len(missing) > 0:
		return strings.Join(missing, ", ") + " to join"
	case len(busy) > 0:
		return strings.Join(busy, ", ")
	case st.Redis.State != "ok":
		return fmt.Sprintf("the Redis cluster to form: %s, %d of 16384 slots", orNone(st.Redis.State), st.Redis.SlotsAssigned)
	case st.Endpoint.Holder == "":
		return "a worker to take the endpoint's address"
	case len(st.Problems) > 0:
		return "this to be over: " + strings.Join(st.Problems, "; ")
	default:
		return "the controllers to settle"
	}
}
