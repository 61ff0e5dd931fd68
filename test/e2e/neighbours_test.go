package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestDestroyTouchesNoNeighbour destroys a stack while clients write to another one on the same machine, whose state is in
// the same folder.
func TestDestroyTouchesNoNeighbour(t *testing.T) {
	alpha, beta := newStack(t, "e2ealpha", "198.18.86.0/24"), newStack(t, "e2ebeta", "198.18.87.0/24")
	beta.home = alpha.home
	alpha.must(t, 15*time.Minute, "up", "--yes")
	beta.must(t, 15*time.Minute, "up", "--yes")
	machines, processes, objects := beta.containers(t), beta.started(t), beta.labelled(t)
	slices.Sort(objects)

	w := startWriter(t, beta.client(t))
	w.writes(t, 100)
	for range 2 { // the second time there is nothing left that could be mistaken for beta's
		alpha.must(t, 3*time.Minute, "destroy", "--yes")
		if left := alpha.labelled(t); len(left) > 0 {
			t.Errorf("destroy left %v", left)
		}
	}
	w.writes(t, 100)
	if n, slowest, errs := w.stop(); len(errs) > 0 {
		t.Errorf("%d of %d writes to the neighbour failed: %v", len(errs), n+len(errs), errs[0])
	} else {
		t.Logf("%d writes to the neighbour through the destroy, the slowest took %v", n, slowest)
	}

	if now := beta.containers(t); !slices.Equal(now, machines) {
		t.Errorf("the neighbour's nodes are %v, were %v", now, machines)
	}
	now := beta.labelled(t)
	slices.Sort(now)
	if !slices.Equal(now, objects) {
		t.Errorf("the neighbour's objects in Docker are %v, were %v", now, objects)
	}
	sameProcesses(t, processes, beta.started(t))
	checkStatus(t, beta.status(t), 8)
	if r := beta.must(t, time.Minute, "up", "--yes"); !strings.Contains(r.stdout, "No changes") {
		t.Errorf("up of the neighbour says:\n%s%s", r.stdout, r.stderr)
	}
}

// TestDestroyRefusesWithoutATerminal: it removes data, and does nothing where nobody can be asked.
func TestDestroyRefusesWithoutATerminal(t *testing.T) {
	s := newStack(t, "e2eask", "198.18.88.0/24")
	s.must(t, 15*time.Minute, "up", "--yes")
	before := s.containers(t)
	r := s.run(t, time.Minute, "destroy")
	if want := "there is no terminal to ask on: give --yes"; r.code != 2 || !strings.Contains(r.stderr, want) {
		t.Errorf("destroy without a terminal: exit %d, want 2 and %q:\n%s", r.code, want, r.stderr)
	}
	if after := s.containers(t); !slices.Equal(before, after) || len(after) != 8 {
		t.Errorf("nodes %v, before %v", after, before)
	}
	checkStatus(t, s.status(t), 8)
}

// writer writes key after key until it is stopped.
type writer struct {
	stop    func() (written int, slowest time.Duration, errs []error)
	mu      sync.Mutex
	written int
	slowest time.Duration
	errs    []error
}

func startWriter(t *testing.T, c *redis.ClusterClient) *writer {
	t.Helper()
	w := &writer{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	end := sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(end)
	w.stop = func() (int, time.Duration, []error) {
		end()
		return w.written, w.slowest, w.errs
	}
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			begun := time.Now()
			err := c.Set(context.WithoutCancel(ctx), fmt.Sprintf("writer-%d", i), i, 0).Err()
			w.mu.Lock()
			if w.slowest = max(w.slowest, time.Since(begun)); err != nil {
				w.errs = append(w.errs, err)
			} else {
				w.written++
			}
			w.mu.Unlock()
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return w
}

// writes waits until so many more were made.
func (w *writer) writes(t *testing.T, more int) {
	t.Helper()
	count := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.written
	}
	begun := count()
	waitFor(t, "writes go on", 10*time.Second, func() error {
		if n := count() - begun; n < more {
			return fmt.Errorf("only %d", n)
		}
		return nil
	})
}
