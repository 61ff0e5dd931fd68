package plan

import (
	"cmp"
	"fmt"
	"slices"

	"devctl/internal/api"
	"devctl/units"
)

// member is one Redis instance of a shard on a node.
type member struct {
	shard  int
	node   string
	reason string
	fixed  bool // it was there before, or is a shard's first
}

// placement is the state of placing Redis members.
type placement struct {
	shards  int
	copies  int            // members that every shard needs
	pool    []api.Identity // data nodes, in slot order
	members []member
}

// placeRedis returns the members that should exist, by shard, then node.
func placeRedis(d api.Deployment, current []api.Assignment) []member {
	p := placement{shards: d.Redis.Shards, copies: 1 + d.Redis.Replicas, pool: group(d.Nodes, api.RoleData)}
	for _, a := range slices.SortedFunc(slices.Values(current), compareAssignments) {
		if a.Shard >= 1 && a.Shard <= p.shards && p.inPool(a.Node) {
			p.members = append(p.members, member{shard: a.Shard, node: a.Node, fixed: true})
		}
	}
	p.fill()
	p.level()
	p.trim()
	p.useIdle()
	slices.SortFunc(p.members, func(a, b member) int {
		return cmp.Or(cmp.Compare(a.shard, b.shard), CompareNames(a.node, b.node))
	})
	return p.members
}

// fill places the members that shards lack: the first of every shard around the ring of nodes, so that the
// primaries-to-be are spread, then the others away from the zones their shard is in already.
func (p *placement) fill() {
	if len(p.pool) == 0 {
		return
	}
	for s := 1; s <= p.shards; s++ {
		if len(p.of(s)) == 0 {
			first := member{shard: s, node: p.pool[p.home(s)].Name, reason: fmt.Sprintf("first member of shard %d", s), fixed: true}
			p.members = append(p.members, first)
		}
	}
	for copies := 2; copies <= p.copies; copies++ {
		for s := 1; s <= p.shards; s++ {
			if len(p.of(s)) >= copies {
				continue
			}
			if n, ok := p.best(s); ok {
				p.members = append(p.members, member{shard: s, node: n.Name, reason: fmt.Sprintf("shard %d needs %d members", s, p.copies)})
			}
		}
	}
}

// best returns the node for one more member of the shard: never a node that has one, rather in a zone that has none,
// rather one with few members, and then the next one around the ring.
func (p *placement) best(shard int) (api.Identity, bool) {
	var found api.Identity
	var foundScore []int
	for i, n := range p.pool {
		if p.has(shard, n.Name) {
			continue
		}
		distance := (i - p.home(shard) + len(p.pool)) % len(p.pool)
		score := []int{p.inZone(shard, n.Zone), p.load(n.Name), distance}
		if foundScore == nil || slices.Compare(score, foundScore) < 0 {
			found, foundScore = n, score
		}
	}
	return found, foundScore != nil
}

// level moves members that are only being placed now from full nodes to emptier ones, where zones allow.
// Placing one after the other can leave a node idle that a later shard could have used.
func (p *placement) level() {
	for p.levelOnce() {
	}
}

func (p *placement) levelOnce() bool {
	for i, m := range p.members {
		if m.fixed {
			continue
		}
		from := p.node(m.node)
		for _, to := range p.pool {
			if p.has(m.shard, to.Name) || p.load(from.Name)-p.load(to.Name) < 2 {
				continue
			}
			if to.Zone != from.Zone && p.inZone(m.shard, to.Zone) >= p.inZone(m.shard, from.Zone) {
				continue
			}
			p.members[i].node = to.Name
			return true
		}
	}
	return false
}

// trim drops members that no shard needs any more. The only member on a node stays: it is the extra replica that
// keeps the node from idling.
func (p *placement) trim() {
	for s := 1; s <= p.shards; s++ {
		for {
			alone, worst, worstScore := 0, -1, []int(nil)
			for i, m := range p.members {
				if m.shard != s {
					continue
				}
				n := p.node(m.node)
				if p.load(n.Name) == 1 {
					alone++
					continue
				}
				distance := (slices.Index(p.pool, n) - p.home(s) + len(p.pool)) % len(p.pool)
				score := []int{p.inZone(s, n.Zone), p.load(n.Name), distance}
				if worst < 0 || slices.Compare(score, worstScore) > 0 {
					worst, worstScore = i, score
				}
			}
			if worst < 0 || len(p.of(s))-alone <= p.copies {
				break
			}
			p.members = slices.Delete(p.members, worst, worst+1)
		}
	}
}

// useIdle gives every node without a member one extra replica, of the shard that has the fewest members and, where
// there is such a shard, none in the node's zone.
func (p *placement) useIdle() {
	for _, n := range p.pool {
		if p.load(n.Name) > 0 || p.shards == 0 {
			continue
		}
		shard, shardScore := 0, []int(nil)
		for s := 1; s <= p.shards; s++ {
			score := []int{min(p.inZone(s, n.Zone), 1), len(p.of(s))}
			if shard == 0 || slices.Compare(score, shardScore) < 0 {
				shard, shardScore = s, score
			}
		}
		reason := fmt.Sprintf("an extra replica of shard %d, for a node that would be idle", shard)
		p.members = append(p.members, member{shard: shard, node: n.Name, reason: reason})
	}
}

// home is the position of the node on which the shard's first member is placed.
func (p *placement) home(shard int) int { return (shard - 1) % len(p.pool) }

func (p *placement) of(shard int) []member {
	return slices.DeleteFunc(slices.Clone(p.members), func(m member) bool { return m.shard != shard })
}

func (p *placement) has(shard int, node string) bool {
	return slices.ContainsFunc(p.members, func(m member) bool { return m.shard == shard && m.node == node })
}

func (p *placement) inPool(node string) bool {
	return slices.ContainsFunc(p.pool, func(n api.Identity) bool { return n.Name == node })
}

func (p *placement) node(name string) api.Identity {
	return p.pool[slices.IndexFunc(p.pool, func(n api.Identity) bool { return n.Name == name })]
}

// inZone counts the shard's members in the zone.
func (p *placement) inZone(shard int, zone string) int {
	count := 0
	for _, m := range p.members {
		if m.shard == shard && p.node(m.node).Zone == zone {
			count++
		}
	}
	return count
}

// load counts the members on the node.
func (p *placement) load(node string) int {
	count := 0
	for _, m := range p.members {
		if m.node == node {
			count++
		}
	}
	return count
}

// placeBalancers returns the workers that run HAProxy and keepalived, in slot order: those that do already,
// then the first others, until there are enough.
func placeBalancers(d api.Deployment, current []api.Assignment) []api.Identity {
	unit := units.HAProxy(d.Images.HAProxy).Name
	serves := map[string]bool{}
	for _, a := range current {
		if a.Unit == unit {
			serves[a.Node] = true
		}
	}
	workers := group(d.Nodes, api.RoleWorker)
	slices.SortStableFunc(workers, func(a, b api.Identity) int {
		switch {
		case serves[a.Name] == serves[b.Name]:
			return 0
		case serves[a.Name]:
			return -1
		default:
			return 1
		}
	})
	chosen := workers[:max(0, min(d.Balancer.Instances, len(workers)))]
	slices.SortFunc(chosen, func(a, b api.Identity) int { return CompareNames(a.Name, b.Name) })
	return chosen
}

// group returns the nodes of a role in slot order.
func group(nodes []api.Identity, role api.Role) []api.Identity {
	out := slices.DeleteFunc(slices.Clone(nodes), func(n api.Identity) bool { return n.Role != role })
	slices.SortFunc(out, func(a, b api.Identity) int { return CompareNames(a.Name, b.Name) })
	return out
}
