package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/backoff"
)

// TTL is how long a node may be silent before etcd forgets it.
const TTL = 10 * time.Second

// Presence keeps keys of this process alive in etcd on one lease: they disappear by themselves when it dies.
//
// The arithmetic: a beat every 3/10 of the TTL (3 s) renews the lease and writes what changed. A beat that gets no
// answer within 2 s is tried again at another member within half a second. So three members can be asked in
// vain before a lease of 10 s runs out.
//
// The keys stay when Run ends: they belong to the machine, and a restarted process takes them over before the
// lease expires.
type Presence struct {
	Client *clientv3.Client
	// Keys returns what has to be in etcd now. It is asked at every beat, from the goroutine of Run.
	Keys func(now time.Time) (map[string][]byte, error)
	// Wake asks for a write at once. May be nil.
	Wake <-chan struct{}
	// Beaten is told about every successful beat. May be nil.
	Beaten func()
	// Denied is told about every beat that etcd understood and refused: it does not know this client, or not as who may write
	// these keys. An error ends Run. May be nil.
	Denied func() error
	Log    *slog.Logger
	// TTL is the lease's; zero means TTL. etcd grants no less than 2 s.
	TTL time.Duration

	lease   clientv3.LeaseID
	written map[string][]byte // under the lease
}

// Run beats until ctx ends and returns its cause. Failures are logged and retried for ever, unless Denied ends it.
func (p *Presence) Run(ctx context.Context) error {
	if p.TTL == 0 {
		p.TTL = TTL
	}
	interval := p.TTL * 3 / 10
	retry := backoff.Backoff{Min: 100 * time.Millisecond, Max: 500 * time.Millisecond}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var failing bool
	for {
		var err error
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.Wake: // the next renewal stays when it was due
			if p.lease == 0 {
				continue
			}
			err = p.write(ctx)
		case <-timer.C:
			if err = p.beat(ctx); err == nil {
				timer.Reset(interval)
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			if !failing && !refusedByLearner(err) {
				p.Log.Warn("heartbeat failed, trying on", "error", err)
			}
			failing = failing || !refusedByLearner(err)
			if p.Denied != nil && errors.Is(err, rpctypes.ErrPermissionDenied) {
				if err := p.Denied(); err != nil {
					return err
				}
			}
			timer.Reset(retry.Next())
			continue
		}
		if failing {
			p.Log.Info("heartbeat works again")
		}
		failing = false
		retry.Reset()
		if p.Beaten != nil {
			p.Beaten()
		}
	}
}

func (p *Presence) beat(ctx context.Context) error {
	if p.lease != 0 {
		switch err := p.renew(ctx); {
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			p.Log.Warn("lease ran out, registering again")
			p.forget()
		case err != nil:
			return err
		}
	}
	if p.lease == 0 {
		if err := p.grant(ctx); err != nil {
			return err
		}
	}
	return p.write(ctx)
}

func (p *Presence) grant(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := p.Client.Grant(ctx, int64(p.TTL/time.Second))
	if err != nil {
		return fmt.Errorf("grant lease: %w", err)
	}
	p.lease, p.written = resp.ID, nil
	return nil
}

func (p *Presence) forget() { p.lease, p.written = clientv3.NoLease, nil }

// renew asks once, on a stream of its own: the client's KeepAlive stays for over 10 s on a member that hangs, which
// costs the lease, and its KeepAliveOnce spins while no member answers.
func (p *Presence) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	stream, err := pb.NewLeaseClient(p.Client.ActiveConnection()).LeaseKeepAlive(ctx)
	if err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(p.lease)}); err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	resp, err := stream.Recv()
	if err != nil {
		return fmt.Errorf("renew lease: %w", rpctypes.Error(err))
	}
	if resp.TTL <= 0 {
		return fmt.Errorf("renew lease: %w", rpctypes.ErrLeaseNotFound)
	}
	return nil
}

// write makes etcd hold what Keys says, in one transaction.
func (p *Presence) write(ctx context.Context) error {
	want, err := p.Keys(time.Now())
	if err != nil {
		return err
	}
	var ops []clientv3.Op
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if old, ok := p.written[key]; !ok || !bytes.Equal(old, want[key]) {
			ops = append(ops, clientv3.OpPut(key, string(want[key]), clientv3.WithLease(p.lease)))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(p.written)) {
		if _, ok := want[key]; !ok {
			ops = append(ops, clientv3.OpDelete(key))
		}
	}
	if len(ops) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := p.Client.Txn(ctx).Then(ops...).Commit(); err != nil {
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			p.forget() // the next beat, at once, registers again
		}
		return fmt.Errorf("write heartbeat: %w", err)
	}
	p.written = want
	return nil
}
