package redis

import (
	"fmt"
	"slices"
)

// A replica is elected by the primaries. They vote for one of which they know whom it follows, that is not behind the epoch
// they have heard of, and that knows its primary's; and it counts the votes of those of which it knows that they own slots.
// One that does not win tries again after many seconds (clusterSendFailoverAuthIfNeeded and clusterProcessPacket in
// cluster.c of Redis 7). All that spreads by gossip, which takes a second or more. Members that meet again tell each other
// at once; but they also lose the connection that they had, and make another a tenth of a second later. A vote in between
// is lost.

// news is what one member knows and another has not heard yet.
type news struct {
	from, to Member
	what     string
}

// agree lets members tell each other the news, but not while a primary is missed: its shard may be about to elect another. Where
// there is no connection Redis makes one by itself, as soon as it can.
func (p *picture) agree() []step {
	if p.missed() {
		return nil
	}
	var steps []step
	for _, n := range p.news() {
		if p.seen[n.from.Address].reaches(p.seen[n.to.Address].self.id) {
			steps = append(steps, meet(n.from, n.to, "")) // gossip would do it, too
		}
	}
	return steps
}

// missed tells whether a primary with slots gives no answer to us, or to a member.
func (p *picture) missed() bool {
	if alive, all := p.voters(); alive < all {
		return true
	}
	for _, m := range p.joined() {
		if slices.ContainsFunc(p.seen[m.Address].nodes, func(n node) bool { return n.failing && len(p.owned[n.id]) > 0 }) {
			return true
		}
	}
	return false
}

// reaches tells whether the viewer knows the ID and has a connection to it.
func (o observation) reaches(id string) bool {
	return slices.ContainsFunc(o.nodes, func(n node) bool { return n.id == id && !n.handshake && !n.unlinked })
}

// disagreements are why nobody might be elected right now although everybody is there.
func (p *picture) disagreements() []string {
	if len(p.blockers()) > 0 {
		return nil
	}
	if n := p.news(); len(n) > 0 {
		return []string{fmt.Sprintf("%s has to hear from %s %s", n[0].to, n[0].from, n[0].what)}
	}
	for _, m := range p.joined() {
		for _, n := range p.seen[m.Address].nodes {
			if other, answers := p.byID[n.id]; answers && n.unlinked {
				return []string{fmt.Sprintf("%s has no connection to %s", m, other)}
			}
		}
	}
	return nil
}

// news finds out who has to tell whom. Of two primaries with the same config epoch, as those have that took over at the same
// time, one takes another when they meet.
func (p *picture) news() []news {
	const followers, owners, epoch = "who follows whom", "who owns which slots", "which epoch it is"
	var out []news
	joined := p.joined()
	var ahead observation // one is enough to tell the others
	for _, m := range joined {
		if o := p.seen[m.Address]; o.epoch > ahead.epoch {
			ahead = o
		}
	}
	for _, from := range joined {
		o := p.seen[from.Address]
		for _, to := range joined {
			other := p.seen[to.Address]
			switch {
			case from == to:
			case o.self.id == ahead.self.id && other.epoch < o.epoch, o.owns() && other.owns() && o.self.epoch == other.self.epoch:
				out = append(out, news{from, to, epoch})
			case o.owns() && !other.knowsOwner(o.self):
				out = append(out, news{from, to, owners})
			case len(p.owned[o.self.primaryID]) > 0 && !other.mayElect(o.self):
				out = append(out, news{from, to, followers})
			}
		}
	}
	return out
}

// owns tells whether it is a primary with slots.
func (o observation) owns() bool { return o.self.primary && len(o.self.slots) > 0 }

// knowsOwner tells whether it has heard which slots a primary owns, and since which epoch.
func (o observation) knowsOwner(primary node) bool {
	return slices.ContainsFunc(o.nodes, func(n node) bool {
		return n.id == primary.id && n.primary && n.epoch >= primary.epoch && slices.Equal(n.slots, primary.slots)
	})
}

// mayElect tells whether a primary has heard that the replica follows whom it says that it follows; others do not have to.
func (o observation) mayElect(replica node) bool {
	return len(o.self.slots) == 0 || slices.ContainsFunc(o.nodes, func(n node) bool {
		return n.id == replica.id && n.primaryID == replica.primaryID
	})
}
