package controller

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"devctl/internal/api"
	"devctl/internal/plan"
	"devctl/internal/redis"
	"devctl/units"
)

// status judges the state: what is live, what is wrong with it, and whether everything desired runs. It knows
// nothing of etcd's members.
func (s state) status(stack string, now time.Time) api.Status {
	st := api.Status{Stack: stack, Deployed: s.deployed, Problems: []string{}, Nodes: []api.NodeStatus{}, Missing: []api.NodeStatus{}, Redis: s.redis.RedisStatus}
	for _, n := range s.nodes {
		st.Nodes = append(st.Nodes, nodeStatus(n, s.units[n.Name]))
	}
	missing := s.missing()
	for _, id := range missing {
		t := s.told.Nodes[id.Name] // of one that never came there is nothing
		st.Missing = append(st.Missing, api.NodeStatus{
			Name: id.Name, ID: t.ID, Role: id.Role, Zone: id.Zone, Address: id.Address,
			State: api.NodeMissing, LastHeartbeat: t.Silent, Units: []api.UnitStatus{},
		})
	}
	slices.SortFunc(st.Nodes, plan.CompareNodes)
	slices.SortFunc(st.Missing, plan.CompareNodes)
	problem := func(some ...string) { st.Problems = append(st.Problems, some...) }
	if s.deployment == nil {
		problem("nothing is deployed yet")
		st.Problems = append(st.Problems, s.unitProblems()...)
		return st
	}
	d := *s.deployment
	st.Endpoint = api.EndpointStatus{
		Address: d.Endpoint.Address, Port: d.Balancer.Port,
		StatsURL: fmt.Sprintf("http://%s/stats", net.JoinHostPort(d.Endpoint.Address, strconv.Itoa(d.Balancer.StatsPort))),
	}
	if holders := s.holders(); len(holders) == 1 {
		st.Endpoint.Holder = holders[0]
	}
	problem(s.nodeProblems(missing, now)...)
	// A machine that is back beats before all of its units are active.
	running := slices.Concat(s.unitProblems(), s.assignmentProblems(), s.diskProblems(), s.redisProblems(), s.balancerProblems(), s.endpointProblems())
	problem(running...)
	ops := plan.Assignments(s.target(), s.assignments)
	if len(ops) > 0 {
		problem(fmt.Sprintf("the deployment is being carried out, changes left: %d", len(ops)))
	}
	st.Healthy = len(st.Problems) == 0
	st.Settled = len(ops) == 0 && len(running) == 0 && !slices.ContainsFunc(s.assignments, func(a api.Assignment) bool { return !s.observed().Done(a) })
	return st
}

func nodeStatus(n api.NodeRecord, observed map[string]api.UnitStatus) api.NodeStatus {
	out := api.NodeStatus{
		Name: n.Name, ID: n.ID, Role: n.Role, Zone: n.Zone, Address: n.Address,
		State: api.NodeReady, LastHeartbeat: n.LastHeartbeat, Units: []api.UnitStatus{}, Config: n.Config,
	}
	for _, u := range observed {
		out.Units = append(out.Units, u)
		if !u.Ready() {
			out.State = api.NodeDegraded
		}
	}
	slices.SortFunc(out.Units, func(a, b api.UnitStatus) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// missing are the nodes that are expected and do not beat, by name.
func (s state) missing() []api.Identity {
	if s.deployment == nil {
		return nil
	}
	missing := slices.DeleteFunc(slices.Clone(s.target().Nodes), func(n api.Identity) bool {
		_, live := s.node(n.Name)
		return live
	})
	slices.SortFunc(missing, func(a, b api.Identity) int { return plan.CompareNames(a.Name, b.Name) })
	return missing
}

// nodeProblems says since when nodes are missing, and when there are too few workers where they come and go.
func (s state) nodeProblems(missing []api.Identity, now time.Time) []string {
	var out []string
	for _, n := range missing {
		t, known := s.told.Nodes[n.Name]
		switch {
		case !known:
			out = append(out, n.Name+" has not joined yet")
		case t.Silent.IsZero(): // it went just now
			out = append(out, n.Name+" does not beat any more")
		default:
			out = append(out, fmt.Sprintf("%s has been silent for %s", n.Name, now.Sub(t.Silent).Round(time.Second)))
		}
	}
	if e := s.deployment.Workers; e != nil {
		live := len(slices.DeleteFunc(slices.Clone(s.nodes), func(n api.NodeRecord) bool { return n.Role != api.RoleWorker }))
		if live < e.Min {
			out = append(out, fmt.Sprintf("%d of at least %d workers are there", live, e.Min))
		}
	}
	return out
}

// unitProblems are the units on live nodes that do not work.
func (s state) unitProblems() []string {
	var out []string
	for _, n := range s.nodes {
		if len(s.units[n.Name]) == 0 {
			out = append(out, fmt.Sprintf("%s has not told yet how its units are", n.Name))
		}
		for _, u := range nodeStatus(n, s.units[n.Name]).Units {
			if !u.Ready() {
				out = append(out, u.On(n.Name)) // what it says itself is in its status
			}
		}
	}
	return out
}

// because appends a message of several lines to a sentence.
func because(message string) string {
	if message = strings.TrimSpace(message); message == "" {
		return ""
	}
	return ": " + strings.Join(strings.Split(message, "\n"), "; ")
}

// assignmentProblems are the assigned units on live nodes that their agent has not (yet) made what they should be.
func (s state) assignmentProblems() []string {
	var out []string
	for _, a := range s.assignments {
		u, known := s.units[a.Node][a.Unit]
		_, live := s.node(a.Node)
		switch {
		case !live: // the node itself is a problem
		case !known:
			out = append(out, fmt.Sprintf("%s on %s has not been started yet", a.Unit, a.Node))
		case u.Ready() && u.Hash != a.Hash:
			out = append(out, fmt.Sprintf("%s on %s still runs as it was before the last change%s", a.Unit, a.Node, because(u.Message)))
		}
	}
	return out
}

// diskProblems are the members of the Redis Cluster that have no room left for their data. They may not say so themselves: a replica
// that cannot take a copy is only out of sync.
func (s state) diskProblems() []string {
	var out []string
	for _, n := range s.nodes {
		for _, r := range n.Redis {
			if r.DiskFull {
				out = append(out, fmt.Sprintf("the disk of %s on %s is full; make room for %s there, and it goes on by itself",
					units.Redis(r.Shard, "").Name, n.Name, redis.DataFolder(r.Shard)))
			}
		}
	}
	return out
}

// redisProblems are what keeps the Redis Cluster from serving every slot with every replica in sync.
func (s state) redisProblems() []string {
	members, unseen := 0, ""
	for _, a := range s.assignments {
		if a.Shard == 0 {
			continue
		}
		members++
		// A machine that was replaced within seconds has lost its members, and nobody may have noticed yet.
		if n, live := s.node(a.Node); live && s.redis.Machines[a.Node] != n.ID {
			unseen = a.Node
		}
	}
	switch r := s.redis; {
	case s.deployment == nil || s.deployment.Redis.Shards == 0:
		return nil
	case len(r.Problems) > 0:
		return r.Problems
	case r.State == "none" && members == 0:
		return []string{"Redis has no members yet"}
	case r.State != "ok":
		return []string{fmt.Sprintf("the Redis Cluster is not whole: state %s, %d of %d slots served", r.State, r.SlotsAssigned, redisSlots)}
	case r.Primaries != s.deployment.Redis.Shards || r.Replicas < members-r.Primaries:
		return []string{fmt.Sprintf("Redis has %d of %d primaries, and %d of %d replicas in sync",
			r.Primaries, s.deployment.Redis.Shards, r.Replicas, members-s.deployment.Redis.Shards)}
	case unseen != "":
		return []string{fmt.Sprintf("the Redis Cluster has not been looked at since %s came", unseen)}
	}
	return nil
}

// redisSlots is the number of hash slots of any Redis Cluster.
const redisSlots = 16384

// balancers are the nodes that are assigned HAProxy.
func (s state) balancers() []string {
	var out []string
	for _, a := range s.assignments {
		if a.Unit == units.HAProxy("").Name {
			out = append(out, a.Node)
		}
	}
	slices.SortFunc(out, plan.CompareNames)
	return out
}

// balancerProblems are the load balancers that do not reach every primary.
func (s state) balancerProblems() []string {
	var out []string
	if len(s.balancers()) == 0 && s.deployment.Balancer.Instances > 0 {
		out = append(out, "no load balancer is assigned to a worker yet")
	}
	for _, name := range s.balancers() {
		n, live := s.node(name)
		if !live {
			continue
		}
		want := s.deployment.Redis.Shards
		switch lb := n.LoadBalancer; {
		case lb == nil:
			out = append(out, fmt.Sprintf("HAProxy on %s does not answer", name))
		case lb.Up < want:
			out = append(out, fmt.Sprintf("HAProxy on %s reaches %d of %d primaries", name, lb.Up, want))
		}
	}
	return out
}

// endpointProblems says when not exactly one node holds the endpoint.
func (s state) endpointProblems() []string {
	if s.deployment.Endpoint.Address == "" || s.deployment.Balancer.Instances == 0 {
		return nil
	}
	switch holders := s.holders(); len(holders) {
	case 0:
		return []string{fmt.Sprintf("nobody holds the endpoint's address %s", s.deployment.Endpoint.Address)}
	case 1:
		return nil
	default:
		return []string{fmt.Sprintf("%s hold the endpoint's address %s at the same time", strings.Join(holders, " and "), s.deployment.Endpoint.Address)}
	}
}

// addEtcd completes a status with what etcd's members say.
func (c *controller) addEtcd(ctx context.Context, st *api.Status) error {
	members, err := c.members(ctx)
	if err != nil {
		return err
	}
	st.Etcd.Members = len(members)
	for _, m := range members {
		switch {
		case m.healthy:
			st.Etcd.Healthy++
		case m.learner:
			st.Problems = append(st.Problems, fmt.Sprintf("etcd member %s is still learning", m.name))
		default:
			st.Problems = append(st.Problems, fmt.Sprintf("etcd member %s does not serve", m.name))
		}
		if m.leader {
			st.Etcd.Leader = m.name
		}
	}
	if missing := len(c.mains) - len(members); missing > 0 {
		st.Problems = append(st.Problems, fmt.Sprintf("etcd has %d members, and %d main nodes are expected", len(members), len(c.mains)))
	}
	st.Healthy = len(st.Problems) == 0
	return nil
}
