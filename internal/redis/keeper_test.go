package redis

import (
	"testing"
	"time"

	"devctl/internal/api"
)

// TestKeeperWaits: who owned slots a moment ago is not told to take over.
func TestKeeperWaits(t *testing.T) {
	t.Parallel()
	const id, address = "one", "198.18.0.101:7101"
	drawn := func(slots ...slotRange) *picture {
		self := node{id: id, address: address, self: true, primary: len(slots) > 0, slots: slots}
		other := node{id: "two", address: "198.18.0.102:7102", primary: true, slots: []slotRange{{5461, 10921}}}
		return draw(api.RedisSpec{Shards: 3, NodeTimeoutMS: 2000}, []Member{{Node: "data-1", Address: address, Shard: 1}},
			map[string]observation{address: {self: self, nodes: []node{self, other}}}, nil)
	}
	order := func(words ...string) []step {
		return []step{{address: address, command: append(command{"CLUSTER"}, words...)}}
	}
	start := time.Unix(0, 0)
	for _, tt := range []struct {
		name  string
		seen  *picture // at the start
		steps []step
		after time.Duration
		due   bool
	}{
		{"it has just handed over", drawn(slotRange{0, 5460}), order("FAILOVER"), 15 * time.Second, false},
		{"it is still there", drawn(slotRange{0, 5460}), order("FAILOVER"), 17 * time.Second, true},
		{"its votes are of before", drawn(slotRange{0, 5460}), order("FAILOVER", "FORCE"), 4 * time.Second, false},
		{"it needs new votes", drawn(slotRange{0, 5460}), order("FAILOVER", "FORCE"), 6 * time.Second, true},
		{"without votes", drawn(slotRange{0, 5460}), order("FAILOVER", "TAKEOVER"), 0, true},
		{"another step", drawn(slotRange{0, 5460}), order("FORGET", "two"), 0, true},
		{"nobody knows what was before", drawn(), order("FAILOVER"), 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var k Keeper
			k.note(tt.seen, start)
			now := start.Add(tt.after)
			k.note(drawn(), now)
			if due := len(k.due(drawn(), tt.steps, now)) > 0; due != tt.due {
				t.Errorf("due is %v, want %v", due, tt.due)
			}
		})
	}
}
