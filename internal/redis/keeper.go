package redis

import (
	"fmt"
	"slices"
	"time"
)

// Keeper keeps a Redis Cluster whole. It remembers who was a primary when, and who could not write its log, which no member can
// tell later. The zero value is ready to use, by one caller at a time.
type Keeper struct {
	led   map[string]reign     // by ID of a member: when it was last seen to own slots
	torn  map[string]torn      // by ID: members whose log may have a hole
	asked map[string]time.Time // by address: when a member was last asked to take over from one that serves
}

// reign is the time for which a member owns slots.
type reign struct {
	seen time.Time // last
	run  string    // of the member then
}

// torn is a log that could not be written.
type torn struct {
	run      string    // of the member then
	rewrites int64     // of the log until then
	asked    time.Time // for another
}

// logAgain is how long a member is left alone that could not write a new log.
const logAgain = 10 * time.Second

// note takes note of who owns slots. Of a cluster that was there before the keeper everybody counts as having owned some just now.
func (k *Keeper) note(p *picture, now time.Time) {
	first := k.led == nil
	if first {
		k.led = map[string]reign{}
	}
	for id, m := range p.byID {
		if o := p.seen[m.Address]; o.self.primary && len(o.self.slots) > 0 || first && p.formed {
			k.led[id] = reign{now, o.run}
		}
	}
}

// due leaves out of steps those takeovers for which it is too early. A member that has handed its slots over a moment ago is about to
// stop, and does not want them back before it has. And a replica that was elected less than two node timeouts ago takes the votes of
// then for those of now (clusterHandleSlaveFailover in cluster.c of Redis 7.0): nobody would follow it. One that was asked a moment ago
// is at it; asked again it begins anew, while nobody may write.
func (k *Keeper) due(p *picture, steps []step, now time.Time) []step {
	timeout := time.Duration(p.spec.NodeTimeoutMS) * time.Millisecond
	stops, votes := 8*timeout, max(2*timeout, 2*time.Second)+timeout/2
	return slices.DeleteFunc(slices.Clone(steps), func(s step) bool {
		if s.command[1] != "FAILOVER" || slices.Contains(s.command, "TAKEOVER") {
			return false
		}
		o := p.seen[s.address]
		last, known := k.led[o.self.id]
		rest := votes
		forced := slices.Contains(s.command, "FORCE")
		if o.run == last.run && !forced {
			rest = stops
		}
		if known && now.Sub(last.seen) < rest || !forced && now.Sub(k.asked[s.address]) < yieldAgain {
			return true
		}
		if k.asked == nil {
			k.asked = map[string]time.Time{}
		}
		k.asked[s.address] = now
		return false
	})
}

// renew has members write a new log that could not write theirs for a while. Redis 7.0 goes on behind what it had to cut off, when
// it has rewritten the log since its start (flushAppendOnlyFile in aof.c), and no later start can read what has such a hole.
func (k *Keeper) renew(p *picture, now time.Time) []step {
	if k.torn == nil {
		k.torn = map[string]torn{}
	}
	var steps []step
	for _, m := range p.members {
		o, ok := p.answers(m)
		if !ok {
			continue
		}
		was, known := k.torn[o.self.id]
		switch {
		case o.stuck != "":
			k.torn[o.self.id] = torn{run: o.run, rewrites: o.rewrites}
		case !known || o.rewriting:
		case o.run != was.run || o.rewrites > was.rewrites && o.rewritten:
			delete(k.torn, o.self.id)
		case now.Sub(was.asked) >= logAgain:
			was.asked = now
			k.torn[o.self.id] = was
			steps = append(steps, step{m.Address, command{"BGREWRITEAOF"}, fmt.Sprintf("%s can write again, and writes a new log", m)})
		}
	}
	return steps
}
