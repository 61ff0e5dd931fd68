package controller

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
	"devctl/internal/plan"
)

func elasticDeployment() api.Deployment {
	d := testDeployment(2, 3)
	d.Nodes = slices.DeleteFunc(d.Nodes, func(id api.Identity) bool { return id.Role == api.RoleWorker })
	d.Workers = &api.ElasticWorkers{Network: "127.0.0.0/24", Min: 2}
	return d
}

// TestElasticJoin checks who may be an elastic worker. Other nodes join as ever.
func TestElasticJoin(t *testing.T) {
	t.Parallel()
	d := elasticDeployment()
	worker := func(name, address string) api.Identity {
		return api.Identity{Stack: testStack, Name: name, Role: api.RoleWorker, Zone: "a", Address: address}
	}
	live := worker("worker-0aaaaaaa", "127.0.0.31")
	for _, tc := range []struct {
		name       string
		deployment *api.Deployment
		id         api.Identity
		status     int
		want       string
	}{
		{"new", &d, worker("worker-0bbbbbbb", "127.0.0.32"), 0, ""},
		{"again", &d, live, 0, ""},
		{"outside", &d, worker("worker-0bbbbbbb", "127.0.1.32"), http.StatusForbidden, "worker-0bbbbbbb at 127.0.1.32 is no elastic worker of the stack: those are in 127.0.0.0/24, and called after the end of their machine's ID"},
		{"numbered", &d, worker("worker-1", "127.0.0.32"), http.StatusForbidden, "worker-1 at 127.0.0.32 is no elastic worker of the stack: those are in 127.0.0.0/24, and called after the end of their machine's ID"},
		{"at another's address", &d, worker("worker-0bbbbbbb", "127.0.0.31"), http.StatusConflict, "worker-0aaaaaaa is alive at 127.0.0.31; worker-0bbbbbbb cannot be there too"},
		{"under another's name", &d, worker("worker-0aaaaaaa", "127.0.0.33"), http.StatusConflict, "worker-0aaaaaaa is alive at 127.0.0.31; it cannot be at 127.0.0.33 too"},
		{"at a data node's address", &d, worker("worker-0bbbbbbb", "127.0.0.101"), http.StatusConflict, "the deployment has data-1 at 127.0.0.101, not worker-0bbbbbbb"},
		{"data node", &d, testNode(api.RoleData, 1, 100), 0, ""},
		{"before anything is deployed", nil, worker("worker-0bbbbbbb", "127.0.0.32"), http.StatusForbidden, `"worker-0bbbbbbb" is no name of a node of role "worker": want worker-1, worker-2 …`},
	} {
		s := state{deployment: tc.deployment, nodes: []api.NodeRecord{{Identity: live}}}
		err := s.checkPlace(tc.id)
		refusal, _ := err.(*api.Error)
		if tc.want == "" && err != nil || tc.want != "" && (refusal == nil || refusal.Message != tc.want || refusal.Status != tc.status) {
			t.Errorf("%s: %v, want %d %s", tc.name, err, tc.status, tc.want)
		}
	}
}

// TestElasticWorkersComeAndGo tells the story of two load balancers' workers.
func TestElasticWorkersComeAndGo(t *testing.T) {
	t.Parallel()
	d := elasticDeployment()
	s := wholeState()
	s.lose("worker-1")
	s.lose("worker-2")
	s.deployment, s.deployed = &d, revisionOf(d)
	s.told.Nodes = map[string]toldNode{}
	s.assignments = slices.DeleteFunc(s.assignments, func(a api.Assignment) bool { return strings.HasPrefix(a.Node, "worker-") })
	come := func(name, address string) {
		s.nodes = append(s.nodes, api.NodeRecord{ID: "i-" + name, Identity: api.Identity{Stack: testStack, Name: name, Role: api.RoleWorker, Zone: "a", Address: address}})
	}
	balancers := func() (out []string) {
		for _, op := range plan.Assignments(s.target(), s.assignments) {
			s.apply(op)
		}
		for _, a := range s.assignments {
			if a.Unit == "haproxy.service" {
				out = append(out, a.Node)
			}
		}
		slices.Sort(out)
		return out
	}
	var heard []string
	tell := func() {
		events, after := narrate(s, s.status(testStack, noon), nil, noon)
		s.told = after
		heard = nil
		for _, e := range events {
			if strings.HasPrefix(e.Node, "worker-") && e.Unit == "" {
				heard = append(heard, e.Message)
			}
		}
	}
	check := func(step string, balance []string, missing []string, told ...string) {
		t.Helper()
		if diff := cmp.Diff(balance, balancers()); diff != "" {
			t.Errorf("%s: load balancers (-want +got):\n%s", step, diff)
		}
		tell()
		if diff := cmp.Diff(missing, slices.DeleteFunc(s.nodeProblems(s.missing(), noon), func(m string) bool { return !strings.Contains(m, "worker") })); diff != "" {
			t.Errorf("%s: missing (-want +got):\n%s", step, diff)
		}
		if diff := cmp.Diff(told, heard); diff != "" {
			t.Errorf("%s: told (-want +got):\n%s", step, diff)
		}
	}
	check("nobody yet", nil, []string{"0 of at least 2 workers are there"})
	come("worker-0bbbbbbb", "127.0.0.32")
	come("worker-0ccccccc", "127.0.0.33")
	check("two come", []string{"worker-0bbbbbbb", "worker-0ccccccc"}, nil,
		"worker-0bbbbbbb joined (worker, zone a, 127.0.0.32)", "worker-0ccccccc joined (worker, zone a, 127.0.0.33)")
	s.lose("worker-0bbbbbbb")
	check("one is silent, and there is no other", []string{"worker-0bbbbbbb", "worker-0ccccccc"},
		[]string{"worker-0bbbbbbb has been silent for 0s", "1 of at least 2 workers are there"},
		"worker-0bbbbbbb stopped beating (last heartbeat 12:00:00 UTC)")
	check("it stays silent", []string{"worker-0bbbbbbb", "worker-0ccccccc"},
		[]string{"worker-0bbbbbbb has been silent for 0s", "1 of at least 2 workers are there"})
	come("worker-0aaaaaaa", "127.0.0.32") // the group has made another, and the cloud given it the same address
	if err := s.checkPlace(s.nodes[len(s.nodes)-1].Identity); err != nil {
		t.Errorf("the new worker may not join: %v", err)
	}
	check("another takes over", []string{"worker-0aaaaaaa", "worker-0ccccccc"}, nil, "worker-0aaaaaaa joined (worker, zone a, 127.0.0.32)")
	come("worker-0bbbbbbb", "127.0.0.35")
	check("the first is back, and not needed", []string{"worker-0aaaaaaa", "worker-0ccccccc"}, nil, "worker-0bbbbbbb joined (worker, zone a, 127.0.0.35)")
	s.lose("worker-0bbbbbbb")
	check("it leaves for good", []string{"worker-0aaaaaaa", "worker-0ccccccc"}, nil, "worker-0bbbbbbb left the stack")
	if _, known := s.told.Nodes["worker-0bbbbbbb"]; known {
		t.Error("a worker that left is remembered for ever")
	}
}

func TestElasticDeploymentIsChecked(t *testing.T) {
	t.Parallel()
	c := &controller{self: api.Identity{Stack: testStack}}
	for want, change := range map[string]func(*api.Deployment){
		"": func(*api.Deployment) {},
		`the deployment has elastic workers, and names "worker-1"`: func(d *api.Deployment) { d.Nodes = append(d.Nodes, testNode(api.RoleWorker, 1, 20)) },
		`the network of elastic workers "here" is none`:            func(d *api.Deployment) { d.Workers.Network = "here" },
	} {
		d := elasticDeployment()
		change(&d)
		err := c.checkDeployment(api.DeployRequest{Deployment: d})
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("error = %v, want %s", err, want)
		}
	}
}
