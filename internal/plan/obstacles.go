package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"devctl/internal/api"
)

// Obstacles says what of d cannot be reached from the assignments that are there without losing data: one sentence
// each, none when d may be deployed.
func Obstacles(d api.Deployment, current []api.Assignment) []string {
	holders := map[int][]string{}
	for _, a := range slices.SortedFunc(slices.Values(current), compareAssignments) {
		if a.Shard > 0 {
			holders[a.Shard] = append(holders[a.Shard], a.Node)
		}
	}
	var out []string
	if have := len(holders); have > 0 && d.Redis.Shards != have {
		out = append(out, fmt.Sprintf("the number of Redis shards cannot change from %d to %d: the hash slots are spread over %d", have, d.Redis.Shards, have))
	}
	for _, shard := range slices.Sorted(maps.Keys(holders)) {
		stays := slices.ContainsFunc(holders[shard], func(node string) bool {
			return slices.ContainsFunc(d.Nodes, func(n api.Identity) bool { return n.Name == node })
		})
		if !stays {
			out = append(out, fmt.Sprintf("Redis shard %d would lose every member it has (on %s)", shard, strings.Join(holders[shard], ", ")))
		}
	}
	return out
}
