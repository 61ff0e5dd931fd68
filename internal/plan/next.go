package plan

import (
	"slices"

	"devctl/internal/api"
	"devctl/units"
)

// Observed is what is known about the assignments that are there.
type Observed struct {
	// Live nodes by name: their heartbeats are fresh.
	Live map[string]bool
	// Units by node, then unit name. A unit that is not here is unknown, which is not the same as down.
	Units map[string]map[string]api.UnitStatus
	// RedisHealthy: every slot is served and every replica of every shard is in sync.
	RedisHealthy bool
	// Holder is the node that holds the endpoint's address, "" when nobody does.
	Holder string
}

// Done tells whether the assignment runs as it is written and is ready.
func (o Observed) Done(a api.Assignment) bool {
	u, known := o.Units[a.Node][a.Unit]
	return o.Live[a.Node] && known && u.Ready() && u.Hash == a.Hash
}

// down tells whether the unit is known not to work, so that changing it takes nothing from anybody.
func (o Observed) down(a api.Assignment) bool {
	u, known := o.Units[a.Node][a.Unit]
	return o.Live[a.Node] && known && !u.Ready()
}

// Next returns those of ops that may be carried out now, given the assignments that are there.
//
// New units start at once. What runs is changed one at a time: a Redis member when the cluster is healthy and
// every member changed before is ready again; the load balancers worker by worker, the endpoint's holder last.
// What is known to be down may be changed at any time, or a broken change could never be repaired. On a node
// that does not answer nothing is changed. A Redis member is taken away only while another of its shard works. Images are
// fetched at once, everywhere, beside what runs; what needs one waits for it.
func Next(ops []Operation, current []api.Assignment, now Observed) []Operation {
	var out, redis, balancer []Operation
	for _, op := range ops {
		switch {
		case units.IsImage(op.Assignment.Unit):
			out = append(out, op)
		case waits(op, ops, current, now):
		case op.Creates():
			out = append(out, op)
		case op.Assignment.Shard > 0:
			redis = append(redis, op)
		default:
			balancer = append(balancer, op)
		}
	}
	isImage := func(op Operation) bool { return units.IsImage(op.Assignment.Unit) }
	starting := slices.ContainsFunc(out, func(op Operation) bool { return op.Assignment.Shard > 0 })
	started := slices.DeleteFunc(slices.Clone(out), func(op Operation) bool { return op.Assignment.Shard > 0 || isImage(op) })
	out = append(out, nextRedis(redis, starting, current, now)...)
	return append(out, nextBalancer(balancer, started, current, now)...)
}

// waits tells whether what the operation puts needs another unit of its node that is not there yet as it should be.
func waits(op Operation, ops []Operation, current []api.Assignment, now Observed) bool {
	needs := ref{op.Assignment.Node, op.Assignment.Needs}
	if op.Kind == Delete || needs.unit == "" {
		return false
	}
	changes := slices.ContainsFunc(ops, func(o Operation) bool { return o.Kind == Put && refOf(o.Assignment) == needs })
	return changes || !slices.ContainsFunc(current, func(a api.Assignment) bool { return refOf(a) == needs && now.Done(a) })
}

// nextRedis picks among changes and deletions of Redis members; starting tells that others are only being created.
func nextRedis(ops []Operation, starting bool, current []api.Assignment, now Observed) []Operation {
	busy := !now.RedisHealthy || starting || slices.ContainsFunc(current, func(a api.Assignment) bool {
		return a.Shard > 0 && !now.Done(a)
	})
	var out []Operation
	gone := map[ref]bool{}
	for _, op := range ops {
		a := op.Assignment
		free := now.down(a)
		if op.Kind == Delete {
			if !shardSurvives(a, current, gone, now) {
				continue
			}
			// Nothing of a node that left the stack can be waited for.
			free = free || !now.Live[a.Node]
		}
		if !free && busy {
			continue
		}
		busy = busy || !free
		gone[refOf(a)] = op.Kind == Delete
		out = append(out, op)
	}
	return out
}

// shardSurvives tells whether another member of a's shard works and stays.
func shardSurvives(a api.Assignment, current []api.Assignment, gone map[ref]bool, now Observed) bool {
	return slices.ContainsFunc(current, func(b api.Assignment) bool {
		return b.Shard == a.Shard && b.Node != a.Node && !gone[refOf(b)] && now.Live[b.Node] && now.Units[b.Node][b.Unit].Ready()
	})
}

// nextBalancer picks among changes and deletions of load balancers; started are those that are only being created.
func nextBalancer(ops, started []Operation, current []api.Assignment, now Observed) []Operation {
	// The other workers must serve while this one does not.
	busy := func(node string) bool {
		return slices.ContainsFunc(started, func(op Operation) bool { return op.Assignment.Node != node }) ||
			slices.ContainsFunc(current, func(a api.Assignment) bool {
				return a.Shard == 0 && !units.IsImage(a.Unit) && a.Node != node && !now.Done(a)
			})
	}
	holds := func(op Operation) bool { return op.Assignment.Node == now.Holder }
	rest := slices.DeleteFunc(slices.Clone(ops), holds)
	holders := slices.DeleteFunc(slices.Clone(ops), func(op Operation) bool { return !holds(op) })
	var out []Operation
	turn := "" // the worker whose running units are changed now
	for _, op := range slices.Concat(rest, holders) {
		a := op.Assignment
		switch {
		case now.down(a), op.Kind == Delete && !now.Live[a.Node]:
		case !now.Live[a.Node], turn != "" && turn != a.Node, busy(a.Node):
			continue
		default:
			turn = a.Node
		}
		out = append(out, op)
	}
	return out
}
