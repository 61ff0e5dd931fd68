package discovery

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// silence is how long a record may stay unwritten before Reap removes it: two beats are lost by then, and the
	// third is late.
	silence = 8 * time.Second
	// reapInterval is how often Reap looks.
	reapInterval = 500 * time.Millisecond
)

// Reap removes the records of nodes that have gone silent, until ctx ends. Every controller runs it, leader or not.
//
// Leases alone are not enough: when etcd's leader dies, the next one starts all leases anew, so a node that dies
// together with the leader would stay for a whole TTL and an election, over 12 s. The clocks of nodes do not
// come into it. What counts is how long this process has seen a record's revision stand still, and only the time
// in which a quorum kept answering: after an outage everybody has the full span again.
func Reap(ctx context.Context, cli *clientv3.Client, log *slog.Logger) error {
	tick := time.NewTicker(reapInterval)
	defer tick.Stop()
	var (
		s    silences
		last time.Time // of the last answer; zero when there was none since
	)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		revisions, err := nodeRevisions(ctx, cli)
		if err != nil {
			last = time.Time{}
			continue
		}
		now := time.Now()
		var answered time.Duration
		if !last.IsZero() {
			// No more than two intervals: if it was this process that stood still, nobody else is to blame.
			answered = min(now.Sub(last), 2*reapInterval)
		}
		last = now
		for _, name := range s.observe(answered, revisions) {
			removed, err := remove(ctx, cli, name, revisions[name])
			switch {
			case err != nil:
				log.Warn("cannot remove the record of a silent node, trying on", "node", name, "error", err)
			case removed:
				log.Warn("node is silent, its record is removed", "node", name, "silent", silence)
			}
		}
	}
}

// nodeRevisions tells at which revision each node record was written last.
func nodeRevisions(ctx context.Context, cli *clientv3.Client) (map[string]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := cli.Get(ctx, NodesPrefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	out := make(map[string]int64, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		out[string(kv.Key[len(NodesPrefix):])] = kv.ModRevision
	}
	return out, nil
}

// remove deletes a node's record unless it has been written since revision.
func remove(ctx context.Context, cli *clientv3.Client, name string, revision int64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key := NodeKey(name)
	resp, err := cli.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
		Then(clientv3.OpDelete(key)).
		Commit()
	if err != nil {
		return false, err
	}
	return resp.Succeeded, nil
}

// silences knows how long each record's revision has stood still.
type silences struct {
	revisions map[string]int64
	still     map[string]time.Duration
}

// observe takes note of the revisions of all records, and of how long etcd has been answering since the last
// time. It returns, sorted, the names of those that have been silent for too long.
func (s *silences) observe(answered time.Duration, revisions map[string]int64) []string {
	still := make(map[string]time.Duration, len(revisions))
	var silent []string
	for name, revision := range revisions {
		if s.revisions[name] == revision {
			still[name] = s.still[name] + answered
		}
		if still[name] >= silence {
			silent = append(silent, name)
		}
	}
	s.revisions, s.still = maps.Clone(revisions), still
	slices.Sort(silent)
	return silent
}
