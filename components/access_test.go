package components

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

// TestRules is the firewall as people would write it down.
func TestRules(t *testing.T) {
	t.Parallel()
	access := Access{
		AdminCIDRs: []string{"192.0.2.0/24"}, ClientCIDRs: []string{"203.0.113.0/24", "198.51.100.7/32", "203.0.113.0/24"},
		EndpointPort: 7010, StatsPort: 7020, Shards: 3,
	}
	want := `main: 2379-2379/tcp from main
main: 2379-2379/tcp from worker
main: 2379-2379/tcp from data
main: 2380-2380/tcp from main
main: 9443-9443/tcp from worker
main: 9443-9443/tcp from data
main: 9443-9443/tcp from [192.0.2.0/24]
data: 7101-7103/tcp from main
data: 7101-7103/tcp from worker
data: 7101-7103/tcp from data
data: 17101-17103/tcp from data
worker: 0-0/vrrp from worker
worker: 7010-7010/tcp from [198.51.100.7/32 203.0.113.0/24]
worker: 7020-7020/tcp from [192.0.2.0/24]
main: 22-22/tcp from [192.0.2.0/24]
worker: 22-22/tcp from [192.0.2.0/24]
worker: 22-22/tcp from main
data: 22-22/tcp from [192.0.2.0/24]
data: 22-22/tcp from main
`
	var got strings.Builder
	names := map[string]bool{}
	for _, r := range access.Rules() {
		from := string(r.From)
		if from == "" {
			from = fmt.Sprint(r.CIDRs)
		}
		fmt.Fprintf(&got, "%s: %d-%d/%s from %s\n", r.Role, r.First, r.Last, r.Protocol, from)
		if name := string(r.Role) + " " + r.Name; names[name] {
			t.Errorf("two rules of %s", name)
		} else {
			names[name] = true
		}
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

// TestNobodyOutsideUnlessAsked: what the spec leaves out is closed.
func TestNobodyOutsideUnlessAsked(t *testing.T) {
	t.Parallel()
	for _, r := range (Access{EndpointPort: 7010, StatsPort: 7020, Shards: 3}).Rules() {
		if r.From == "" || len(r.CIDRs) > 0 {
			t.Errorf("%s of %s lets somebody in from outside: %v", r.Name, r.Role, r.CIDRs)
		}
		if r.Role == api.RoleWorker && r.First == 7010 {
			t.Errorf("the endpoint is open to %s", r.From)
		}
	}
}
