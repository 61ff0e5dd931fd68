// Package redis knows what a Redis Cluster is made of: the files of one member (Files), what a member says about
// itself (Inspect), and the steps that turn members into one cluster and keep it whole (Keeper).
//
// Rendering and planning are pure. Only Inspect, Keeper and Yield talk to Redis.
package redis

import (
	"fmt"
	"strings"
)

// slotCount is the number of hash slots of every Redis Cluster.
const slotCount = 16384

// slotRange is a range of hash slots, both ends included.
type slotRange struct{ first, last int }

func (r slotRange) String() string {
	if r.first == r.last {
		return fmt.Sprint(r.first)
	}
	return fmt.Sprintf("%d-%d", r.first, r.last)
}

// shardRange is the range that the given shard (1-based) of so many is made with: all of nearly the same size.
func shardRange(shard, shards int) slotRange {
	return slotRange{(shard - 1) * slotCount / shards, shard*slotCount/shards - 1}
}

// formatSlots is the text of a set of ranges: 0-5460,8000.
func formatSlots(ranges []slotRange) string {
	texts := make([]string, len(ranges))
	for i, r := range ranges {
		texts[i] = r.String()
	}
	return strings.Join(texts, ",")
}
