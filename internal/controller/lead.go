package controller

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"golang.org/x/sync/errgroup"

	"devctl/internal/backoff"
	"devctl/internal/discovery"
)

// leaseTTL is how long after its last sign of life a leader may be replaced.
const leaseTTL = 5 * time.Second

// errDeposed is why a leader's write was refused: its election is over.
var errDeposed = errors.New("another controller may be leading by now")

// leader is a controller for as long as it is elected.
type leader struct {
	*controller
	lease clientv3.LeaseID
	// elected holds while this election does. It is the condition of every write.
	elected clientv3.Cmp
	wake    chan struct{}        // holds one value when something changed
	beats   map[string]time.Time // the last heartbeat of every node seen
	lastRun pass
	settled atomic.Bool // of the last pass
	shaped  time.Time   // when a step was last taken to shape the Redis Cluster
}

// campaign takes part in elections until ctx ends.
func (c *controller) campaign(ctx context.Context) error {
	retry := backoff.Backoff{Min: 200 * time.Millisecond, Max: 3 * time.Second}
	for {
		err := c.lead(ctx, retry.Reset)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.log.Warn("not leading, standing for election again", "error", err)
		if err := retry.Wait(ctx); err != nil {
			return err
		}
	}
}

// lead stands for one election, and leads when it is won, until the session is lost or ctx ends.
func (c *controller) lead(ctx context.Context, won func()) error {
	grantCtx, cancel := context.WithTimeout(ctx, etcdTimeout)
	lease, err := c.etcd.Grant(grantCtx, int64(leaseTTL/time.Second))
	cancel()
	if err != nil {
		return fmt.Errorf("grant the election's lease: %w", err)
	}
	session, err := concurrency.NewSession(c.etcd, concurrency.WithLease(lease.ID), concurrency.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("keep the election's lease: %w", err)
	}
	defer func() {
		// Not Close: when ctx has ended it could not give the lease back, and the others would have to wait.
		session.Orphan()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if _, err := c.etcd.Revoke(ctx, lease.ID); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			c.log.Info("the election's lease is left to run out", "error", err)
		}
	}()
	ctx = session.Ctx()
	election := concurrency.NewElection(session, discovery.ElectionKey)
	if err := election.Campaign(ctx, c.self.Name); err != nil {
		return fmt.Errorf("stand for election: %w", err)
	}
	won()
	c.log.Info("elected")
	c.leading.Store(true)
	defer c.leading.Store(false)

	l := &leader{
		controller: c,
		lease:      lease.ID,
		elected:    clientv3.Compare(clientv3.CreateRevision(election.Key()), "=", election.Rev()),
		wake:       make(chan struct{}, 1),
		beats:      map[string]time.Time{},
	}
	if err := l.bootstrapAuth(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.watch(ctx) })
	g.Go(func() error { return l.reconcileLoop(ctx) })
	g.Go(func() error { return l.keepSnapshots(ctx) })
	g.Go(func() error { return l.reapUsers(ctx) })
	g.Go(func() error { return l.reapMembers(ctx) })
	if err := g.Wait(); session.Ctx().Err() == nil {
		return err
	}
	return errors.New("the election's lease is lost")
}

// write carries out ops in one transaction, if this controller still leads.
func (l *leader) write(ctx context.Context, ops ...clientv3.Op) error {
	ctx, cancel := context.WithTimeout(ctx, etcdTimeout)
	defer cancel()
	resp, err := l.etcd.Txn(ctx).If(l.elected).Then(ops...).Commit()
	if err != nil {
		return err
	}
	if !resp.Succeeded {
		return errDeposed
	}
	return nil
}
