package redis

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"devctl/internal/api"
)

// world is a model of Redis Cluster: what members know spreads by gossip only, and they crash, come back and lose
// their disks. Steps of a plan are carried out as Redis would, and it is an error of the plan when one could lose data.
type world struct {
	t       *testing.T
	rand    *rand.Rand
	spec    api.RedisSpec
	members []Member
	nodes   map[string]*modelNode // by address
	ids     int
	epoch   uint64
}

type modelNode struct {
	alive   bool
	address string
	self    node
	view    map[string]node // others, by ID
	keys    int64
	open    bool   // serves copies
	serves  bool   // of a primary: it has been up long enough; without, nobody can write to it
	source  string // of a replica: the address that it copies from, whoever is there
	full    bool   // its disk is, and it cannot write its log
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 0)), nodes: map[string]*modelNode{}}
	w.spec = api.RedisSpec{Shards: 3 + w.rand.IntN(3), Replicas: 1 + w.rand.IntN(2)}
	zones, dataNodes := 3, w.spec.Shards+w.rand.IntN(3)
	for shard := 1; shard <= w.spec.Shards; shard++ {
		for i := range 1 + w.spec.Replicas {
			n := (shard + i) % dataNodes
			m := Member{Node: fmt.Sprint("data-", n+1), Zone: string(rune('a' + n%zones)), Shard: shard, Ready: true}
			m.Address = fmt.Sprintf("198.18.0.%d:%d", 101+n, api.RedisPort(shard))
			w.members = append(w.members, m)
			w.nodes[m.Address] = &modelNode{address: m.Address, alive: true}
			w.wipe(w.nodes[m.Address])
		}
	}
	return w
}

func (w *world) wipe(n *modelNode) {
	w.ids++
	n.self = node{id: fmt.Sprintf("%040x", w.ids), address: n.address, self: true, primary: true}
	n.view, n.keys, n.open, n.serves, n.source = map[string]node{}, 0, false, false, ""
}

// follow makes n a replica of p.
func (n *modelNode) follow(p node) {
	n.self.slots, n.self.primary, n.self.primaryID, n.source, n.serves = nil, false, p.id, p.address, false
}

// byID finds who has the ID now; nil when its disk is gone.
func (w *world) byID(id string) *modelNode {
	for _, n := range w.nodes {
		if n.self.id == id {
			return n
		}
	}
	return nil
}

func (w *world) picture() *picture {
	seen, silent := map[string]observation{}, map[string]error{}
	for _, address := range slices.Sorted(maps.Keys(w.nodes)) {
		n := w.nodes[address]
		if !n.alive {
			silent[address] = fmt.Errorf("connection refused")
			continue
		}
		o := observation{self: n.self, nodes: []node{n.self}, state: "ok", keys: n.keys, offset: n.keys, open: n.open}
		if n.self.primary && !n.serves {
			o.state = "fail"
		}
		if n.full {
			o.stuck = "No space left on device"
		}
		for _, id := range slices.Sorted(maps.Keys(n.view)) { // so that a seed is the same world every time
			o.nodes = append(o.nodes, n.view[id])
		}
		if p := w.nodes[n.source]; p != nil {
			o.linkUp = p.alive && p.self.primary && p.open && p.keys == n.keys
		}
		w.rand.Shuffle(len(o.nodes), func(i, j int) { o.nodes[i], o.nodes[j] = o.nodes[j], o.nodes[i] })
		seen[address] = o
	}
	members := slices.Clone(w.members)
	w.rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return draw(w.spec, members, seen, silent)
}

// hear lets a learn what b is and whom b knows.
func (w *world) hear(a, b *modelNode) {
	other := b.self
	other.self = false
	a.view[other.id] = other
	for id, entry := range b.view {
		if _, known := a.view[id]; !known && id != a.self.id && entry.address != "" && !entry.handshake {
			a.view[id] = entry
		}
	}
	if len(other.slots) == 0 {
		return
	}
	for id, entry := range a.view {
		if id != other.id && len(entry.slots) > 0 && entry.slots[0] == other.slots[0] && entry.epoch < other.epoch {
			entry.slots = nil
			a.view[id] = entry
			if a.self.primaryID == id {
				a.follow(other)
			}
		}
	}
	switch {
	case len(a.self.slots) == 0:
	case a.self.slots[0] == other.slots[0] && a.self.epoch < other.epoch:
		a.follow(other)
	case a.self.epoch == other.epoch && a.self.id < other.id:
		w.epoch++
		a.self.epoch = w.epoch
	}
}

// gossip is what happens on the cluster bus between two members.
func (w *world) gossip(a, b *modelNode) {
	if !a.alive || a == b {
		return
	}
	if _, known := a.view[b.self.id]; !b.alive || !known {
		for id, entry := range a.view {
			owner := w.byID(id)
			switch {
			case entry.address != b.address || owner != nil && owner.alive:
				continue
			case b.alive:
				entry.address = "" // somebody else answers there, so nobody looks at it again
			default:
				entry.failing, entry.failed = true, true
			}
			a.view[id] = entry
		}
		return
	}
	w.hear(a, b)
	w.hear(b, a)
	w.replicate(a)
	w.replicate(b)
}

// replicate copies what is at the address of a's primary, whoever that is by now.
func (w *world) replicate(a *modelNode) {
	p := w.nodes[a.source]
	if !a.alive || a.self.primary || p == nil || !p.alive || !p.self.primary || !p.open {
		return
	}
	if p.self.id != a.self.primaryID && p.keys < a.keys {
		w.t.Errorf("%s with %d keys copies %s, which is not its primary and has %d", a.address, a.keys, p.address, p.keys)
	}
	if a.full && a.keys != p.keys { // it stops at the first write that it cannot log
		a.alive, a.open = false, false
		return
	}
	a.keys = p.keys
}

// elect promotes a replica whose primary has failed. One whose primary is without address never learns that.
func (w *world) elect(n *modelNode) {
	dead := w.byID(n.self.primaryID)
	if n.view[n.self.primaryID].failed && (dead == nil || !dead.alive) {
		w.promote(n)
	}
}

// promote makes a replica the primary where a majority of the primaries lives.
func (w *world) promote(n *modelNode) {
	entry, known := n.view[n.self.primaryID]
	if !n.alive || n.self.primary || !known || len(entry.slots) == 0 {
		return
	}
	owners, alive := 1, 0
	for id, other := range n.view {
		if id != entry.id && len(other.slots) > 0 {
			owners++
			if o := w.byID(id); o != nil && o.alive && len(o.self.slots) > 0 {
				alive++
			}
		}
	}
	if alive*2 > owners {
		w.take(n)
	}
}

// take makes a replica the primary, whoever agrees.
func (w *world) take(n *modelNode) {
	entry := n.view[n.self.primaryID]
	w.epoch++
	n.self.primary, n.self.primaryID, n.source, n.self.slots, n.self.epoch, n.serves = true, "", "", entry.slots, w.epoch, true
	entry.slots = nil
	n.view[entry.id] = entry
}

// do carries out a step, and fails the test where it is not safe.
func (w *world) do(s step) {
	n := w.nodes[s.address]
	unsafe := func(why string) { w.t.Errorf("%v on %s (%s): %s", s.command, s.address, s.reason, why) }
	if !n.alive {
		unsafe("it gave no answer")
		return
	}
	switch s.command[1] {
	case "SET-CONFIG-EPOCH":
		if len(n.view) > 0 || n.self.epoch != 0 {
			unsafe("it knows others or has an epoch")
		}
		fmt.Sscan(s.command[2], &n.self.epoch)
		w.epoch = max(w.epoch, n.self.epoch)
	case "MEET":
		other := w.nodes[s.command[2]+":"+s.command[3]]
		if _, known := n.view[other.self.id]; !known && (other.keys > 0 || len(other.self.slots) > 0) {
			unsafe("it brings keys or slots of its own")
		}
		if other.alive {
			w.hear(n, other)
			w.hear(other, n)
		}
	case "ADDSLOTSRANGE":
		r, err := parseRange(s.command[2] + "-" + s.command[3])
		if err != nil || w.ownerKnown(r) {
			unsafe("somebody knows that the slots had an owner")
		}
		if !n.self.primary || n.keys > 0 || n.self.slots != nil {
			unsafe("it is not a blank primary")
		}
		n.self.slots = []slotRange{r}
	case "REPLICATE":
		target := w.byID(s.command[2])
		if _, known := n.view[s.command[2]]; !known || target == nil || !target.alive || !target.self.primary || len(target.self.slots) == 0 {
			unsafe("the target is no living primary that it knows")
			return
		}
		if len(n.self.slots) > 0 || n.keys > 0 && (n.self.primary || target.keys == 0) {
			unsafe("it would lose slots or keys")
		}
		n.follow(target.self)
	case "FAILOVER":
		if slices.Contains(s.command, "TAKEOVER") {
			w.takeover(n, unsafe)
		} else {
			w.failover(n, len(s.command) > 2, unsafe)
		}
	case "SETUSER":
		p := w.byID(n.self.primaryID)
		if len(n.self.slots) == 0 && (n.self.primary || p == nil || p.keys != n.keys) {
			unsafe("it would serve copies of nothing")
		}
		n.open = true
	case "FORGET":
		id := s.command[2]
		if other := w.byID(id); other != nil && other.alive || n.self.primaryID == id {
			unsafe("it lives, or is followed")
		}
		if len(n.view[id].slots) > 0 {
			unsafe("it owns slots")
		}
		delete(n.view, id)
	default:
		unsafe("unknown step")
	}
}

// failover lets a replica take over from its primary: from a living one that it has caught up with, or, by force, from
// one that is nowhere any more, when it is the best copy on any disk.
func (w *world) failover(n *modelNode, force bool, unsafe func(string)) {
	p := w.byID(n.self.primaryID)
	switch {
	case n.self.primary:
		unsafe("it is a primary")
	case !force && (p == nil || !p.alive || p.keys != n.keys):
		unsafe("it is behind")
	case !force && n.full:
		unsafe("it cannot write")
	case force && p != nil:
		unsafe("its primary may come back")
	case force && slices.ContainsFunc(slices.Collect(maps.Values(w.nodes)), func(other *modelNode) bool {
		return other.self.primaryID == n.self.primaryID && other.keys > n.keys
	}):
		unsafe("there is a better copy")
	default:
		w.promote(n)
		if p != nil && n.self.primary {
			w.hear(p, n)
		}
	}
}

// takeover lets a replica take over without a vote: from a primary that nobody can have written to.
func (w *world) takeover(n *modelNode, unsafe func(string)) {
	p := w.byID(n.self.primaryID)
	switch {
	case n.self.primary || p == nil || len(n.view[p.self.id].slots) == 0:
		unsafe("it follows no primary of whose slots it knows")
	case p.serves:
		unsafe("its primary serves")
	case slices.ContainsFunc(slices.Collect(maps.Values(w.nodes)), func(other *modelNode) bool { return other.keys > 0 }):
		unsafe("somebody holds keys")
	default:
		w.take(n)
		w.hear(p, n)
	}
}

// ownerKnown tells whether any disk holds a trace of an owner of the slots. (One that lost its disk before anybody
// heard that it owned them has left none, and had no replica.)
func (w *world) ownerKnown(r slotRange) bool {
	for _, n := range w.nodes {
		if slices.Contains(n.self.slots, r) {
			return true
		}
		for _, other := range n.view {
			if slices.Contains(other.slots, r) {
				return true
			}
		}
	}
	return false
}

func (w *world) address() string { return w.members[w.rand.IntN(len(w.members))].Address }

// fault does something to one member that nobody asked for.
func (w *world) fault() {
	n := w.nodes[w.address()]
	switch w.rand.IntN(7) {
	case 0:
		n.alive, n.open, n.serves = false, false, false
	case 1:
		n.alive = true
	case 2:
		n.alive = false
		w.wipe(n)
	case 3:
		if n.serves && len(n.self.slots) > 0 && !n.full {
			n.keys += 10
		}
	case 4: // it comes back empty before anybody notices
		n.alive = true
		w.wipe(n)
	case 5:
		n.full = true
	case 6:
		n.full = false
	}
}

// calm brings everybody back and lets everything that can happen by itself happen.
func (w *world) calm() {
	for _, m := range w.members {
		n := w.nodes[m.Address]
		n.alive, n.serves, n.full = true, n.self.primary, false
	}
	for range 3 {
		for _, a := range w.members {
			for _, b := range w.members {
				w.gossip(w.nodes[a.Address], w.nodes[b.Address])
			}
		}
		for _, m := range w.members {
			w.elect(w.nodes[m.Address])
		}
	}
}
