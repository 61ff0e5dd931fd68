package redis

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

// TestAgree: what keeps a replica from being elected is told, by who knows it, to who does not, and status says so meanwhile.
func TestAgree(t *testing.T) {
	t.Parallel()
	const one, replica, two = "data-1 (198.18.0.101:7101)", "data-2 (198.18.0.102:7101)", "data-2 (198.18.0.102:7102)"
	meets := func(address, host, port string) step {
		return step{address, command{"CLUSTER", "MEET", host, port}, ""}
	}
	for name, tt := range map[string]struct {
		change   func(one, replica, two *observation)
		steps    []step
		problems []string
	}{
		"nothing new": {change: func(*observation, *observation, *observation) {}},
		"whom a replica follows": {
			func(_, _, two *observation) { two.nodes[1].primaryID = "c" },
			[]step{meets("198.18.0.102:7101", "198.18.0.102", "7102")},
			[]string{two + " has to hear from " + replica + " who follows whom", replica + " is not in sync with " + one + " yet"},
		},
		"who owns slots": {
			func(_, replica, _ *observation) { replica.nodes[2].slots = nil },
			[]step{meets("198.18.0.102:7102", "198.18.0.102", "7101")},
			[]string{replica + " has to hear from " + two + " who owns which slots"},
		},
		"the epoch of a primary": {
			func(_, replica, _ *observation) { replica.nodes[0].epoch = 0 },
			[]step{meets("198.18.0.101:7101", "198.18.0.102", "7101")},
			[]string{replica + " has to hear from " + one + " who owns which slots"},
		},
		"the current epoch": {
			func(one, _, two *observation) { one.epoch, two.epoch = 7, 7 },
			[]step{meets("198.18.0.101:7101", "198.18.0.102", "7101")},
			[]string{replica + " has to hear from " + one + " which epoch it is"},
		},
		"no way to tell": {
			func(_, replica, two *observation) { replica.nodes[2].slots, two.nodes[1].unlinked = nil, true },
			nil,
			[]string{replica + " has to hear from " + two + " who owns which slots"},
		},
		"two took the same epoch": {
			func(one, replica, two *observation) {
				for _, o := range []*observation{one, replica, two} {
					o.nodes[2].epoch = 1
				}
				two.self.epoch = 1
			},
			[]step{meets("198.18.0.101:7101", "198.18.0.102", "7102"), meets("198.18.0.102:7102", "198.18.0.101", "7101")},
			[]string{two + " has to hear from " + one + " which epoch it is"},
		},
		"no connection, so a vote would be lost": {
			func(_, _, two *observation) { two.nodes[1].unlinked = true },
			nil,
			[]string{two + " has no connection to " + replica},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			members, seen := three()
			a, b, c := seen[members[0].Address], seen[members[1].Address], seen[members[2].Address]
			tt.change(&a, &b, &c)
			seen[members[0].Address], seen[members[1].Address], seen[members[2].Address] = a, b, c
			p := draw(api.RedisSpec{Shards: 2, Replicas: 1}, members, seen, nil)
			if diff := cmp.Diff(tt.steps, p.plan(), cmp.AllowUnexported(step{})); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			want := map[string]bool{}
			for _, problem := range tt.problems {
				want[problem] = true
			}
			got := map[string]bool{}
			for _, problem := range p.status().Problems {
				got[problem] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAgreeWaits: members that meet lose their connections for a moment, and so the votes of an election that is going on.
func TestAgreeWaits(t *testing.T) {
	t.Parallel()
	for name, missed := range map[string]func(gone string, seen map[string]observation){
		"by us":       func(gone string, seen map[string]observation) { delete(seen, gone) },
		"by a member": func(_ string, seen map[string]observation) { seen["198.18.0.102:7102"].nodes[0].failing = true },
		"by nobody":   func(string, map[string]observation) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			members, seen := three()
			replica := seen[members[1].Address]
			replica.epoch = 7 // which the others have to hear
			seen[members[1].Address] = replica
			missed(members[0].Address, seen)
			steps := draw(api.RedisSpec{Shards: 2, Replicas: 1}, members, seen, nil).agree()
			if told := len(steps) > 0; told != (name == "by nobody") {
				t.Errorf("the primary is missed %s: %v", name, steps)
			}
		})
	}
}
