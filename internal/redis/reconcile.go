package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"devctl/internal/api"
)

// rounds is how often one Reconcile looks and acts: some steps can follow at once when the one before is done.
const rounds = 4

// Reconcile brings the members closer to one whole cluster: it forms it of blank members, lets new members join
// as replicas of their shard, and forgets those that were replaced. It does what can be done now and returns; call it
// again, soon while the state is forming, to go on. Calls must not overlap.
//
// It returns what the cluster is afterwards and what was done, one sentence each. A member that gives no answer is
// no error: it is among the problems of the status. An error says which step failed; the others were still done.
func (k *Keeper) Reconcile(ctx context.Context, spec api.RedisSpec, members []Member, creds Credentials) (api.RedisStatus, []string, error) {
	clients := map[string]*client{} // by address
	for _, m := range members {
		if clients[m.Address] == nil {
			c := newClient(m.Address, creds)
			defer c.Close()
			clients[m.Address] = c
		}
	}
	var done []string
	var last []step
	for range rounds {
		seen, silent := observeAll(ctx, clients)
		if err := ctx.Err(); err != nil {
			return api.RedisStatus{}, done, fmt.Errorf("observe the Redis Cluster: %w", err)
		}
		p := draw(spec, members, seen, silent)
		now := time.Now()
		k.note(p, now)
		steps := slices.Concat(k.due(p, p.plan(), now), k.renew(p, now))
		if len(steps) == 0 || reflect.DeepEqual(steps, last) { // what was asked for takes its time
			return p.status(), done, nil
		}
		last = steps
		more, err := execute(ctx, clients, steps)
		for _, what := range more {
			if !slices.Contains(done, what) {
				done = append(done, what)
			}
		}
		if err != nil {
			return p.status(), done, err
		}
	}
	seen, silent := observeAll(ctx, clients)
	return draw(spec, members, seen, silent).status(), done, nil
}

// observeAll asks every member at the same time. Each is in exactly one of the results.
func observeAll(ctx context.Context, clients map[string]*client) (seen map[string]observation, silent map[string]error) {
	var (
		mu    sync.Mutex
		group sync.WaitGroup
	)
	seen, silent = map[string]observation{}, map[string]error{}
	for address, c := range clients {
		group.Go(func() {
			o, err := observe(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent[address] = err
			} else {
				seen[address] = o
			}
		})
	}
	group.Wait()
	return seen, silent
}

// execute carries out steps in order and returns the reasons of those that succeeded, each once. One that fails
// keeps none of the others from being done.
func execute(ctx context.Context, clients map[string]*client, steps []step) ([]string, error) {
	var (
		done []string
		errs []error
	)
	for _, s := range steps {
		if _, err := clients[s.address].do(ctx, s.command); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s on %s: %w", cmp.Or(s.reason, "pass on what is new"), strings.Join(s.command, " "), s.address, err))
			continue
		}
		if s.reason != "" && (len(done) == 0 || done[len(done)-1] != s.reason) {
			done = append(done, s.reason)
		}
	}
	return done, errors.Join(errs...)
}
