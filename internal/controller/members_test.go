package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/discovery/etcdtest"
)

// TestMembersOfMainsThatAreGone: of three main nodes the deployment has two, and the third has ended.
func TestMembersOfMainsThatAreGone(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	root := c.etcd(c.load("controller"))
	d := testDeployment(2, 3)
	d.Nodes = append(d.Nodes, testNode(api.RoleMain, 2, 10))
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.Put(t.Context(), discovery.DeploymentKey, string(text)); err != nil {
		t.Fatal(err)
	}
	l := &leader{controller: &controller{etcd: root, mains: c.mains, log: slog.New(slog.DiscardHandler)}}
	look := func(times int) (members int) {
		t.Helper()
		absences := map[member]int{}
		for range times {
			// A look that nobody answers counts for nothing: so it has to be had.
			etcdtest.Eventually(t, 10*time.Second, func() error { return l.reapMembersOnce(t.Context(), absences) })
		}
		got, err := root.MemberList(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(got.Members)
	}
	if got := look(membersGrace + 1); got != 3 {
		t.Errorf("%d members are left of 3 that answer", got)
	}
	c.members[2].Stop()
	etcdtest.Eventually(t, 20*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		members, err := l.members(ctx)
		if err == nil && slices.ContainsFunc(members, func(m member) bool { return m.name != "main-3" && !m.answers }) {
			err = fmt.Errorf("members are %+v", members)
		}
		return err
	})
	if got := look(membersGrace - 1); got != 3 {
		t.Errorf("%d members are left of 3 within the time of grace", got)
	}
	if got := look(membersGrace); got != 2 {
		t.Errorf("%d members are left, want 2", got)
	}
}

func TestSurplusMembers(t *testing.T) {
	t.Parallel()
	d := testDeployment(2, 3) // with main-1
	s := state{deployment: &d, nodes: []api.NodeRecord{{Identity: testNode(api.RoleMain, 2, 10)}}}
	gone := member{id: 9, name: "main-9"}
	got := s.surplus([]member{
		{id: 1, name: "main-1"}, {id: 2, name: "main-2"}, {id: 3, name: "main-3", answers: true}, {id: 4, name: "https://198.18.0.14:2380", learner: true}, gone,
	})
	if !slices.Equal(got, []member{gone}) {
		t.Errorf("surplus are %+v", got)
	}
	s.deployment = nil
	if got := s.surplus([]member{gone}); len(got) > 0 {
		t.Errorf("before anything is deployed surplus are %+v", got)
	}
}
