package redis

import "slices"

// firstPrimaries chooses which member of each shard is made its primary when the cluster is formed: as few as
// possible in one zone, so that losing a zone leaves a majority to vote for new ones, then as few as possible on one
// node. Afterwards Redis decides who is primary.
func firstPrimaries(members []Member) map[int]Member {
	shards := map[int][]Member{}
	var order []int
	for _, m := range members {
		if _, ok := shards[m.Shard]; !ok {
			order = append(order, m.Shard)
		}
		shards[m.Shard] = append(shards[m.Shard], m)
	}
	for perZone := 1; perZone <= len(order); perZone++ {
		for perNode := 1; perNode <= perZone; perNode++ {
			c := choice{shards: shards, perZone: perZone, perNode: perNode, chosen: map[int]Member{}}
			if !slices.ContainsFunc(order, func(shard int) bool { return !c.place(shard, map[int]bool{}) }) {
				return c.chosen
			}
		}
	}
	return nil
}

// choice is a choice in the making, with at most so many primaries in a zone and on a node.
type choice struct {
	shards           map[int][]Member
	perZone, perNode int
	chosen           map[int]Member // by shard
}

// place chooses a member of the shard, moving the choice of other shards out of its way where that is needed. Shards
// in tried are not moved again.
func (c choice) place(shard int, tried map[int]bool) bool {
	tried[shard] = true
	for _, m := range c.shards[shard] {
		node, zone := c.inTheWay(m)
		if len(node) < c.perNode && len(zone) < c.perZone {
			c.chosen[shard] = m
			return true
		}
		blocking := zone
		if len(node) >= c.perNode {
			blocking = node
		}
		for _, other := range blocking {
			if tried[other] {
				continue
			}
			before := c.chosen[other]
			c.chosen[shard] = m // takes the place, so that the other cannot choose it again
			delete(c.chosen, other)
			if node, zone := c.inTheWay(m); len(node) <= c.perNode && len(zone) <= c.perZone && c.place(other, tried) {
				return true
			}
			delete(c.chosen, shard)
			c.chosen[other] = before
		}
	}
	return false
}

// inTheWay returns the shards whose choice is on the member's node, and those in its zone.
func (c choice) inTheWay(m Member) (node, zone []int) {
	for shard, chosen := range c.chosen {
		if chosen.Zone == m.Zone {
			zone = append(zone, shard)
			if chosen.Node == m.Node {
				node = append(node, shard)
			}
		}
	}
	slices.Sort(node)
	slices.Sort(zone)
	return node, zone
}
