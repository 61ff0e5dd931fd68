package controller

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/plan"
	"devctl/internal/redis"
)

const (
	debounce     = 100 * time.Millisecond // changes come in bursts
	settledPause = 5 * time.Second        // between two passes when there is nothing to do
	unsettled    = time.Second            // between two passes otherwise
	busy         = 150 * time.Millisecond // between two passes while the Redis Cluster takes shape: its members tell one another, not us
	busyFor      = 5 * time.Second        // after the last step that was taken there
	redisTimeout = 8 * time.Second        // for one step of the Redis Cluster
	batch        = 32                     // assignments in one transaction
)

// pass is what one reconciliation came to.
type pass struct {
	settled bool
	err     string // of the last pass, so that a lasting failure is logged once
}

// reconcileLoop reconciles after every change, and from time to time anyway, until ctx ends or another controller
// leads.
func (l *leader) reconcileLoop(ctx context.Context) error {
	for {
		settled, err := l.reconcile(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errDeposed):
			return err
		case err != nil && err.Error() != l.lastRun.err:
			l.log.Warn("reconciling failed, trying on", "error", err)
		case err == nil && l.lastRun.err != "":
			l.log.Info("reconciling works again")
		}
		l.lastRun = pass{settled: settled}
		l.settled.Store(settled && err == nil)
		if err != nil {
			l.lastRun.err = err.Error()
		}
		pause := unsettled
		switch {
		case settled:
			pause = settledPause
		case time.Since(l.shaped) < busyFor:
			pause = busy
		}
		if err := l.rest(ctx, pause); err != nil {
			return err
		}
	}
}

// rest waits until the pause is over or something changed, and then for the burst of changes to end.
func (l *leader) rest(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	case <-l.wake:
	}
	timer.Reset(debounce)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			return nil
		case <-l.wake: // the burst goes on, and the timer with it
		}
	}
}

// reconcile makes one pass. A step that fails does not keep the others from being done; their errors are joined.
func (l *leader) reconcile(ctx context.Context) (settled bool, err error) {
	s, err := l.read(ctx)
	if err != nil {
		return false, err
	}
	var errs []error
	var news []api.Event
	if s.deployment != nil {
		if s.deployed != s.told.Deployed {
			news = append(news, deploymentEvent(s.deployed))
		}
		// Redis first: whether the next member may be changed depends on how the cluster is now, after the last
		// change was seen to be done, not on how it was a pass ago.
		told, err := l.keepRedis(ctx, &s)
		if len(told) > 0 {
			l.shaped = time.Now()
		}
		news, errs = append(news, told...), append(errs, err)
		told, err = l.assign(ctx, &s)
		news, errs = append(news, told...), append(errs, err)
	}
	st := s.status(l.self.Stack, time.Now())
	if err := l.tell(ctx, s, st, news); err != nil {
		errs = append(errs, err)
	}
	return st.Settled, errors.Join(errs...)
}

// assign carries out the operations that are due, and brings s up to date.
func (l *leader) assign(ctx context.Context, s *state) ([]api.Event, error) {
	due := plan.Next(plan.Assignments(s.target(), s.assignments), s.assignments, s.observed())
	var news []api.Event
	for some := range slices.Chunk(due, batch) {
		var writes []clientv3.Op
		for _, op := range some {
			a := op.Assignment
			key := discovery.AssignmentKey(a.Node, a.Unit)
			if op.Kind == plan.Delete {
				writes = append(writes, clientv3.OpDelete(key))
				continue
			}
			text, err := json.Marshal(a)
			if err != nil {
				return news, fmt.Errorf("encode assignment of %s to %s: %w", a.Unit, a.Node, err)
			}
			writes = append(writes, clientv3.OpPut(key, string(text)))
		}
		if err := l.write(ctx, writes...); err != nil {
			return news, fmt.Errorf("write assignments: %w", err)
		}
		for _, op := range some {
			s.apply(op)
			news = append(news, operationEvent(op))
			l.log.Info("assignment changed", "kind", op.Kind, "node", op.Assignment.Node, "unit", op.Assignment.Unit, "reason", op.Reason)
		}
	}
	return news, nil
}

// apply does to the state what was written.
func (s *state) apply(op plan.Operation) {
	s.assignments = slices.DeleteFunc(s.assignments, func(a api.Assignment) bool {
		return a.Node == op.Assignment.Node && a.Unit == op.Assignment.Unit
	})
	if op.Kind == plan.Put {
		s.assignments = append(s.assignments, op.Assignment)
	}
}

// keepRedis takes the Redis Cluster a step further, brings s up to date with what it is now, and stores that for all
// controllers to tell.
func (l *leader) keepRedis(ctx context.Context, s *state) ([]api.Event, error) {
	members := s.redisMembers()
	if len(members) == 0 {
		s.redis = sighting{RedisStatus: api.RedisStatus{State: "none"}}
		return nil, nil
	}
	s.redis = sighting{
		RedisStatus: api.RedisStatus{State: "fail", Problems: []string{"the Redis Cluster could not be asked how it is"}},
		Machines:    map[string]string{},
	}
	for _, n := range s.nodes {
		s.redis.Machines[n.Name] = n.ID
	}
	password, _, found, err := discovery.GetRaw(ctx, l.etcd, discovery.SecretKey(api.SecretRedisAdmin))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("keep the Redis Cluster: the deployment has no secret %q", api.SecretRedisAdmin)
	}
	workCtx, cancel := context.WithTimeout(ctx, redisTimeout)
	defer cancel()
	credentials := redis.Credentials{User: api.RedisUserAdmin, Password: string(password)}
	status, done, err := l.redis(workCtx, s.deployment.Redis, members, credentials)
	var news []api.Event
	for _, what := range done {
		news = append(news, api.Event{Level: levelInfo, Message: "Redis: " + what})
	}
	if err != nil {
		err = fmt.Errorf("keep the Redis Cluster: %w", err)
	}
	if status.State == "" { // it could not even look
		return news, err
	}
	s.redis.RedisStatus = status
	text, encodeErr := json.Marshal(s.redis)
	if encodeErr != nil {
		return news, errors.Join(err, fmt.Errorf("encode the Redis status: %w", encodeErr))
	}
	// Leased: with no leader nobody looks, and an old answer would pass for a new one.
	if writeErr := l.write(ctx, clientv3.OpPut(discovery.RedisKey, string(text), clientv3.WithLease(l.lease))); writeErr != nil {
		err = errors.Join(err, fmt.Errorf("store the Redis status: %w", writeErr))
	}
	return news, err
}

// redisMembers are the assigned Redis members on nodes that are part of the stack, or live while what they have moves to others.
func (s state) redisMembers() []redis.Member {
	nodes := map[string]api.Identity{}
	for _, n := range s.nodes {
		nodes[n.Name] = n.Identity
	}
	for _, n := range s.deployment.Nodes {
		nodes[n.Name] = n
	}
	var out []redis.Member
	for _, a := range s.assignments {
		n, known := nodes[a.Node]
		if a.Shard == 0 || !known {
			continue
		}
		out = append(out, redis.Member{
			Node: n.Name, Zone: n.Zone, Shard: a.Shard,
			Address: net.JoinHostPort(n.Address, strconv.Itoa(api.RedisPort(a.Shard))),
			Ready:   s.units[a.Node][a.Unit].Ready(),
		})
	}
	slices.SortFunc(out, func(a, b redis.Member) int {
		return cmp.Or(cmp.Compare(a.Shard, b.Shard), plan.CompareNames(a.Node, b.Node))
	})
	return out
}

// watch wakes the loop when something changes that may call for action. It is only a trigger: the loop reads
// everything anew, and also runs without it, so what a broken watch misses is found a little later.
func (l *leader) watch(ctx context.Context) error {
	var g errgroup.Group
	for _, prefix := range []string{discovery.DeploymentKey, discovery.NodesPrefix, discovery.AssignmentsPrefix, discovery.ObservedPrefix} {
		g.Go(func() error { return l.watchPrefix(ctx, prefix) })
	}
	return g.Wait()
}

func (l *leader) watchPrefix(ctx context.Context, prefix string) error {
	beats := map[string]string{} // what a node's heartbeats say that matters
	for {
		for resp := range l.etcd.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify()) {
			if resp.Created || slices.ContainsFunc(resp.Events, func(e *clientv3.Event) bool { return matters(beats, e) }) {
				select {
				case l.wake <- struct{}{}:
				default:
				}
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(unsettled):
		}
	}
}

// matters tells whether an event is more than another beat of a node that is as it was before.
func matters(beats map[string]string, e *clientv3.Event) bool {
	key := string(e.Kv.Key)
	if e.Type == mvccpb.DELETE {
		delete(beats, key)
		return true
	}
	var r api.NodeRecord
	if json.Unmarshal(e.Kv.Value, &r) != nil || r.Name == "" || key != discovery.NodeKey(r.Name) {
		return true
	}
	r.LastHeartbeat, r.FreeMemory = time.Time{}, 0
	for i := range r.Redis {
		r.Redis[i].Offset = 0
	}
	text, err := json.Marshal(r)
	if err != nil || beats[key] == string(text) {
		return err != nil
	}
	beats[key] = string(text)
	return true
}
