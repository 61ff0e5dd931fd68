package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/backoff"
)

// resync is how often Follow lists again although it watches: a watch on a member that hangs is silent.
const resync = 15 * time.Second

// Follow tells changed what is under prefix: at first, after every change, and every 15 s. It only returns when
// ctx ends. While etcd does not answer it says nothing: what changed was told last still counts.
//
// changed gets a map of its own and is never called twice at a time.
func Follow(ctx context.Context, cli *clientv3.Client, prefix string, log *slog.Logger, changed func(Snapshot)) error {
	var retry backoff.Backoff
	var failing bool
	for {
		err := follow(ctx, cli, prefix, func(s Snapshot) {
			if failing {
				log.Info("following etcd again", "prefix", prefix)
			}
			failing = false
			retry.Reset()
			changed(s)
		})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			continue
		}
		if !failing && !refusedByLearner(err) {
			failing = true
			log.Warn("cannot follow etcd, what was known stays", "prefix", prefix, "error", err)
		}
		if err := retry.Wait(ctx); err != nil {
			return err
		}
	}
}

// FollowNodes is Follow for node records, sorted by name.
func FollowNodes(ctx context.Context, cli *clientv3.Client, log *slog.Logger, changed func([]api.NodeRecord)) error {
	return Follow(ctx, cli, NodesPrefix, log, func(s Snapshot) { changed(ParseNodes(s.Values)) })
}

// follow lists once and watches from there on, until it is time to list again.
func follow(ctx context.Context, cli *clientv3.Client, prefix string, changed func(Snapshot)) error {
	snap, err := List(ctx, cli, prefix)
	if err != nil {
		return err
	}
	// The watch starts at the revision after the list, so nothing in between is lost. RequireLeader ends it when
	// the member it is on has lost the others.
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), resync)
	defer cancel()
	events := cli.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(snap.Revision+1))
	tell := func() { changed(Snapshot{Revision: snap.Revision, Values: maps.Clone(snap.Values)}) }
	tell()
	for {
		select {
		case <-ctx.Done():
			return nil
		case resp, ok := <-events:
			if !ok {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("watch %s: %w", prefix, errors.New("the stream ended"))
			}
			if err := resp.Err(); err != nil {
				return fmt.Errorf("watch %s: %w", prefix, err)
			}
			if len(resp.Events) == 0 {
				continue
			}
			for _, e := range resp.Events {
				name := string(e.Kv.Key[len(prefix):])
				if e.Type == mvccpb.DELETE {
					delete(snap.Values, name)
				} else {
					snap.Values[name] = e.Kv.Value
				}
			}
			snap.Revision = resp.Header.Revision
			tell()
		}
	}
}
