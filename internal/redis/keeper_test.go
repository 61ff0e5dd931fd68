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

// TestKeeperRenewsLogs: who could not write its log, and can again, writes a new one, once.
func TestKeeperRenewsLogs(t *testing.T) {
	t.Parallel()
	members, seen := three()
	var k Keeper
	for i, tt := range []struct {
		now  observation
		told bool
	}{
		{observation{run: "a"}, false},
		{observation{run: "a", rewrites: 1, stuck: "No space left on device"}, false},
		{observation{run: "a", rewrites: 2, stuck: "No space left on device"}, false},
		{observation{run: "a", rewrites: 2}, true},
		{observation{run: "a", rewrites: 2}, true}, // it failed
		{observation{run: "a", rewrites: 3, rewriting: true}, false},
		{observation{run: "a", rewrites: 3}, false},
		{observation{run: "a", rewrites: 3, stuck: "No space left on device"}, false},
		{observation{run: "b"}, false}, // it has started anew
		{observation{run: "b"}, false},
	} {
		now := seen[members[0].Address]
		now.run, now.rewrites, now.rewriting, now.stuck = tt.now.run, tt.now.rewrites, tt.now.rewriting, tt.now.stuck
		seen[members[0].Address] = now
		var want []step
		if tt.told {
			want = []step{{members[0].Address, command{"BGREWRITEAOF"}, "data-1 (198.18.0.101:7101) can write again, and writes a new log"}}
		}
		if diff := cmp.Diff(want, k.renew(draw(api.RedisSpec{Shards: 2, Replicas: 1}, members, seen, nil)), cmp.AllowUnexported(step{})); diff != "" {
			t.Errorf("look %d (-want +got):\n%s", i, diff)
		}
	}
}
