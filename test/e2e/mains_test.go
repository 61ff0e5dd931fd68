package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

// TestAllMainsLost takes all main nodes away at once, disks and all. The promise: the data path keeps serving, a snapshot that
// was taken by itself brings the control plane back by one command, and then everything is what it was.
func TestAllMainsLost(t *testing.T) {
	t.Parallel()
	s := newStack(t, "e2emains", "198.18.42.0/24")
	s.must(t, 15*time.Minute, "up", "--yes")
	before, started := s.status(t), s.startedOn(t, api.RoleWorker, api.RoleData)
	s.waitSnapshot(t)

	clients := startTraffic(t, "a client that knows the address alone", settingAndGetting(s.client(t, patient), "both-"))
	s.loseMains(t)
	lost := time.Now()

	t.Run("nobody makes a second cluster", func(t *testing.T) {
		r := s.run(t, time.Minute, "up", "--yes")
		if r.code != 1 || !strings.Contains(r.stderr, "run `devctl etcd snapshot restore --latest -s e2emains`") {
			t.Errorf("up: exit %d\n%s", r.code, r.stderr)
		}
		if mains := s.mains(t); len(mains) > 0 {
			t.Errorf("up made %v", mains)
		}
	})
	t.Run("a restore that is killed is run again", func(t *testing.T) {
		p := s.start(t, "etcd", "snapshot", "restore", "--latest", "--yes")
		p.until("the first main nodes exist", time.Minute, func() bool { return len(s.mains(t)) > 0 })
		p.signal(syscall.SIGKILL)
		p.end(5*time.Second, -1)
	})
	begun := time.Now()
	r := s.run(t, 5*time.Minute, "etcd", "snapshot", "restore", "--latest", "--yes")
	if r.code != 0 && strings.Contains(r.stderr, "is not lost") {
		// The killed one had come far enough: what it began ends by itself, and `up` takes it over.
		r = s.must(t, 5*time.Minute, "up", "--yes")
	}
	if r.code != 0 {
		t.Fatalf("restore: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	t.Logf("the control plane was back %v after the loss, %v after the command", time.Since(lost).Round(100*time.Millisecond), time.Since(begun).Round(100*time.Millisecond))

	waitFor(t, "the status is what it was", time.Minute, func() error {
		if diff := cmp.Diff(whatItIs(before), whatItIs(s.status(t))); diff != "" {
			return fmt.Errorf("(-before +after):\n%s", diff)
		}
		return nil
	})
	if diff := cmp.Diff(started, s.startedOn(t, api.RoleWorker, api.RoleData)); diff != "" {
		t.Errorf("something was restarted on other nodes (-before +after):\n%s", diff)
	}
	again := s.must(t, 2*time.Minute, "up", "--yes")
	if !strings.Contains(again.stdout, "No changes") {
		t.Errorf("the next up changes something:\n%s%s", again.stdout, again.stderr)
	}
	clients.faultless(t)

	t.Run("a living cluster is not replaced", func(t *testing.T) {
		r := s.run(t, time.Minute, "etcd", "snapshot", "restore", "--latest", "--yes")
		if r.code != 1 || !strings.Contains(r.stderr, `nothing was restored, for stack "e2emains" is not lost`) {
			t.Errorf("restore: exit %d\n%s", r.code, r.stderr)
		}
	})
}

// loseMains removes all main nodes at once, with their disks.
func (s *stack) loseMains(t *testing.T) {
	t.Helper()
	docker(t, append([]string{"rm", "--force", "--volumes"}, s.mains(t)...)...)
}

// mains lists the containers of main nodes.
func (s *stack) mains(t *testing.T) []string {
	t.Helper()
	return strings.Fields(docker(t, "ps", "--all", "--quiet", "--filter", "label=devctl.stack="+s.name, "--filter", "label=devctl.role=main"))
}

// waitSnapshot waits for the first snapshot, which nobody has asked for: it is of a stack that is settled.
func (s *stack) waitSnapshot(t *testing.T) {
	t.Helper()
	waitFor(t, "a snapshot is taken", time.Minute, func() error {
		var all []struct {
			Where string `json:"where"`
		}
		r := s.must(t, time.Minute, "etcd", "snapshot", "list", "-o", "json")
		if err := json.Unmarshal([]byte(r.stdout), &all); err != nil {
			return err
		}
		if len(all) == 0 || all[0].Where != "volume devctl-"+s.name+"-snapshots" {
			return fmt.Errorf("there is %s", r.stdout)
		}
		return nil
	})
}

// startedOn is started for the nodes of some roles.
func (s *stack) startedOn(t *testing.T, roles ...api.Role) map[string]string {
	t.Helper()
	all := s.started(t)
	for key := range all {
		if !slices.ContainsFunc(roles, func(r api.Role) bool { return strings.HasPrefix(key, string(r)+"-") }) {
			delete(all, key)
		}
	}
	return all
}

// whatItIs is what of a status does not depend on when one looks, and which machines the mains are.
func whatItIs(st api.Status) api.Status {
	st.Etcd.Leader = ""
	st.Nodes = slices.Clone(st.Nodes)
	for i, n := range st.Nodes {
		n.LastHeartbeat = time.Time{}
		if n.Role == api.RoleMain {
			n.ID = ""
		}
		st.Nodes[i] = n
	}
	return st
}
