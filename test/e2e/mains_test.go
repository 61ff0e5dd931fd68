package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"devctl/internal/api"
)

// TestAllMainsLost takes all main nodes away at once, disks and all. The promise: the data path keeps serving, a snapshot that
// was taken by itself brings the control plane back by one command, and then everything is what it was.
func TestAllMainsLost(t *testing.T) {
	s := newStack(t, "e2emains", "198.18.42.0/24")
	s.must(t, 15*time.Minute, "up", "--yes")
	before, started := s.status(t), s.startedOn(t, api.RoleWorker, api.RoleData)
	s.waitSnapshot(t)

	errs := serving(t, s)
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

	after := s.waitStatus(t, "the stack is what it was", time.Minute, func(st api.Status) bool {
		return st.Healthy && st.Settled && st.Etcd.Healthy == 3 && len(st.Nodes) == len(before.Nodes)
	})
	if diff := cmp.Diff(whatItIs(before), whatItIs(after)); diff != "" {
		t.Errorf("the status is not what it was (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(started, s.startedOn(t, api.RoleWorker, api.RoleData)); diff != "" {
		t.Errorf("something was restarted on other nodes (-before +after):\n%s", diff)
	}
	again := s.must(t, 2*time.Minute, "up", "--yes")
	if !strings.Contains(again.stdout, "No changes") {
		t.Errorf("the next up changes something:\n%s%s", again.stdout, again.stderr)
	}
	if n := errs(); n > 0 {
		t.Errorf("clients had %d errors", n)
	}

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

// serving lets a client that knows the address alone write and read until the test ends, and returns how to count what went
// wrong.
func serving(t *testing.T, s *stack) (errs func() int64) {
	t.Helper()
	o := s.outputs(t, "--show-secrets")
	c := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{fmt.Sprintf("%s:%d", o.Redis.Address, o.Redis.Port)}, Username: o.Redis.Username, Password: o.Redis.Password,
		DialTimeout: time.Second, ReadTimeout: time.Second, MaxRedirects: -1,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var wrong, right atomic.Int64
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			key := fmt.Sprintf("serving-%d", i%1000)
			err := c.Set(ctx, key, i, 0).Err()
			if err == nil {
				var got int
				if got, err = c.Get(ctx, key).Int(); err == nil && got != i {
					err = fmt.Errorf("%s is %d, and %d was written", key, got, i)
				}
			}
			switch {
			case ctx.Err() != nil:
			case err == nil:
				right.Add(1)
			default:
				wrong.Add(1)
				t.Logf("client: %v", err)
			}
			time.Sleep(5 * time.Millisecond) // the client's own pace
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = c.Close()
		t.Logf("clients wrote and read %d keys, %d errors", right.Load(), wrong.Load())
		if right.Load() == 0 {
			t.Error("no client was served")
		}
	})
	return wrong.Load
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
