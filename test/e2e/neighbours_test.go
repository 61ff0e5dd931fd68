package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDestroyTouchesNoNeighbour destroys a stack while clients write to another one on the same machine, whose state is in
// the same folder.
func TestDestroyTouchesNoNeighbour(t *testing.T) {
	t.Parallel()
	alpha, beta := newStack(t, "e2ealpha", "198.18.86.0/24"), newStack(t, "e2ebeta", "198.18.87.0/24")
	beta.home = alpha.home
	alpha.must(t, 15*time.Minute, "up", "--yes")
	beta.must(t, 15*time.Minute, "up", "--yes")
	machines, processes, objects := beta.containers(t), beta.started(t), beta.labelled(t)
	slices.Sort(objects)

	w := startTraffic(t, "the neighbour's client", setting(beta.client(t, patient), "writer-"))
	w.more(t, 100)
	for range 2 { // the second time there is nothing left that could be mistaken for beta's
		alpha.must(t, 3*time.Minute, "destroy", "--yes")
		if left := alpha.labelled(t); len(left) > 0 {
			t.Errorf("destroy left %v", left)
		}
	}
	w.more(t, 100)
	w.faultless(t)

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
	t.Parallel()
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
