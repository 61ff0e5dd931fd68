// Package backoff spaces retries out: longer after every failure, and never in step with other machines.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff counts failures of one operation. The zero value starts at 100 ms and ends at 5 s.
type Backoff struct {
	Min time.Duration
	Max time.Duration
	// Random returns a number in [0, 1); nil means math/rand.
	Random func() float64

	failures int
}

// Next is how long to wait after one more failure: a random time in the upper half of a span that doubles
// with every failure, up to Max.
func (b *Backoff) Next() time.Duration {
	span, limit := b.Min, b.Max
	if span <= 0 {
		span = 100 * time.Millisecond
	}
	if limit <= 0 {
		limit = 5 * time.Second
	}
	for range b.failures {
		if span *= 2; span >= limit {
			break
		}
	}
	b.failures++
	random := b.Random
	if random == nil {
		random = rand.Float64
	}
	span = min(span, limit)
	return span/2 + time.Duration(random()*float64(span/2))
}

// Reset forgets all failures: the operation succeeded.
func (b *Backoff) Reset() { b.failures = 0 }

// Wait waits for Next. It returns early, with the cause, when ctx ends.
func (b *Backoff) Wait(ctx context.Context) error { return Sleep(ctx, b.Next()) }

// Sleep waits for d. It returns early, with the cause, when ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
