package redis

import (
	"fmt"
	"slices"
	"strconv"
)

// A new cluster is formed in the order in which it serves soonest. A primary refuses everybody for two seconds after its
// start (CLUSTER_WRITABLE_DELAY in cluster.c of Redis 7), so that an old one hears first of what happened while it was
// away. A replica does not wait, nor one that takes over. So the slots of a shard first go to a member that is not to
// be its primary, a caretaker: the one that is follows it, and takes over at once.

// form makes a cluster of blank members: distinct config epochs, then everybody meets everybody, and once everybody
// knows everybody the slots are given out. Gossip would do with a meeting each, but takes a second or more.
func (p *picture) form() []step {
	var steps []step
	for i, m := range p.members {
		if o := p.seen[m.Address]; len(o.nodes) == 1 && o.self.epoch == 0 {
			steps = append(steps, step{m.Address, command{"CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i + 1)}, "prepare the members for one cluster"})
		}
	}
	for i, host := range p.members {
		for _, m := range p.members[i+1:] {
			if !p.seen[host.Address].meets(p.seen[m.Address], m.Address) {
				steps = append(steps, meet(host, m, "introduce all members to one another"))
			}
		}
	}
	if len(steps) > 0 {
		return steps
	}
	return p.assign()
}

// assign gives the slots of shards that nobody owns to one member each. That happens when the cluster is formed and
// never later: a primary that is lost keeps its slots, so a range without owner has not had one yet. It tells everybody
// at once, by meeting them again: gossip takes a second.
func (p *picture) assign() []step {
	if !p.meshed() {
		return nil
	}
	var give, tell []step
	first := p.caretakers()
	for shard := 1; shard <= p.spec.Shards; shard++ {
		m, ok := first[shard]
		if _, owned := p.primaryOf(shard); owned || !ok || !p.blank(shard) {
			continue
		}
		r := shardRange(shard, p.spec.Shards)
		give = append(give, step{
			m.Address,
			command{"CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(r.first), strconv.Itoa(r.last)},
			fmt.Sprintf("%s gets the slots of shard %d (%s)", m, shard, r),
		})
		for _, other := range p.members {
			if other != m {
				tell = append(tell, meet(m, other, "tell all members who owns which slots"))
			}
		}
	}
	return append(give, tell...)
}

// caretakers chooses who gets the slots of each shard that nobody owns: where it has other members, not its first
// primary.
func (p *picture) caretakers() map[int]Member {
	home := firstPrimaries(p.members)
	var candidates []Member
	for _, m := range p.members {
		alone := len(p.shard(m.Shard)) == 1
		if _, owned := p.primaryOf(m.Shard); !owned && p.seen[m.Address].self.primary && (alone || m != home[m.Shard]) {
			candidates = append(candidates, m)
		}
	}
	return firstPrimaries(candidates)
}

// handOver lets the first primaries take over from caretakers that do not serve yet. Only while no member holds a key:
// what a caretaker had would be lost.
func (p *picture) handOver() []step {
	for shard := 1; shard <= p.shards(); shard++ {
		if !p.blank(shard) {
			return nil
		}
	}
	var steps []step
	home := firstPrimaries(p.members)
	for shard := 1; shard <= p.shards(); shard++ {
		owner, ok := p.primaryOf(shard)
		m, found := home[shard]
		if !ok || !found || !owner.alive || p.seen[owner.address].state == "ok" {
			continue
		}
		if o := p.seen[m.Address]; o.self.primaryID == owner.id && o.state == "ok" && o.knowsSlots(owner.id) {
			if !o.open { // the caretaker asks for a copy at once, and again without a pause while it is refused
				steps = append(steps, step{m.Address, openCommand(), ""})
			}
			steps = append(steps, step{
				m.Address, command{"CLUSTER", "FAILOVER", "TAKEOVER"},
				fmt.Sprintf("%s becomes the first primary of shard %d", m, shard),
			})
		}
	}
	return steps
}

// blank tells whether no member of the shard holds a key.
func (p *picture) blank(shard int) bool {
	return !slices.ContainsFunc(p.shard(shard), func(m Member) bool {
		o, ok := p.answers(m)
		return !ok || o.keys > 0
	})
}
