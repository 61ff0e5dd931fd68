package redis

import (
	"cmp"
	"fmt"
	"slices"
)

// Redis elects a new primary by itself when the old one gives no answer for a while. It does not when another member
// answers at the old one's address before that: one that came back at once and empty. The others then drop the
// address, look no more, and its replicas wait for ever. That is what failover is for.
//
// Such a replica also goes on asking the old address for a copy, and would get an empty one. So members start
// without serving copies, and are opened once they own slots or hold a copy themselves.

// vanished tells whether nobody has the ID any more: no member answers with it, and everybody who knows it has no
// address for it, or one where the member answers with another ID.
func (p *picture) vanished(id string) bool {
	if _, answers := p.byID[id]; answers {
		return false
	}
	for _, o := range p.seen {
		for _, n := range o.nodes {
			if _, taken := p.seen[n.address]; n.id == id && n.address != "" && !taken {
				return false
			}
		}
	}
	return true
}

// heir returns the best copy of a vanished primary's keys. While a member of the shard gives no answer there is no
// heir: that member may be the primary itself, or have a better copy.
func (p *picture) heir(shard int, id string) (Member, bool) {
	if !p.vanished(id) || len(p.silentMembers(shard)) > 0 {
		return Member{}, false
	}
	copies := slices.DeleteFunc(p.copies(id), func(m Member) bool { return !p.seen[m.Address].knowsSlots(id) })
	if len(copies) == 0 {
		return Member{}, false
	}
	return slices.MinFunc(copies, func(a, b Member) int {
		one, other := p.seen[a.Address], p.seen[b.Address]
		return cmp.Or(cmp.Compare(other.offset, one.offset), cmp.Compare(other.keys, one.keys))
	}), true
}

// copies returns the answering replicas of the ID that have its keys.
func (p *picture) copies(id string) []Member {
	return slices.DeleteFunc(p.followers(id), func(m Member) bool { return !p.seen[m.Address].hasCopy() })
}

// knowsSlots tells whether the member has heard that the ID owns slots: without it would not stand for election.
func (o observation) knowsSlots(id string) bool {
	return slices.ContainsFunc(o.nodes, func(n node) bool { return n.id == id && len(n.slots) > 0 })
}

// hasCopy tells of a replica whether it ever got a copy of its primary's keys; there may have been none.
func (o observation) hasCopy() bool { return o.keys > 0 || o.offset > 0 || o.open }

// failover asks the heirs of vanished primaries to stand for election, without waiting for the primary. They still
// need the votes of a majority of the primaries. One that is not elected is asked again.
func (p *picture) failover() []step {
	if alive, all := p.voters(); alive*2 <= all {
		return nil
	}
	var steps []step
	for shard := 1; shard <= p.shards(); shard++ {
		owner, ok := p.primaryOf(shard)
		if !ok || owner.alive {
			continue
		}
		if heir, ok := p.heir(shard, owner.id); ok {
			s := step{
				heir.Address, command{"CLUSTER", "FAILOVER", "FORCE"},
				fmt.Sprintf("tell %s to take over shard %d, whose primary %.8s was replaced by an empty one", heir, shard, owner.id),
			}
			if !slices.ContainsFunc(steps, func(other step) bool { return other.address == s.address }) {
				steps = append(steps, s)
			}
		}
	}
	return steps
}

// voters counts the primaries with slots, and those of them that are there.
func (p *picture) voters() (alive, all int) {
	for id := range p.owned {
		all++
		if m, ok := p.byID[id]; ok && p.seen[m.Address].self.primary {
			alive++
		}
	}
	return alive, all
}

// open lets members serve copies that own slots or have caught up with who does. One that came back empty at the
// address of a primary does not, so its replicas keep what they have.
func (p *picture) open() []step {
	var steps []step
	for _, m := range p.joined() {
		o := p.seen[m.Address]
		owner, ok := p.primaryOf(m.Shard)
		owns := len(p.owned[o.self.id]) > 0 && o.self.primary && len(o.self.slots) > 0
		if !o.open && (owns || ok && p.caughtUp(m, owner)) {
			steps = append(steps, open(m))
		}
	}
	return steps
}

func open(m Member) step {
	return step{m.Address, openCommand(), "let members that have keys serve copies of them"}
}

// relieve lets replicas take over from primaries that cannot write their log, and so refuse every write. Nothing is lost: what was
// confirmed before has gone to the replicas too, and the old primary waits until the new one has caught up.
func (p *picture) relieve() []step {
	var steps []step
	for shard := 1; shard <= p.shards(); shard++ {
		owner, ok := p.primaryOf(shard)
		if !ok || !owner.alive || p.seen[owner.address].stuck == "" {
			continue
		}
		if to, ok := p.relief(shard, owner); ok {
			steps = append(steps, step{
				to.Address, command{"CLUSTER", "FAILOVER"},
				fmt.Sprintf("tell %s to take shard %d over from %s, which cannot write its log: %s", to, shard, owner.member, p.seen[owner.address].stuck),
			})
		}
	}
	return steps
}

// relief finds a replica of the shard that is in sync with its primary, can write its own log, and can be elected.
func (p *picture) relief(shard int, of primary) (Member, bool) {
	if alive, all := p.voters(); alive*2 <= all {
		return Member{}, false
	}
	for _, m := range p.shard(shard) {
		if p.inSync(m, of) && p.seen[m.Address].stuck == "" {
			return m, true
		}
	}
	return Member{}, false
}

// balance moves one primary, where a node or zone has so many that without it the others could not elect new ones,
// to where it was or would be when the cluster is formed. It does so only while everything is in sync, and nothing is
// lost: the old primary waits until the new one has caught up.
func (p *picture) balance() []step {
	from, to, ok := p.lopsided()
	if !ok {
		return nil
	}
	return []step{{
		to.Address, command{"CLUSTER", "FAILOVER"},
		fmt.Sprintf("tell %s to take shard %d over from %s, so that no node or zone holds half of the primaries", to, to.Shard, from),
	}}
}

// lopsided finds the primary that balance moves, and the replica that takes its place.
func (p *picture) lopsided() (from, to Member, ok bool) {
	if !p.formed || len(p.blockers()) > 0 || len(p.memberProblems()) > 0 || len(p.shardProblems()) > 0 || len(p.disagreements()) > 0 {
		return from, to, false
	}
	home := firstPrimaries(p.members)
	now := map[int]Member{}
	for shard := range home {
		owner, _ := p.primaryOf(shard)
		if owner.member.Shard != shard {
			return from, to, false
		}
		now[shard] = owner.member
	}
	zones, nodes := crowds(now)
	homeZones, homeNodes := crowds(home)
	tooMany := func(have, could map[string]int) bool { return most(have) > most(could) && most(have)*2 >= len(now) }
	if !tooMany(zones, homeZones) && !tooMany(nodes, homeNodes) {
		return from, to, false
	}
	crowd := func(m Member) int { return zones[m.Zone] + nodes[m.Node] }
	for shard := 1; shard <= p.shards(); shard++ {
		if m, moves := now[shard]; moves && m != home[shard] && (!ok || crowd(m) > crowd(from)) {
			from, to, ok = m, home[shard], true
		}
	}
	return from, to, ok
}

// crowds counts the primaries by zone and by node.
func crowds(primaries map[int]Member) (zones, nodes map[string]int) {
	zones, nodes = map[string]int{}, map[string]int{}
	for _, m := range primaries {
		zones[m.Zone]++
		nodes[m.Node]++
	}
	return zones, nodes
}

func most(counts map[string]int) int {
	top := 0
	for _, n := range counts {
		top = max(top, n)
	}
	return top
}
