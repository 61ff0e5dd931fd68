package discovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// electTTL is how long after its last sign of life somebody who was elected may be replaced.
const electTTL = 5 * time.Second

// ErrSessionLost is why an election ends that etcd has heard nothing of for too long.
var ErrSessionLost = errors.New("the election's lease is lost")

// Elect stands for the election at key and, once elected, runs elected. The context that elected gets ends when the election may
// be over; when elected returns, the next candidate has its turn at once. Elect returns elected's error, or why it was not
// elected. A client writes only below key.
func Elect(ctx context.Context, cli *clientv3.Client, key, name string, elected func(context.Context) error) error {
	grantCtx, cancel := context.WithTimeout(ctx, callTimeout)
	lease, err := cli.Grant(grantCtx, int64(electTTL/time.Second))
	cancel()
	if err != nil {
		return fmt.Errorf("stand for election at %s: %w", key, err)
	}
	session, err := concurrency.NewSession(cli, concurrency.WithLease(lease.ID), concurrency.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("stand for election at %s: %w", key, err)
	}
	defer func() {
		// Not Close: when ctx has ended it could not give the lease back, and the others would have to wait.
		session.Orphan()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if _, err := cli.Revoke(ctx, lease.ID); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return // it runs out
		}
	}()
	if err := concurrency.NewElection(session, key).Campaign(session.Ctx(), name); err != nil {
		return fmt.Errorf("stand for election at %s: %w", key, err)
	}
	err = elected(session.Ctx())
	if session.Ctx().Err() != nil && ctx.Err() == nil {
		return ErrSessionLost
	}
	return err
}
