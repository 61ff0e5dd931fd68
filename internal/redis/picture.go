package redis

import (
	"cmp"
	"fmt"
	"maps"
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
	members []Member               // by shard, then by node
	seen    map[string]observation // by address; members that gave no answer are missing
	silent  map[string]error       // by address: why there was no answer
	byID    map[string]Member      // answering members
	owned   map[string][]slotRange // slots by the ID of their primary
	formed  bool                   // somebody owns slots
}

// draw puts observations together. Where two primaries claim a slot the higher config epoch is right: that is how
// Redis itself decides between an old primary that comes back and the replica that took over.
func draw(spec api.RedisSpec, members []Member, seen map[string]observation, silent map[string]error) *picture {
	p := &picture{spec: spec, members: slices.Clone(members), seen: seen, silent: silent, byID: map[string]Member{}}
	slices.SortFunc(p.members, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Address, b.Address))
	})
	var nodes []node
	for _, m := range p.members {
		if o, ok := seen[m.Address]; ok {
			p.byID[o.self.id] = m
			nodes = append(nodes, o.nodes...)
		}
	}
	p.owned = owners(nodes)
	p.formed = len(p.owned) > 0
	return p
}

// owners decides who owns which slots, given what everybody says about everybody.
func owners(nodes []node) map[string][]slotRange {
	claims := make([]*node, slotCount)
	for i := range nodes {
		for _, r := range nodes[i].slots {
			for slot := r.first; slot <= r.last; slot++ {
				if claims[slot] == nil || nodes[i].epoch > claims[slot].epoch {
					claims[slot] = &nodes[i]
				}
			}
		}
	}
	owned := map[string][]slotRange{}
	for first := 0; first < slotCount; {
		last := first
		for last+1 < slotCount && sameOwner(claims[first], claims[last+1]) {
			last++
		}
		if claims[first] != nil {
			id := claims[first].id
			owned[id] = append(owned[id], slotRange{first, last})
		}
		first = last + 1
	}
	return owned
}

func sameOwner(a, b *node) bool { return a == b || a != nil && b != nil && a.id == b.id }

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
	var (
		id   string
		most int
	)
	want := shardRange(shard, p.shards())
	for _, candidate := range slices.Sorted(maps.Keys(p.owned)) {
		count := 0
		for _, r := range p.owned[candidate] {
			count += max(0, min(r.last, want.last)-max(r.first, want.first)+1)
		}
		if count > most {
			id, most = candidate, count
		}
	}
	if id == "" {
		return primary{}, false
	}
	out := primary{id: id, address: p.addressOf(id), slots: p.owned[id]}
	if m, ok := p.byID[id]; ok {
		o := p.seen[m.Address]
		out.member, out.address, out.keys = m, m.Address, o.keys
		out.alive = o.self.primary && len(o.self.slots) > 0
	}
	return out, true
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
