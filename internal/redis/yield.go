package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// yieldLook is how long Yield waits between two looks. A takeover is a matter of milliseconds.
	yieldLook = 50 * time.Millisecond
	// yieldAgain is when a replica is asked again: Redis gives a takeover that nobody voted for up after twice that.
	yieldAgain = 2500 * time.Millisecond
)

// Yield lets a replica of the member at address (host:port) take over from it before it stops, so that nobody has to miss it first
// and no write is lost. It returns the address of the new primary, "" when the member has no slots to hand over, once the member has
// learned of it. It tries until ctx ends.
func Yield(ctx context.Context, address string, creds Credentials) (heir string, err error) {
	own := newClient(address, creds)
	defer own.Close()
	var asked time.Time
	for {
		o, err := observe(ctx, own)
		switch {
		case err != nil:
			return "", fmt.Errorf("ask %s what it has: %w", address, err)
		case !o.self.primary || len(o.self.slots) == 0:
			return heir, nil
		case time.Since(asked) > yieldAgain:
			if heir, err = takeOver(ctx, o, creds); err != nil {
				return "", fmt.Errorf("hand over the slots of %s: %w", address, err)
			}
			asked = time.Now()
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("hand over the slots of %s to %s: %w", address, heir, ctx.Err())
		case <-time.After(yieldLook):
		}
	}
}

// takeOver asks the replica of the primary that has heard most of it to take over, and returns its address.
func takeOver(ctx context.Context, primary observation, creds Credentials) (string, error) {
	type candidate struct {
		*client
		offset int64
	}
	var candidates []candidate
	for _, n := range primary.nodes {
		if n.primaryID != primary.self.id || n.failing || n.address == "" {
			continue
		}
		c := newClient(n.address, creds)
		defer c.Close()
		if o, err := observe(ctx, c); err == nil && o.linkUp && o.open {
			candidates = append(candidates, candidate{c, o.offset})
		}
	}
	if len(candidates) == 0 {
		return "", errors.New("it has no replica in sync")
	}
	best := slices.MaxFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.offset, b.offset) })
	_, err := best.do(ctx, command{"CLUSTER", "FAILOVER"})
	return best.address, err
}
