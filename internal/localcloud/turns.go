package localcloud

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"devctl/internal/api"
)

// turns lets few nodes at a time do the first part of their boot, which is all work and no waiting: more at once than
// there are processors would only make all of them late. Mains come first, because everybody waits for their quorum,
// then data nodes, because their services take longest. The zero value is ready to use.
type turns struct {
	mu      sync.Mutex
	taken   int
	waiting []*turn // in the order of arrival
}

// turn is one node's. It is over at the first done.
type turn struct {
	role api.Role
	come chan struct{} // closed when it is this node's turn
	over bool
	of   *turns
}

// bootOrder is who goes first.
var bootOrder = []api.Role{api.RoleMain, api.RoleData, api.RoleWorker}

// places is how many nodes have a turn at a time: one more than processors, for while one waits for the disk.
func places() int { return runtime.NumCPU() + 1 }

// gather is how long those who are not first wait for them: the groups of a stack arrive within milliseconds of one
// another, in any order.
const gather = 100 * time.Millisecond

// take waits for the turn of a node.
func (t *turns) take(ctx context.Context, role api.Role) (*turn, error) {
	if role != bootOrder[0] {
		select {
		case <-time.After(gather):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	mine := &turn{role: role, come: make(chan struct{}), of: t}
	t.mu.Lock()
	t.waiting = append(t.waiting, mine)
	t.next()
	t.mu.Unlock()
	select {
	case <-mine.come:
		return mine, nil
	case <-ctx.Done():
		mine.done()
		return nil, ctx.Err()
	}
}

// next gives free places to those who wait. The caller holds the lock.
func (t *turns) next() {
	for t.taken < places() && len(t.waiting) > 0 {
		first := slices.MinFunc(t.waiting, func(a, b *turn) int {
			return slices.Index(bootOrder, a.role) - slices.Index(bootOrder, b.role)
		})
		t.waiting = slices.DeleteFunc(t.waiting, func(w *turn) bool { return w == first })
		t.taken++
		close(first.come)
	}
}

// done ends the turn, or the wait for it. It may be called more than once.
func (u *turn) done() {
	t := u.of
	t.mu.Lock()
	defer t.mu.Unlock()
	if u.over {
		return
	}
	u.over = true
	select {
	case <-u.come:
		t.taken--
	default:
		t.waiting = slices.DeleteFunc(t.waiting, func(w *turn) bool { return w == u })
	}
	t.next()
}
