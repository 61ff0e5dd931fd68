package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

func elasticWorker(name, address string) api.Identity {
	return api.Identity{Stack: "aws", Name: name, Role: api.RoleWorker, Zone: "a", Address: address}
}

func TestIsElastic(t *testing.T) {
	t.Parallel()
	d := api.Deployment{Workers: &api.ElasticWorkers{Network: "10.10.0.0/16", Min: 2}}
	for _, tc := range []struct {
		id   api.Identity
		want bool
	}{
		{elasticWorker("worker-9abcdef0", "10.10.3.4"), true},
		{elasticWorker("worker-12345678", "10.10.3.4"), true},
		{elasticWorker("worker-1", "10.10.3.4"), false},
		{elasticWorker("worker-9abcdef01", "10.10.3.4"), false},
		{elasticWorker("worker-9ABCDEF0", "10.10.3.4"), false},
		{elasticWorker("worker-9abcdef0/x", "10.10.3.4"), false},
		{elasticWorker("worker-9abcdef0", "10.11.3.4"), false},
		{elasticWorker("worker-9abcdef0", ""), false},
		{api.Identity{Name: "worker-9abcdef0", Role: api.RoleData, Address: "10.10.3.4"}, false},
	} {
		if got := IsElastic(d, tc.id); got != tc.want {
			t.Errorf("%+v: %v, want %v", tc.id, got, tc.want)
		}
		if IsElastic(api.Deployment{}, tc.id) {
			t.Errorf("%+v is elastic where workers are not", tc.id)
		}
	}
}

// TestElasticBalancers follows the load balancers while workers come and go.
func TestElasticBalancers(t *testing.T) {
	t.Parallel()
	a, b, c, e := elasticWorker("worker-aaaaaaaa", "10.10.0.21"), elasticWorker("worker-bbbbbbbb", "10.10.0.22"),
		elasticWorker("worker-cccccccc", "10.10.0.23"), elasticWorker("worker-eeeeeeee", "10.10.0.24")
	stranger := elasticWorker("worker-dddddddd", "192.0.2.1")
	d := api.Deployment{
		Stack: "aws", Balancer: api.BalancerSpec{Instances: 2, Port: 7010, StatsPort: 7020},
		Workers: &api.ElasticWorkers{Network: "10.10.0.0/16", Min: 2},
	}
	for _, tc := range []struct {
		name         string
		live, silent []api.Identity
		holders      string // of load balancers so far
		want         string // afterwards
		ops          int    // that lead there
	}{
		{"nobody yet", nil, nil, "", "", 0},
		{"the first", []api.Identity{c}, nil, "", "c", 1},
		{"first by name", []api.Identity{c, a, b}, nil, "", "a b", 2},
		{"not another's network", []api.Identity{stranger, e}, nil, "", "e", 1},
		{"who has one keeps it", []api.Identity{a, b, c, e}, nil, "c e", "c e", 0},
		{"a holder is silent, another worker can", []api.Identity{a, e}, []api.Identity{c}, "c e", "a e", 2},
		{"a holder is silent, and nobody else is there", []api.Identity{e}, []api.Identity{c}, "c e", "c e", 0},
		{"silent ones that hold nothing do not count", []api.Identity{e}, []api.Identity{b, c}, "c e", "c e", 0},
		{"all are silent", nil, []api.Identity{b, c, e}, "c e", "c e", 0},
		{"one of two silent holders can be replaced", []api.Identity{a}, []api.Identity{c, e}, "c e", "a c", 2},
		{"back again", []api.Identity{a, c, e}, nil, "a e", "a e", 0},
		{"live and silent at once is live", []api.Identity{c, e}, []api.Identity{c}, "c e", "c e", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			held := strings.Fields(tc.holders)
			var current []api.Assignment
			all := map[string]api.Identity{"a": a, "b": b, "c": c, "e": e}
			before := d
			for _, h := range held {
				before.Nodes = append(before.Nodes, all[h])
			}
			for _, op := range Assignments(before, nil) {
				current = append(current, op.Assignment)
			}
			expected := Expected(d, tc.live, tc.silent, current)
			ops := Assignments(expected, current)
			if len(ops) != tc.ops {
				t.Errorf("%d operations, want %d: %v", len(ops), tc.ops, ops)
			}
			after := map[string]bool{}
			for _, a := range current {
				after[a.Node] = true
			}
			for _, op := range ops {
				after[op.Assignment.Node] = op.Kind == Put
			}
			want := map[string]bool{}
			for _, w := range strings.Fields(tc.want) {
				want[all[w].Name] = true
			}
			for name, has := range after {
				if !has {
					delete(after, name)
				}
			}
			if diff := cmp.Diff(want, after); diff != "" {
				t.Errorf("load balancers (-want +got):\n%s", diff)
			}
			if again := Assignments(Expected(d, tc.live, tc.silent, current), current); cmp.Diff(ops, again) != "" {
				t.Error("the same state gives other operations")
			}
		})
	}
}

// TestExpectedLeavesFixedWorkersAlone: where the deployment names its workers, who lives is no matter.
func TestExpectedLeavesFixedWorkersAlone(t *testing.T) {
	t.Parallel()
	d := api.Deployment{Nodes: []api.Identity{{Name: "worker-1", Role: api.RoleWorker}}}
	if diff := cmp.Diff(d, Expected(d, []api.Identity{elasticWorker("worker-aaaaaaaa", "10.10.0.21")}, nil, nil)); diff != "" {
		t.Error(diff)
	}
}

// TestWhatMovesTheEndpoint: keepalived alone, keepalived and who asks the cloud, or that one alone.
func TestWhatMovesTheEndpoint(t *testing.T) {
	t.Parallel()
	for platform, want := range map[api.Platform][]string{
		"":                       {"haproxy.service ", "keepalived.service 198.18.0.10"},
		api.PlatformAWS:          {"haproxy.service ", "devctl-endpoint.service 198.18.0.10", "keepalived.service "},
		api.PlatformDigitalOcean: {"haproxy.service ", "devctl-endpoint.service 198.18.0.10"},
	} {
		d := deployment(1, 0, 0, 0)
		d.Endpoint.Platform = platform
		var got []string
		for _, op := range Assignments(d, nil) {
			a := op.Assignment
			got = append(got, a.Unit+" "+a.Endpoint)
			for _, f := range a.Files {
				if !strings.HasPrefix(f.Path, api.ServicesDir+"/"+a.Unit+"/") {
					t.Errorf("%s has a file %s", a.Unit, f.Path)
				}
			}
			if !strings.Contains(a.Text, "Description=") {
				t.Errorf("%s has no text", a.Unit)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", platform, diff)
		}
	}
}

func TestSurplus(t *testing.T) {
	t.Parallel()
	record := func(id, zone string) api.NodeRecord {
		return api.NodeRecord{ID: id, Identity: api.Identity{Name: "worker-" + id, Role: api.RoleWorker, Zone: zone}}
	}
	live := []api.NodeRecord{record("1", "a"), record("2", "a"), record("3", "b"), record("4", "b"), record("5", "b"), {ID: "9", Identity: api.Identity{Name: "main-1"}}}
	balancers := []api.Assignment{
		{Node: "worker-1", Unit: "haproxy.service"}, {Node: "worker-3", Unit: "haproxy.service"}, {Node: "worker-2", Unit: "other.service"},
	}
	all := []string{"1", "2", "3", "4", "5", "new"}
	for _, tc := range []struct {
		machines []string
		n        int
		want     string
	}{
		{all, 0, ""},
		{all, 1, "new"},
		{all, 2, "new 4"},       // the zone with most of them, and nothing on it
		{all, 4, "new 4 2 5"},   // now both zones have as many
		{all, 5, "new 4 2 5 1"}, // load balancers last
		{all, 9, "new 4 2 5 1 3"},
		{[]string{"1", "3"}, 1, "1"},
		{nil, 1, ""},
	} {
		if got := strings.Join(Surplus(tc.machines, live, balancers, tc.n), " "); got != tc.want {
			t.Errorf("%d of %v: %q, want %q", tc.n, tc.machines, got, tc.want)
		}
	}
}
