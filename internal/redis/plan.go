package redis

import (
	"fmt"
	"net"
	"slices"
)

// step is one command for one member, and why.
type step struct {
	address string
	command command
	reason  string // for people; steps that belong together have the same; empty when nobody needs to hear of it
}

// plan returns what can be done now to get from the picture to one whole cluster, in the order in which it is to be
// done. It is deterministic, and empty when there is nothing to do or when doing something is not safe.
//
// It never takes a slot from a primary that lives and has no successor in sync but where the whole cluster is blank, never
// empties a member, and makes a cluster only of members that all answer and are all blank.
func (p *picture) plan() []step {
	switch {
	case len(p.members) == 0 || len(p.blockers()) > 0:
		return nil
	case !p.formed:
		return p.form()
	default:
		steps := slices.Concat(p.failover(), p.join(), p.assign(), p.open(), p.replicate(), p.handOver(), p.agree(), p.forget())
		if len(steps) == 0 { // an election goes wrong while members meet
			steps = p.relieve()
		}
		if len(steps) == 0 {
			steps = p.balance()
		}
		return steps
	}
}

// blockers are the reasons to touch nothing: a first formation for which somebody is missing, or two clusters.
func (p *picture) blockers() []string {
	var out []string
	if p.formed {
		return p.strangers()
	}
	for shard := 1; shard <= p.spec.Shards; shard++ {
		if have, want := len(p.shard(shard)), 1+p.spec.Replicas; have < want {
			out = append(out, fmt.Sprintf("shard %d has %d of %d members; the cluster is formed when all are there", shard, have, want))
		}
	}
	for _, m := range p.members {
		o, ok := p.answers(m)
		switch {
		case !m.Ready:
			out = append(out, fmt.Sprintf("%s is not ready; the cluster is formed when all members are", m))
		case !ok:
			out = append(out, fmt.Sprintf("%s gives no answer, and the cluster is formed when all members do: %v", m, p.silent[m.Address]))
		case o.keys > 0:
			out = append(out, fmt.Sprintf("%s holds %d keys but belongs to no cluster; the cluster is formed of empty members only", m, o.keys))
		}
	}
	return out
}

// strangers finds primaries with slots that do not know each other.
func (p *picture) strangers() []string {
	var out []string
	owners := slices.DeleteFunc(p.joined(), func(m Member) bool { return len(p.seen[m.Address].self.slots) == 0 })
	for i, a := range owners {
		for _, b := range owners[i+1:] {
			one, other := p.seen[a.Address], p.seen[b.Address]
			if !one.knows(other.self.id) && !other.knows(one.self.id) {
				out = append(out, fmt.Sprintf("%s and %s own slots but belong to different clusters; nothing is changed", a, b))
			}
		}
	}
	return out
}

// join introduces members that know nobody to the cluster.
func (p *picture) join() []step {
	joined := p.joined()
	var steps []step
	for _, m := range p.members {
		o, ok := p.answers(m)
		if !ok || o.keys > 0 || slices.Contains(joined, m) || p.seen[joined[0].Address].meets(o, m.Address) {
			continue
		}
		steps = append(steps, meet(joined[0], m, fmt.Sprintf("%s joins the cluster", m)))
	}
	return steps
}

// replicate makes members that own no slots replicas of their shard's primary. One that follows another primary
// is left alone while that one owns slots, and nobody with keys follows a primary without any.
func (p *picture) replicate() []step {
	var steps []step
	for _, m := range p.joined() {
		o := p.seen[m.Address]
		target, ok := p.primaryOf(m.Shard)
		if !ok || !target.alive || target.member.Shard != m.Shard || target.id == o.self.id || !o.knows(target.id) {
			continue
		}
		if len(p.owned[o.self.id]) > 0 || len(o.self.slots) > 0 || o.keys > 0 && (o.self.primary || target.keys == 0) {
			continue
		}
		if !o.self.primary && (o.self.primaryID == target.id || len(p.owned[o.self.primaryID]) > 0) {
			continue
		}
		steps = append(steps, step{
			m.Address, command{"CLUSTER", "REPLICATE", target.id},
			fmt.Sprintf("%s becomes a replica of %s in shard %d", m, target.member, m.Shard),
		})
	}
	return steps
}

// forget removes dead IDs whose place has been taken from everybody who still knows them. One that owns slots or has
// replicas is never forgotten: it may be all that is left to say where a shard's keys were.
func (p *picture) forget() []step {
	joined := p.joined()
	dead := map[string]bool{} // false: something speaks against forgetting it
	for _, m := range joined {
		for _, n := range p.seen[m.Address].nodes {
			if _, answers := p.byID[n.id]; answers || n.handshake {
				continue
			}
			gone, known := dead[n.id]
			dead[n.id] = (gone || !known) && len(n.slots) == 0 && (n.failed || n.address == "")
		}
	}
	var steps []step
	for _, m := range joined {
		for _, n := range p.seen[m.Address].nodes {
			if !dead[n.id] || !p.replaced(n.id) || len(p.followers(n.id)) > 0 {
				continue
			}
			steps = append(steps, step{
				m.Address, command{"CLUSTER", "FORGET", n.id},
				fmt.Sprintf("forget %.8s, whose place was taken (%s)", n.id, p.at(p.addressOf(n.id))),
			})
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return slices.Compare(a.command, b.command) })
	return steps
}

func meet(anchor, m Member, reason string) step {
	host, port, _ := net.SplitHostPort(m.Address)
	return step{anchor.Address, command{"CLUSTER", "MEET", host, port}, reason}
}
