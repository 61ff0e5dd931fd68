package localcloud

import (
	"context"
	"sync"
)

// rolls lets groups of a stack be worked on at the same time, and ends what all of them wait for, a healthy stack, when one of them has
// failed: it may not come. The zero value is ready to use.
type rolls struct {
	mu     sync.Mutex
	groups int // in work
	ctx    context.Context
	fail   context.CancelCauseFunc
}

// begin returns a context of the caller's for such waits. end is to be called with the group's error; unless nil, contexts of the
// others end with reason as their cause.
func (r *rolls) begin(ctx context.Context) (waits context.Context, end func(reason error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.groups == 0 {
		r.ctx, r.fail = context.WithCancelCause(context.Background())
	}
	r.groups++
	waits, cancel := context.WithCancelCause(ctx)
	all, fail := r.ctx, r.fail
	context.AfterFunc(all, func() { cancel(context.Cause(all)) })
	return waits, func(reason error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		cancel(nil)
		r.groups--
		if reason != nil || r.groups == 0 {
			fail(reason)
		}
	}
}
