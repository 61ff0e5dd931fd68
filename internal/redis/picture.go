package redis

import (
	"cmp"
	"fmt"
	"slices"

	"devctl/internal/api"
)

// Member is a Redis that should be part of the cluster.
type Member struct {
	Node    string // name of its node
	Zone    string
	Address string // host:port
	Shard   int    // 1-based
	Ready   bool   // its unit runs
}

func (m Member) String() string { return fmt.Sprintf("%s (%s)", m.Node, m.Address) }

// picture is what the answering members say, put together. It is never changed after draw.
type picture struct {
	spec    api.RedisSpec
	members []Member               // by shard, then in the order given
	seen    map[string]observation // by address; members that gave no answer are missing
	silent  map[string]error       // by address: why there was no answer
	byID    map[string]Member      // answering members
	owner   [slotCount]string      // ID of each slot's primary, "" for none
	formed  bool                   // somebody owns slots
}

// draw puts observations together. Where two primaries claim a slot the higher config epoch is right: that is how
// Redis itself decides between an old primary that comes back and the replica that took over.
func draw(spec api.RedisSpec, members []Member, seen map[string]observation, silent map[string]error) *picture {
	p := &picture{spec: spec, members: slices.Clone(members), seen: seen, silent: silent, byID: map[string]Member{}}
	slices.SortStableFunc(p.members, func(a, b Member) int { return cmp.Compare(a.Shard, b.Shard) })
	var claim [slotCount]uint64
	for _, m := range p.members {
		o, ok := seen[m.Address]
		if !ok {
			continue
		}
		p.byID[o.self.id] = m
		for _, n := range o.nodes {
			for _, r := range n.slots {
				p.formed = true
				for slot := r.first; slot <= r.last; slot++ {
					if p.owner[slot] == "" || n.epoch > claim[slot] {
						p.owner[slot], claim[slot] = n.id, n.epoch
					}
				}
			}
		}
	}
	return p
}

// answers tells what a member said.
func (p *picture) answers(m Member) (observation, bool) {
	o, ok := p.seen[m.Address]
	return o, ok
}

// shard returns the members of a shard.
func (p *picture) shard(shard int) []Member {
	var out []Member
	for _, m := range p.members {
		if m.Shard == shard {
			out = append(out, m)
		}
	}
	return out
}

// shards is how many shards there are, or should be.
func (p *picture) shards() int {
	count := p.spec.Shards
	for _, m := range p.members {
		count = max(count, m.Shard)
	}
	return count
}

// joined returns the answering members that are part of the cluster: they own slots or know who does.
func (p *picture) joined() []Member {
	var out []Member
	for _, m := range p.members {
		if o, ok := p.answers(m); ok && slices.ContainsFunc(o.nodes, func(n node) bool { return len(n.slots) > 0 }) {
			out = append(out, m)
		}
	}
	return out
}

// knows tells whether the viewer has an entry for the ID that is more than a handshake.
func (o observation) knows(id string) bool {
	return slices.ContainsFunc(o.nodes, func(n node) bool { return n.id == id && !n.handshake })
}

// meets tells whether the viewer knows the member, or is about to.
func (o observation) meets(other observation, address string) bool {
	return slices.ContainsFunc(o.nodes, func(n node) bool {
		return n.id == other.self.id || n.handshake && n.address == address
	})
}

// meshed tells whether all members answer and every one knows every other.
func (p *picture) meshed() bool {
	for _, m := range p.members {
		o, ok := p.answers(m)
		if !ok {
			return false
		}
		for id := range p.byID {
			if !o.knows(id) {
				return false
			}
		}
	}
	return true
}

// primary is who owns a shard's slots.
type primary struct {
	id      string
	address string // as last known; "" when unknown
	member  Member // zero if it does not answer
	alive   bool   // it answers, and sees itself as a primary with slots
	keys    int64
	slots   []slotRange // all that it owns
}

// primaryOf returns the owner of most of the range that the shard was made with. ok is false while nobody owns any.
func (p *picture) primaryOf(shard int) (primary, bool) {
	count := map[string]int{}
	r := shardRange(shard, p.shards())
	for slot := r.first; slot <= r.last; slot++ {
		if id := p.owner[slot]; id != "" {
			count[id]++
		}
	}
	var id string
	for candidate, n := range count {
		if id == "" || n > count[id] || n == count[id] && candidate < id {
			id = candidate
		}
	}
	if id == "" {
		return primary{}, false
	}
	out := primary{id: id, address: p.addressOf(id), slots: p.owned(id)}
	if m, ok := p.byID[id]; ok {
		o := p.seen[m.Address]
		out.member, out.address, out.keys = m, m.Address, o.keys
		out.alive = o.self.primary && len(o.self.slots) > 0
	}
	return out, true
}

// owned returns the slots of one primary.
func (p *picture) owned(id string) []slotRange {
	var out []slotRange
	for slot := 0; slot < slotCount; slot++ {
		if p.owner[slot] != id {
			continue
		}
		if last := len(out) - 1; last >= 0 && out[last].last == slot-1 {
			out[last].last = slot
		} else {
			out = append(out, slotRange{slot, slot})
		}
	}
	return out
}

// addressOf returns where an ID was last known to be.
func (p *picture) addressOf(id string) string {
	for _, m := range p.members {
		if o, ok := p.answers(m); ok {
			for _, n := range o.nodes {
				if n.id == id && n.address != "" {
					return n.address
				}
			}
		}
	}
	return ""
}

// at names the member that should be at an address, for people.
func (p *picture) at(address string) string {
	for _, m := range p.members {
		if m.Address == address {
			return m.String()
		}
	}
	return cmp.Or(address, "an unknown address")
}

// followers returns the answering members that replicate the given ID.
func (p *picture) followers(id string) []Member {
	var out []Member
	for _, m := range p.members {
		if o, ok := p.answers(m); ok && !o.self.primary && o.self.primaryID == id {
			out = append(out, m)
		}
	}
	return out
}

// replaced tells whether the place of a dead ID has been taken: another member answers at its address, or nobody is
// expected there any more. An ID without an address lost it to somebody else.
func (p *picture) replaced(id string) bool {
	address := p.addressOf(id)
	for _, m := range p.members {
		if m.Address == address {
			o, ok := p.answers(m)
			return ok && o.self.id != id
		}
	}
	return true
}
