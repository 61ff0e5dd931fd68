package redis

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

// TestKeeperWaits: who owned slots a moment ago is not told to take over.
func TestKeeperWaits(t *testing.T) {
	t.Parallel()
	const id, address = "one", "198.18.0.101:7101"
	run := func(name string, p *picture) *picture {
		o := p.seen[address]
		o.run = name
		p.seen[address] = o
		return p
	}
	drawn := func(slots ...slotRange) *picture {
		self := node{id: id, address: address, self: true, primary: len(slots) > 0, slots: slots}
		other := node{id: "two", address: "198.18.0.102:7102", primary: true, slots: []slotRange{{5461, 10921}}}
		return draw(api.RedisSpec{Shards: 3, NodeTimeoutMS: 2000}, []Member{{Node: "data-1", Address: address, Shard: 1}},
			map[string]observation{address: {self: self, nodes: []node{self, other}}}, nil)
	}
	old, again := run("first", drawn(slotRange{0, 5460})), run("second", drawn())
	order := func(words ...string) []step {
		return []step{{address: address, command: append(command{"CLUSTER"}, words...)}}
	}
	start := time.Unix(0, 0)
	for _, tt := range []struct {
		name  string
		seen  *picture // at the start
		now   *picture
		steps []step
		after time.Duration
		due   bool
	}{
		{"it has stopped since, its votes are of before", old, again, order("FAILOVER"), 4 * time.Second, false},
		{"it has stopped since", old, again, order("FAILOVER"), 6 * time.Second, true},
		{"it has just handed over", drawn(slotRange{0, 5460}), drawn(), order("FAILOVER"), 15 * time.Second, false},
		{"it is still there", drawn(slotRange{0, 5460}), drawn(), order("FAILOVER"), 17 * time.Second, true},
		{"its votes are of before", drawn(slotRange{0, 5460}), drawn(), order("FAILOVER", "FORCE"), 4 * time.Second, false},
		{"it needs new votes", drawn(slotRange{0, 5460}), drawn(), order("FAILOVER", "FORCE"), 6 * time.Second, true},
		{"without votes", drawn(slotRange{0, 5460}), drawn(), order("FAILOVER", "TAKEOVER"), 0, true},
		{"another step", drawn(slotRange{0, 5460}), drawn(), order("FORGET", "two"), 0, true},
		{"nobody knows what was before", drawn(), drawn(), order("FAILOVER"), 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var k Keeper
			k.note(tt.seen, start)
			now := start.Add(tt.after)
			k.note(tt.now, now)
			if due := len(k.due(tt.now, tt.steps, now)) > 0; due != tt.due {
				t.Errorf("due is %v, want %v", due, tt.due)
			}
		})
	}
}

// TestKeeperRenewsLogs: who could not write its log, and can again, writes a new one, until it has.
func TestKeeperRenewsLogs(t *testing.T) {
	t.Parallel()
	const full = "No space left on device"
	members, seen := three()
	var k Keeper
	start := time.Unix(0, 0)
	for _, tt := range []struct {
		what  string
		after time.Duration
		now   observation
		told  bool
	}{
		{"nothing was wrong", 0, observation{run: "a", rewritten: true}, false},
		{"it is full", 1, observation{run: "a", rewrites: 1, rewritten: true, stuck: full}, false},
		{"a rewrite does not help while it is", 2, observation{run: "a", rewrites: 2, rewritten: true, stuck: full}, false},
		{"there is room", 3, observation{run: "a", rewrites: 2, rewritten: true}, true},
		{"it is at it", 4, observation{run: "a", rewrites: 3, rewriting: true, rewritten: true}, false},
		{"that failed a moment ago", 5, observation{run: "a", rewrites: 3}, false},
		{"that failed a while ago", 13, observation{run: "a", rewrites: 3}, true},
		{"this did not", 14, observation{run: "a", rewrites: 4, rewritten: true}, false},
		{"it is known to have a new one", 40, observation{run: "a", rewrites: 4, rewritten: true}, false},
		{"it is full again", 41, observation{run: "a", rewrites: 4, rewritten: true, stuck: full}, false},
		{"it has started anew", 42, observation{run: "b", rewritten: true}, false},
		{"which is known", 60, observation{run: "b", rewritten: true}, false},
	} {
		now := seen[members[0].Address]
		now.run, now.rewrites, now.rewriting, now.rewritten, now.stuck = tt.now.run, tt.now.rewrites, tt.now.rewriting, tt.now.rewritten, tt.now.stuck
		seen[members[0].Address] = now
		var want []step
		if tt.told {
			want = []step{{members[0].Address, command{"BGREWRITEAOF"}, "data-1 (198.18.0.101:7101) can write again, and writes a new log"}}
		}
		p := draw(api.RedisSpec{Shards: 2, Replicas: 1}, members, seen, nil)
		if diff := cmp.Diff(want, k.renew(p, start.Add(tt.after*time.Second)), cmp.AllowUnexported(step{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, diff)
		}
	}
}

// TestKeeperAsksOnce: who is asked to take over from a primary that serves is not asked again while it may be at it.
func TestKeeperAsksOnce(t *testing.T) {
	t.Parallel()
	members, seen := three()
	p := draw(api.RedisSpec{Shards: 2, Replicas: 1, NodeTimeoutMS: 2000}, members, seen, nil)
	var k Keeper
	start := time.Unix(0, 0)
	for _, tt := range []struct {
		after time.Duration
		how   command
		due   bool
	}{
		{0, command{"CLUSTER", "FAILOVER"}, true},
		{time.Second, command{"CLUSTER", "FAILOVER"}, false},
		{time.Second, command{"CLUSTER", "FAILOVER", "FORCE"}, true},
		{4 * time.Second, command{"CLUSTER", "FAILOVER"}, true},
	} {
		steps := k.due(p, []step{{members[1].Address, tt.how, ""}}, start.Add(tt.after))
		if due := len(steps) > 0; due != tt.due {
			t.Errorf("%v after %v is due: %v, want %v", tt.how, tt.after, due, tt.due)
		}
	}
}
