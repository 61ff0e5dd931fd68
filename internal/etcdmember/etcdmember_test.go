package etcdmember_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/discovery/etcdtest"
	"devctl/internal/etcdmember"
)

// cluster is a set of main nodes.
type cluster struct {
	t       *testing.T
	members []*etcdtest.Member
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t}
	for i := range 3 {
		c.members = append(c.members, etcdtest.New(t, fmt.Sprintf("main-%d", i+1)))
	}
	return c
}

func (c *cluster) config(i int, found bool) etcdmember.Config {
	cfg := etcdmember.Config{
		Name: c.members[i].Name, Found: found, TLS: c.members[i].TLS, PeerTLS: c.members[i].PeerTLS, Log: slog.New(slog.DiscardHandler),
		DataDir: c.members[i].DataDir, EnvFile: filepath.Join(filepath.Dir(c.members[i].DataDir), "etcd.env"),
	}
	for _, m := range c.members {
		cfg.Members = append(cfg.Members, etcdmember.Member{Name: m.Name, Client: m.Client, Peer: m.Peer})
	}
	return cfg
}

// boot does what etcd.service does. It returns the environment that Prepare has chosen.
func (c *cluster) boot(i int, found bool) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cfg := c.config(i, found)
	if err := etcdmember.Prepare(ctx, cfg); err != nil {
		c.t.Fatal(err)
	}
	env, err := os.ReadFile(cfg.EnvFile)
	if err != nil {
		c.t.Fatal(err)
	}
	c.members[i].Env = strings.Fields(string(env))
	c.members[i].Start()
	return string(env)
}

func (c *cluster) found() {
	c.t.Helper()
	for i := range c.members {
		c.boot(i, true)
	}
	for _, m := range c.members {
		m.WaitHealthy()
	}
}

func (c *cluster) loseDisk(i int) {
	c.t.Helper()
	c.members[i].Stop()
	if err := os.RemoveAll(c.members[i].DataDir); err != nil {
		c.t.Fatal(err)
	}
}

// promoting runs the loop that the agent of a main node runs.
func (c *cluster) promoting(i int) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- etcdmember.Promote(ctx, c.config(i, false)) }()
	c.t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			c.t.Errorf("promotion ended by itself: %v", err)
		}
	})
}

// voters waits until all members are started voters.
func (c *cluster) voters(cli *clientv3.Client) {
	c.t.Helper()
	etcdtest.Eventually(c.t, 30*time.Second, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		resp, err := cli.MemberList(ctx)
		if err != nil {
			return err
		}
		voters := 0
		for _, m := range resp.Members {
			if !m.IsLearner && len(m.ClientURLs) > 0 {
				voters++
			}
		}
		if voters != len(c.members) || len(resp.Members) != len(c.members) {
			return fmt.Errorf("%d voters of %d members: %v", voters, len(resp.Members), resp.Members)
		}
		return nil
	})
}

func put(t *testing.T, cli *clientv3.Client, key string) {
	t.Helper()
	etcdtest.Eventually(t, 10*time.Second, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := cli.Put(ctx, key, "1")
		return err
	})
}

// holds checks that a member, asked alone, has key.
func holds(t *testing.T, m *etcdtest.Member, key string) {
	t.Helper()
	cli := etcdtest.Dial(t, m)
	etcdtest.Eventually(t, 10*time.Second, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		resp, err := cli.Get(ctx, key)
		if err == nil && len(resp.Kvs) == 0 {
			err = fmt.Errorf("%s has no %s", m.Name, key)
		}
		return err
	})
}

func TestFoundAndRestart(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	want := "ETCD_INITIAL_CLUSTER=" + etcdtest.InitialCluster(c.members...) + "\nETCD_INITIAL_CLUSTER_STATE=new\n"
	for i := range 2 {
		if got := c.boot(i, true); got != want {
			t.Errorf("environment of a founder is %q, want %q", got, want)
		}
	}
	// Two of three are a quorum. The third founder comes late, finds a cluster that waits for it, and is no
	// stranger to it.
	c.members[0].WaitHealthy()
	if got := c.boot(2, true); got != want {
		t.Errorf("environment of a late founder is %q, want %q", got, want)
	}
	cli := etcdtest.Dial(t, c.members...)
	c.voters(cli)
	put(t, cli, "kept")

	for _, m := range c.members {
		m.Stop()
	}
	for i := range c.members { // nobody answers the first: its data is enough
		if got := c.boot(i, i == 0); got != "" {
			t.Errorf("environment of a restart is %q, want nothing", got)
		}
	}
	holds(t, c.members[2], "kept")
}

// TestFirstFounderGoesAhead: founders that begin at once do not wait for one another's etcd, which takes connections before it
// answers: all but the first are given an environment when one answers.
func TestFirstFounderGoesAhead(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	authority := etcdtest.NewAuthority(t)
	for _, m := range c.members {
		m.Secure(authority)
	}
	answers := &http.Client{Transport: &http.Transport{TLSClientConfig: c.members[0].PeerTLS}, Timeout: 5 * time.Second}
	defer answers.CloseIdleConnections()
	prepared := make(chan error)
	for _, i := range []int{1, 2} {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			err := etcdmember.Prepare(ctx, c.config(i, true))
			if err == nil {
				var response *http.Response
				if response, err = answers.Get(c.members[0].Peer + "/members"); err == nil {
					err = response.Body.Close()
				}
			}
			prepared <- err
		}()
	}
	c.boot(0, true)
	for range 2 {
		if err := <-prepared; err != nil {
			t.Errorf("the first founder, when another one was to start: %v", err)
		}
	}
	c.boot(1, true)
	c.boot(2, true)
	c.voters(etcdtest.Dial(t, c.members...))
}

// TestFoundersWithoutTheFirst: a first founder that does not come keeps nobody from founding.
func TestFoundersWithoutTheFirst(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	want := "ETCD_INITIAL_CLUSTER=" + etcdtest.InitialCluster(c.members...) + "\nETCD_INITIAL_CLUSTER_STATE=new\n"
	for _, i := range []int{1, 2} {
		if got := c.boot(i, true); got != want {
			t.Errorf("environment of main-%d is %q, want %q", i+1, got, want)
		}
	}
	c.members[1].WaitHealthy()
	c.boot(0, true)
	c.voters(etcdtest.Dial(t, c.members...))
}

func TestLostDiskRejoins(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		found bool // whether the machine still has the permission to found
		auth  bool // certificates everywhere, and only root may change members
		lost  int
	}{
		{"replaced machine", false, false, 2},
		{"founder that restarts", true, false, 2},
		{"authentication on, first member", false, true, 0},
		{"authentication on, last member", false, true, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			if tc.auth {
				authority := etcdtest.NewAuthority(t)
				for _, m := range c.members {
					m.Secure(authority)
				}
			}
			c.found()
			lost := c.members[tc.lost]
			cli := etcdtest.Dial(t, slices.DeleteFunc(slices.Clone(c.members), func(m *etcdtest.Member) bool { return m == lost })...)
			c.voters(cli)
			if tc.auth {
				etcdtest.EnableAuth(t, cli)
			}
			put(t, cli, "kept")
			before, err := cli.MemberList(context.Background())
			if err != nil {
				t.Fatal(err)
			}

			c.loseDisk(tc.lost)
			env := c.boot(tc.lost, tc.found)
			if !strings.HasSuffix(env, "\nETCD_INITIAL_CLUSTER_STATE=existing\n") {
				t.Errorf("environment is %q, want that of an existing cluster", env)
			}
			c.promoting(tc.lost)
			c.voters(cli)
			holds(t, lost, "kept")
			after, err := cli.MemberList(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if before.Header.ClusterId != after.Header.ClusterId {
				t.Errorf("cluster %x has become %x", before.Header.ClusterId, after.Header.ClusterId)
			}
			for _, old := range before.Members {
				for _, now := range after.Members {
					if old.Name == lost.Name && now.ID == old.ID {
						t.Errorf("the member that lost its data is still there: %v", now)
					}
				}
			}
		})
	}
}

// TestLeaderThatNobodyNamed: a main node that is replaced joins under a leader that its configuration does not know.
func TestLeaderThatNobodyNamed(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.found()
	cli := etcdtest.Dial(t, c.members...)
	c.voters(cli)
	members, err := cli.MemberList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members.Members { // whoever leads gives the lead to the second
		if m.Name != c.members[1].Name {
			continue
		}
		for _, from := range c.members {
			direct := etcdtest.Dial(t, from)
			status, err := direct.Status(t.Context(), from.Client)
			if err != nil {
				t.Fatal(err)
			}
			if status.Header.MemberId == status.Leader && status.Leader != m.ID {
				if _, err := direct.MoveLeader(t.Context(), m.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	c.loseDisk(2)
	c.boot(2, false)
	narrow := c.config(2, false)
	narrow.Members = slices.Delete(narrow.Members, 1, 2)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- etcdmember.Promote(ctx, narrow) }()
	c.voters(cli)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("promotion ended by itself: %v", err)
	}
}

func TestLearnerThatNeverStartedIsUsed(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.found()
	c.loseDisk(2)
	first, second := c.config(2, false), c.config(2, false)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := etcdmember.Prepare(ctx, first); err != nil {
		t.Fatal(err)
	}
	cli := etcdtest.Dial(t, c.members[0], c.members[1])
	before, err := cli.MemberList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// The machine dies before etcd starts, with half a data directory.
	if err := os.MkdirAll(filepath.Join(second.DataDir, "member", "snap"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := etcdmember.Prepare(ctx, second); err != nil {
		t.Fatal(err)
	}
	after, err := cli.MemberList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(after.Members), fmt.Sprint(before.Members); got != want {
		t.Errorf("members are %v, want %v", got, want)
	}
	if _, err := os.Stat(filepath.Join(second.DataDir, "member")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("leftovers of a failed start are still there: %v", err)
	}
	c.boot(2, false)
	c.promoting(2)
	c.voters(cli)
}

func TestRemovedMemberComesBackAsLearner(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.found()
	cli := etcdtest.Dial(t, c.members[0], c.members[1])
	c.voters(cli)
	c.members[2].Stop()
	resp, err := cli.MemberList(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range resp.Members {
		if m.Name == "main-3" {
			if _, err := cli.MemberRemove(context.Background(), m.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(t, cli, "kept")
	c.boot(2, true)
	c.promoting(2)
	c.voters(cli)
	holds(t, c.members[2], "kept")
}

func TestNoAnswerFormsNoCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.found()
	c.voters(etcdtest.Dial(t, c.members...))
	c.loseDisk(1)
	c.loseDisk(2)
	if err := os.Remove(c.config(2, false).EnvFile); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		found bool
		alone bool // whether nobody answers at all
	}{
		{"a founder that lost its disk, and no quorum", true, false},
		{"a new machine, and no quorum", false, false},
		{"a new machine, and nobody there", false, true},
	} {
		if tc.alone {
			c.members[0].Stop()
		}
		cfg := c.config(2, tc.found)
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		err := etcdmember.Prepare(ctx, cfg)
		cancel()
		if want := "join the etcd cluster: context deadline exceeded"; err == nil || err.Error() != want {
			t.Errorf("%s: got error %v, want %s", tc.name, err, want)
		}
		if _, err := os.Stat(cfg.EnvFile); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: etcd was given an environment to start with", tc.name)
		}
	}
}

func TestUnknownName(t *testing.T) {
	t.Parallel()
	err := etcdmember.Prepare(context.Background(), etcdmember.Config{Name: "main-9", Members: etcdmember.Members([]api.Peer{{Name: "main-1", Address: "198.18.0.11"}})})
	if want := `"main-9" is not among the main nodes [{main-1 https://198.18.0.11:2379 https://198.18.0.11:2380}]`; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}
