package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/snapshot"
)

// Snapshots is where snapshots of etcd are kept, a place that outlives this machine.
type Snapshots interface {
	// Add keeps the snapshot that r brings, begun at the given time. It is there as a whole or not at all.
	Add(ctx context.Context, begun time.Time, revision int64, r io.Reader) (snapshot.Info, error)
}

const (
	snapshotEvery   = 15 * time.Minute // without any change
	snapshotPause   = 10 * time.Second // after the last one, whatever has changed
	snapshotLook    = 2 * time.Second  // between two looks whether one is due
	snapshotTimeout = 2 * time.Minute  // for one
)

// keepSnapshots takes a snapshot whenever one is due, until ctx ends.
func (l *leader) keepSnapshots(ctx context.Context) error {
	if l.snapshots == nil {
		return nil // there is no place that outlives this machine
	}
	tick := time.NewTicker(snapshotLook)
	defer tick.Stop()
	var taken int64    // the revision of this leader's last one
	last := time.Now() // when that was, at first its election
	var failure string // so that a lasting one is logged once
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		revision, err := l.snapshotIfDue(ctx, taken, last)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && err.Error() != failure:
			failure = err.Error()
			l.log.Warn("no snapshot of etcd could be taken, trying on", "error", err)
		case err == nil && revision > 0:
			taken, last, failure = revision, time.Now(), ""
		}
	}
}

// snapshotIfDue takes a snapshot if one is due, and returns its revision, otherwise 0. taken is the revision of
// the last one, 0 for none.
func (l *leader) snapshotIfDue(ctx context.Context, taken int64, last time.Time) (int64, error) {
	changed, err := l.changedAt(ctx)
	if err != nil || changed == 0 {
		return 0, err // before anything is deployed there is nothing to lose
	}
	if !snapshotDue(time.Since(last), taken > 0, changed > taken && l.settled.Load()) {
		return 0, nil
	}
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	var at int64
	err = l.snapshot(ctx, func(revision int64, r io.Reader) error {
		info, err := l.snapshots.Add(ctx, begun, revision, r)
		if err == nil {
			at = revision
			l.log.Info("took a snapshot of etcd", "name", info.Name, "revision", revision, "bytes", info.Size)
		}
		return err
	})
	return at, err
}

// snapshotDue tells whether it is time for another snapshot; age is that of the last one, or of the leadership when there is
// none. changed: something has changed since, and is done. A change that is not done is in the next snapshot: one taken in
// its midst would bring back what nobody wanted to stay.
func snapshotDue(age time.Duration, taken, changed bool) bool {
	return age >= snapshotEvery || changed && (!taken || age >= snapshotPause)
}

// changedAt is the revision at which the deployment or an assignment was changed last; 0 when there is no deployment.
func (l *leader) changedAt(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, etcdTimeout)
	defer cancel()
	latest := append(clientv3.WithLastRev(), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	resp, err := l.etcd.Txn(ctx).Then(
		clientv3.OpGet(discovery.DeploymentKey, clientv3.WithKeysOnly()),
		clientv3.OpGet(discovery.AssignmentsPrefix, latest...),
	).Commit()
	if err != nil {
		return 0, fmt.Errorf("ask for the last change: %w", err)
	}
	var changed int64
	for i, r := range resp.Responses {
		kvs := r.GetResponseRange().Kvs
		if i == 0 && len(kvs) == 0 {
			return 0, nil
		}
		for _, kv := range kvs {
			changed = max(changed, kv.ModRevision)
		}
	}
	return changed, nil
}

// snapshot lets use read a snapshot. Everything that was written up to revision is in it: the member that it is of, this
// machine's when it can, is first asked something that it may answer only when it has caught up.
func (c *controller) snapshot(ctx context.Context, use func(revision int64, r io.Reader) error) error {
	endpoints := slices.Clone(c.etcd.Endpoints())
	slices.SortStableFunc(endpoints, func(a, b string) int { return c.distance(a) - c.distance(b) })
	var errs []error
	for _, endpoint := range endpoints {
		used, err := c.snapshotOf(ctx, endpoint, use)
		if used || ctx.Err() != nil {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// distance is 0 for a URL on this machine, 1 for every other.
func (c *controller) distance(endpoint string) int {
	if u, err := url.Parse(endpoint); err == nil && u.Hostname() == c.self.Address {
		return 0
	}
	return 1
}

func (c *controller) snapshotOf(ctx context.Context, endpoint string, use func(revision int64, r io.Reader) error) (used bool, err error) {
	cli, err := discovery.Dial([]string{endpoint}, c.clientTLS)
	if err != nil {
		return false, err
	}
	defer cli.Close()
	asking, cancel := context.WithTimeout(ctx, etcdTimeout)
	defer cancel()
	resp, err := cli.Get(asking, discovery.DeploymentKey, clientv3.WithCountOnly())
	if err != nil {
		return false, fmt.Errorf("take a snapshot at %s: %w", endpoint, err)
	}
	snap, err := cli.SnapshotWithVersion(ctx)
	if err != nil {
		return false, fmt.Errorf("take a snapshot at %s: %w", endpoint, err)
	}
	defer snap.Snapshot.Close()
	if err := use(resp.Header.Revision, snap.Snapshot); err != nil {
		return true, fmt.Errorf("take a snapshot at %s: %w", endpoint, err)
	}
	return true, nil
}

// getSnapshot streams a snapshot as it is taken. Its end carries its hash, so a client knows whether it has all.
func (c *controller) getSnapshot(w http.ResponseWriter, r *http.Request) error {
	begun := false
	err := c.snapshot(r.Context(), func(revision int64, r io.Reader) error {
		begun = true
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set(api.SnapshotRevisionHeader, strconv.FormatInt(revision, 10))
		_, err := io.Copy(&patientWriter{w: w, control: http.NewResponseController(w)}, r)
		return err
	})
	switch {
	case err == nil:
		return nil
	case begun:
		c.log.Warn("a snapshot was not sent to its end", "error", err)
		panic(http.ErrAbortHandler) // the answer has begun, and must not look complete
	default:
		return c.unavailable(r.Context(), err)
	}
}

// patientWriter gives every piece of a long answer its own time.
type patientWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (p *patientWriter) Write(piece []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return p.w.Write(piece)
}
