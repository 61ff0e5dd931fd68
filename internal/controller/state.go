package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/plan"
)

// etcdTimeout bounds one read or write of etcd.
const etcdTimeout = 3 * time.Second

// state is everything the controller knows, read at one revision.
type state struct {
	deployment  *api.Deployment // nil before the first
	deployed    string          // revision of the deployment
	nodes       []api.NodeRecord
	assignments []api.Assignment
	units       map[string]map[string]api.UnitStatus // by node, then unit
	redis       sighting
	told        told
}

// sighting is how the Redis Cluster was when the leader last looked.
type sighting struct {
	api.RedisStatus
	// Machines are the IDs of the machines that were live when the look began, by node. A machine that came later,
	// even in the place of another, is not in it.
	Machines map[string]string `json:"machines,omitempty"`
}

// read asks etcd for the whole state, with the consent of a quorum. An error means that nothing is known, and so
// that nothing may be changed.
func (c *controller) read(ctx context.Context) (state, error) {
	ctx, cancel := context.WithTimeout(ctx, etcdTimeout)
	defer cancel()
	resp, err := c.etcd.Txn(ctx).Then(
		clientv3.OpGet(discovery.DeploymentKey),
		clientv3.OpGet(discovery.NodesPrefix, clientv3.WithPrefix()),
		clientv3.OpGet(discovery.AssignmentsPrefix, clientv3.WithPrefix()),
		clientv3.OpGet(discovery.ObservedPrefix, clientv3.WithPrefix()),
		clientv3.OpGet(discovery.RedisKey),
		clientv3.OpGet(discovery.ToldKey),
	).Commit()
	if err != nil {
		return state{}, fmt.Errorf("read the cluster's state: %w", err)
	}
	kvs := func(i int) []*mvccpb.KeyValue { return resp.Responses[i].GetResponseRange().Kvs }

	s := state{redis: sighting{RedisStatus: api.RedisStatus{State: "none"}}}
	if err := decodeOne(kvs(0), &s.deployment); err != nil {
		return state{}, err
	}
	if s.deployment != nil {
		s.deployed = revisionOf(*s.deployment)
	}
	records, leases := map[string][]byte{}, map[string]int64{}
	for _, kv := range kvs(1) {
		name := string(kv.Key[len(discovery.NodesPrefix):])
		records[name], leases[name] = kv.Value, kv.Lease
	}
	s.nodes = discovery.ParseNodes(records)
	for _, kv := range kvs(2) {
		var a api.Assignment
		if err := json.Unmarshal(kv.Value, &a); err != nil {
			return state{}, fmt.Errorf("decode %s: %w", kv.Key, err)
		}
		if discovery.AssignmentKey(a.Node, a.Unit) != string(kv.Key) {
			return state{}, fmt.Errorf("%s is about %s on %s", kv.Key, a.Unit, a.Node)
		}
		s.assignments = append(s.assignments, a)
	}
	s.units = observedUnits(s.nodes, leases, kvs(3))
	if err := decodeOne(kvs(4), &s.redis); err != nil {
		return state{}, err
	}
	return s, decodeOne(kvs(5), &s.told)
}

func decodeOne(kvs []*mvccpb.KeyValue, into any) error {
	if len(kvs) == 0 {
		return nil
	}
	if err := json.Unmarshal(kvs[0].Value, into); err != nil {
		return fmt.Errorf("decode %s: %w", kvs[0].Key, err)
	}
	return nil
}

// observedUnits puts together what heartbeats say about all units of live nodes and what the agents report,
// sooner, about the assigned ones. A report that does not parse counts for nothing, nor does one with another lease
// than its node's record: that is of the machine that the node was before.
func observedUnits(nodes []api.NodeRecord, leases map[string]int64, reports []*mvccpb.KeyValue) map[string]map[string]api.UnitStatus {
	out := map[string]map[string]api.UnitStatus{}
	for _, n := range nodes {
		out[n.Name] = map[string]api.UnitStatus{}
		for _, u := range n.Units {
			out[n.Name][u.Name] = u
		}
	}
	for _, kv := range reports {
		node, unit, ok := strings.Cut(string(kv.Key[len(discovery.ObservedPrefix):]), "/")
		var u api.UnitStatus
		if ok && out[node] != nil && kv.Lease == leases[node] && json.Unmarshal(kv.Value, &u) == nil && u.Name == unit {
			out[node][unit] = u
		}
	}
	return out
}

// node returns the record of a live node.
func (s state) node(name string) (api.NodeRecord, bool) {
	for _, n := range s.nodes {
		if n.Name == name {
			return n, true
		}
	}
	return api.NodeRecord{}, false
}

// missedBeat is how much older than another's a node's record is when it has missed a beat: they come every 3 s.
const missedBeat = 4 * time.Second

// target is what should run, with every node that is expected: the deployment names no elastic workers.
func (s state) target() api.Deployment {
	live, silent := s.around()
	return plan.Expected(*s.deployment, live, silent, s.assignments)
}

// around are the nodes that live, and the elastic workers that did and are still waited for.
func (s state) around() (live, silent []api.Identity) {
	for _, n := range s.nodes {
		live = append(live, n.Identity)
	}
	for _, name := range slices.Sorted(maps.Keys(s.told.Nodes)) {
		if elastic := s.told.Nodes[name].Elastic; elastic != nil {
			silent = append(silent, *elastic)
		}
	}
	return live, silent
}

// expects tells whether the node is part of the stack. Before a deployment says so any may be.
func (s state) expects(name string) bool {
	return s.deployment == nil || slices.ContainsFunc(s.target().Nodes, func(id api.Identity) bool { return id.Name == name })
}

// holders are the live nodes that hold the endpoint's address. A node that was killed lives on in its record until the
// lease ends; when another one has taken the address since, and beats on, the last word of the dead one counts no more.
func (s state) holders() []string {
	var claims []api.NodeRecord
	var latest time.Time
	for _, n := range s.nodes {
		if n.HoldsEndpoint {
			claims = append(claims, n)
			if n.LastHeartbeat.After(latest) {
				latest = n.LastHeartbeat
			}
		}
	}
	var out []string
	for _, n := range claims {
		if latest.Sub(n.LastHeartbeat) < missedBeat {
			out = append(out, n.Name)
		}
	}
	return out
}

// observed is the state as the planner needs it.
func (s state) observed() plan.Observed {
	o := plan.Observed{Live: map[string]bool{}, Units: s.units, RedisHealthy: len(s.redisProblems()) == 0}
	for _, n := range s.nodes {
		o.Live[n.Name] = true
	}
	if holders := s.holders(); len(holders) == 1 {
		o.Holder = holders[0]
	}
	return o
}
