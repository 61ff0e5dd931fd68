package controller

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/discovery/etcdtest"
)

// TestLaterMainIsKnown: the leader was configured when there was one main node. The second makes itself known.
func TestLaterMainIsKnown(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.control(1, wholeRedis())
	c.authOn()
	c.control(2, wholeRedis())
	later := c.etcd(c.issue("main-2", "devctl:main"))
	etcdtest.Eventually(t, 20*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := later.Put(ctx, discovery.NodeKey("main-2"), "{}")
		return err
	})
}

// TestUsersOfNodesThatAreGone: whoever lives, is in the deployment, or never joined stays; a node that is gone for good goes with
// all that it may, and one that was only away gets it back.
func TestUsersOfNodesThatAreGone(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	stop := c.control(1, wholeRedis())
	c.authOn()
	root := c.etcd(c.load("controller"))
	put := func(key string, value any) {
		t.Helper()
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := root.Put(t.Context(), key, string(text)); err != nil {
			t.Fatal(err)
		}
	}
	put(discovery.DeploymentKey, elasticDeployment())
	alive := api.Identity{Stack: testStack, Name: "worker-0aaaaaaa", Role: api.RoleWorker, Zone: "a", Address: "127.0.0.31"}
	gone := api.Identity{Stack: testStack, Name: "worker-0bbbbbbb", Role: api.RoleWorker, Zone: "a", Address: "127.0.0.32"}
	former := testNode(api.RoleData, 9, 100) // of a deployment before
	for _, id := range []api.Identity{alive, gone, testNode(api.RoleData, 1, 100), former} {
		if _, answer := c.join(id); answer.status != 200 {
			t.Fatalf("%s cannot join: %s", id.Name, answer.body)
		}
	}
	stop()
	put(discovery.NodeKey(alive.Name), api.NodeRecord{Identity: alive})
	if _, err := root.UserAdd(t.Context(), "somebody", "x"); err != nil {
		t.Fatal(err)
	}

	l := &leader{controller: &controller{etcd: root, mains: c.mains, log: slog.New(slog.DiscardHandler)}}
	absences := map[string]int{}
	users := func() []string {
		t.Helper()
		got, err := root.UserList(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(slices.Values(got.Users))
	}
	everybody := []string{"data-1", "data-9", "main-1", "root", "somebody", alive.Name, gone.Name}
	for range usersGrace - 1 {
		if err := l.reapUsersOnce(t.Context(), absences); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(everybody, users()); d != "" {
		t.Fatalf("users within the time of grace (-want +got):\n%s", d)
	}
	if err := l.reapUsersOnce(t.Context(), absences); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"data-1", "main-1", "root", "somebody", alive.Name}, users()); d != "" {
		t.Errorf("users afterwards (-want +got):\n%s", d)
	}
	roles, err := root.RoleList(t.Context())
	if err != nil || slices.Contains(roles.Roles, roleOf(gone.Name)) || !slices.Contains(roles.Roles, roleOf(alive.Name)) {
		t.Errorf("roles afterwards are %v, %v", roles, err)
	}

	c.apis = nil
	c.control(1, wholeRedis())
	back, _ := c.join(gone)
	if got := rights(t, c.etcd(back), discovery.NodeKey(gone.Name)); got != "rw" {
		t.Errorf("a node that is back has %q on its record", got)
	}
}

// TestNoAnswerRemovesNoUser: looks that etcd does not answer do not count.
func TestNoAnswerRemovesNoUser(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	l := &leader{controller: &controller{etcd: c.etcd(c.load("controller")), mains: c.mains, log: slog.New(slog.DiscardHandler)}}
	c.members[0].Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	absences := map[string]int{"worker-0bbbbbbb": usersGrace - 1}
	if err := l.reapUsersOnce(ctx, absences); err == nil {
		t.Error("there is an answer from nobody")
	}
	if absences["worker-0bbbbbbb"] != usersGrace-1 {
		t.Errorf("it counts as look %d", absences["worker-0bbbbbbb"])
	}
}

func TestLongGone(t *testing.T) {
	t.Parallel()
	absences := map[string]int{}
	for look := range usersGrace {
		absent := []string{"worker-0aaaaaaa", "worker-0bbbbbbb"}
		if look == usersGrace/2 {
			absent = absent[:1] // the other is seen once
		}
		got := longGone(absent, absences, usersGrace)
		if want := look == usersGrace-1; want != (len(got) == 1) || want && got[0] != "worker-0aaaaaaa" {
			t.Errorf("after look %d %v are long gone", look+1, got)
		}
	}
}
