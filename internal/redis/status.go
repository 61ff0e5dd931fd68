package redis

import (
	"fmt"
	"slices"
	"strings"

	"devctl/internal/api"
)

// status says what the cluster is at the moment.
//
// State is none without members; forming until every slot has an owner and the primaries agree that they serve,
// while nothing is broken; ok when all slots are served; else fail. Replicas that are not in sync do not change it.
func (p *picture) status() api.RedisStatus {
	out := api.RedisStatus{State: "none", Shards: []api.ShardStatus{}}
	if len(p.members) == 0 {
		return out
	}
	lost := false
	for shard := 1; p.formed && shard <= p.shards(); shard++ {
		s, alive := p.shardStatus(shard)
		lost = lost || !alive
		out.Shards = append(out.Shards, s)
		for _, r := range s.Replicas {
			if r.InSync {
				out.Replicas++
			}
		}
	}
	for _, ranges := range p.owned {
		out.SlotsAssigned += countSlots(ranges)
	}
	for _, m := range p.members {
		if o, ok := p.answers(m); ok && o.self.primary && len(o.self.slots) > 0 {
			out.Primaries++
		}
	}
	out.State = p.state(out.SlotsAssigned, lost)
	out.Problems = slices.Concat(p.blockers(), p.memberProblems(), p.shardProblems(), p.disagreements())
	if from, to, ok := p.lopsided(); ok {
		out.Problems = append(out.Problems, fmt.Sprintf("too many primaries are on %s or in its zone to lose it; %s takes over shard %d", from.Node, to, to.Shard))
	}
	return out
}

func (p *picture) state(slots int, lost bool) string {
	switch {
	case lost || p.formed && len(p.blockers()) > 0:
		return "fail"
	case slots < slotCount:
		return "forming"
	}
	agreed, suspected := true, false
	for _, m := range p.members {
		o, ok := p.answers(m)
		if !ok {
			suspected = true
			continue
		}
		agreed = agreed && (o.state == "ok" || len(o.self.slots) == 0)
		suspected = suspected || slices.ContainsFunc(o.nodes, func(n node) bool { return n.failing })
	}
	switch {
	case agreed:
		return "ok"
	case suspected:
		return "fail"
	default:
		return "forming" // primaries wait a moment before they serve
	}
}

// shardStatus describes one shard; alive is false when it has an owner that is not there.
func (p *picture) shardStatus(shard int) (s api.ShardStatus, alive bool) {
	s.Replicas = []api.ShardMember{}
	owner, ok := p.primaryOf(shard)
	if ok {
		s.Slots = formatSlots(owner.slots)
		s.Primary = api.ShardMember{Address: owner.address, InSync: owner.alive}
		for _, m := range p.members {
			if m.Address == owner.address {
				s.Primary.Node, s.Primary.Zone = m.Node, m.Zone
			}
		}
	}
	for _, m := range p.shard(shard) {
		if ok && m.Address == owner.address && (owner.alive || len(p.followers(owner.id)) > 0) {
			continue
		}
		s.Replicas = append(s.Replicas, api.ShardMember{Node: m.Node, Zone: m.Zone, Address: m.Address, InSync: p.inSync(m, owner)})
	}
	return s, !ok || owner.alive
}

// inSync tells whether the member is a replica that could take over, and serve copies then.
func (p *picture) inSync(m Member, of primary) bool {
	return p.caughtUp(m, of) && p.seen[m.Address].open
}

// caughtUp tells whether the member is a replica whose primary lives, that has all of its keys, and of which every
// primary knows whom it replicates, without which it would get no vote.
func (p *picture) caughtUp(m Member, of primary) bool {
	o, ok := p.answers(m)
	if !ok || !of.alive || o.self.primary || o.self.primaryID != of.id || !o.linkUp {
		return false
	}
	for _, voter := range p.seen {
		if !voter.mayElect(o.self) {
			return false
		}
	}
	return true
}

// memberProblems are members that do not do their part.
func (p *picture) memberProblems() []string {
	if !p.formed {
		return nil
	}
	var out []string
	joined := p.joined()
	for _, m := range p.members {
		o, ok := p.answers(m)
		target, owned := p.primaryOf(m.Shard)
		if o.stuck != "" {
			out = append(out, p.stuck(m, o))
		}
		switch {
		case !ok:
			out = append(out, fmt.Sprintf("%s gives no answer: %v", m, p.silent[m.Address]))
		case !slices.Contains(joined, m) && o.keys > 0:
			out = append(out, fmt.Sprintf("%s holds %d keys but belongs to no cluster; it is left alone", m, o.keys))
		case !slices.Contains(joined, m):
			out = append(out, fmt.Sprintf("%s has not joined the cluster yet", m))
		case !owned || !target.alive || target.id == o.self.id:
		case target.member.Shard != m.Shard:
			out = append(out, fmt.Sprintf("%s waits for slots: those of shard %d belong to shard %d", m, m.Shard, target.member.Shard))
		case o.self.primary && o.keys > 0:
			out = append(out, fmt.Sprintf("%s is a primary beside %s, with %d keys; it is left alone", m, target.member, o.keys))
		case o.keys > 0 && target.keys == 0 && !p.inSync(m, target):
			out = append(out, fmt.Sprintf("%s holds %d keys and %s none; nothing is changed", m, o.keys, target.member))
		case !p.inSync(m, target):
			out = append(out, fmt.Sprintf("%s is not in sync with %s yet", m, target.member))
		}
	}
	return out
}

// stuck says what becomes of a member that cannot write its log.
func (p *picture) stuck(m Member, o observation) string {
	what := fmt.Sprintf("%s cannot write its log: %s", m, o.stuck)
	owner, ok := p.primaryOf(m.Shard)
	if !ok || owner.id != o.self.id {
		return what
	}
	if to, ok := p.relief(m.Shard, owner); ok {
		return what + fmt.Sprintf("; %s takes over shard %d", to, m.Shard)
	}
	return what + fmt.Sprintf("; shard %d takes no writes until it can, for it has no replica in sync that could", m.Shard)
}

// shardProblems are shards that nobody serves, and what would have to happen.
func (p *picture) shardProblems() []string {
	var out []string
	for shard := 1; p.formed && shard <= p.shards(); shard++ {
		owner, ok := p.primaryOf(shard)
		switch {
		case !ok:
			out = append(out, fmt.Sprintf("shard %d (slots %s) has no primary yet; one is chosen when all members answer and none of the shard holds a key",
				shard, shardRange(shard, p.shards())))
		case !owner.alive:
			out = append(out, p.outage(shard, owner))
		}
	}
	return out
}

// outage says how a shard gets a primary again whose own is gone.
func (p *picture) outage(shard int, owner primary) string {
	name := fmt.Sprintf("shard %d (slots %s)", shard, formatSlots(owner.slots))
	silent := p.silentMembers(shard)
	what := fmt.Sprintf("%s: its primary %s is gone", name, p.at(owner.address))
	replicas := p.followers(owner.id)
	alive, all := p.voters()
	if p.vanished(owner.id) {
		what = fmt.Sprintf("%s: its primary %.8s was replaced by an empty one", name, owner.id)
		heir, found := p.heir(shard, owner.id)
		replicas = p.copies(owner.id)
		switch {
		case found && alive*2 > all:
			return what + fmt.Sprintf("; %s, which has its keys, is told to take over", heir)
		case found && p.vanishedPrimaries()*2 >= all:
			return what + fmt.Sprintf("; %s has its keys, but too many primaries were replaced for a majority: a person decides (CLUSTER FAILOVER TAKEOVER)", heir)
		case len(replicas) > 0 && len(silent) > 0:
			return what + fmt.Sprintf("; %s can take over when %s answers, which may have a better copy", replicas[0], strings.Join(silent, " and "))
		case len(replicas) > 0 && !found:
			return what + fmt.Sprintf("; %s has its keys, but never learned of its slots: a person decides", replicas[0])
		}
	}
	switch {
	case len(replicas) > 0 && alive*2 > all:
		return what + fmt.Sprintf("; %s is about to take over", replicas[0])
	case len(replicas) > 0:
		return what + fmt.Sprintf("; %s can take over once a majority of the primaries is back (%d of %d answer)", replicas[0], alive, all)
	case len(silent) > 0:
		return what + fmt.Sprintf(", and no replica of it answers; its keys are out of reach until %s returns", strings.Join(silent, " or "))
	default:
		return name + ": all its members came back empty; its keys are lost, and its slots stay closed until a person decides"
	}
}

// vanishedPrimaries counts the primaries with slots that will never vote again.
func (p *picture) vanishedPrimaries() int {
	count := 0
	for id := range p.owned {
		if p.vanished(id) {
			count++
		}
	}
	return count
}

// silentMembers names the members of a shard that give no answer.
func (p *picture) silentMembers(shard int) []string {
	var out []string
	for _, m := range p.shard(shard) {
		if _, ok := p.answers(m); !ok {
			out = append(out, m.String())
		}
	}
	return out
}
