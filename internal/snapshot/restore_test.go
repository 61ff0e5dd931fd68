package snapshot_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/discovery/etcdtest"
	"devctl/internal/snapshot"
)

// founded runs a cluster of three members with certificates and authentication.
func founded(t *testing.T) []*etcdtest.Member {
	t.Helper()
	authority := etcdtest.NewAuthority(t)
	var members []*etcdtest.Member
	for i := range 3 {
		m := etcdtest.New(t, fmt.Sprintf("main-%d", i+1))
		m.Secure(authority)
		members = append(members, m)
	}
	for _, m := range members {
		m.Env = []string{"ETCD_INITIAL_CLUSTER=" + etcdtest.InitialCluster(members...), "ETCD_INITIAL_CLUSTER_STATE=new"}
		m.Start()
	}
	for _, m := range members {
		m.WaitHealthy()
	}
	etcdtest.EnableAuth(t, etcdtest.Dial(t, members...))
	return members
}

// TestAllMembersLost loses every member with its data, and wants everything back from a snapshot: what was written, who may
// write, leases that end, and a past that nobody can mistake for the present.
func TestAllMembersLost(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	members := founded(t)
	cli := etcdtest.Dial(t, members...)
	lease, err := cli.Grant(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	for key, opts := range map[string][]clientv3.OpOption{"kept": nil, "leased": {clientv3.WithLease(lease.ID)}} {
		if _, err := cli.Put(ctx, key, "1", opts...); err != nil {
			t.Fatal(err)
		}
	}
	before, err := cli.MemberList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := cli.SnapshotWithVersion(ctx)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "snapshot.db")
	if _, err := snapshot.Write(file, taken.Snapshot); err != nil {
		t.Fatal(err)
	}
	forgotten, err := cli.Put(ctx, "written after it", "1")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		m.Stop()
		if err := os.RemoveAll(m.DataDir); err != nil {
			t.Fatal(err)
		}
	}

	r := snapshot.Restoration{Etcdutl: etcdtest.Binary(t, "etcdutl"), File: file, Token: "again"}
	for _, m := range members {
		r.Members = append(r.Members, snapshot.Member{Name: m.Name, Peer: m.Peer})
	}
	for i, m := range members {
		if err := r.Restore(ctx, r.Members[i], m.DataDir); err != nil {
			t.Fatal(err)
		}
		m.Env = nil // the data says it all
		m.Start()
	}
	for _, m := range members {
		m.WaitHealthy()
	}
	cli = etcdtest.Dial(t, members...)
	after, err := cli.MemberList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(after.Members) != 3 || after.Header.ClusterId == before.Header.ClusterId {
		t.Errorf("cluster %x of %d members came after cluster %x", after.Header.ClusterId, len(after.Members), before.Header.ClusterId)
	}
	kept, err := cli.Get(ctx, "kept")
	if err != nil || len(kept.Kvs) != 1 {
		t.Fatalf("what was written is not there: %v", err)
	}
	if kept.Header.Revision <= forgotten.Header.Revision+1e8 {
		t.Errorf("revision %d comes after %d", kept.Header.Revision, forgotten.Header.Revision)
	}
	if got, err := cli.Get(ctx, "written after it"); err != nil || len(got.Kvs) != 0 {
		t.Errorf("what the snapshot cannot have is there: %v, %v", got, err)
	}
	// Whoever watched the old cluster is told to look again, and does not wait for revisions that never come.
	watched := <-cli.Watch(ctx, "kept", clientv3.WithRev(forgotten.Header.Revision))
	if !errors.Is(watched.Err(), rpctypes.ErrCompacted) {
		t.Errorf("a watch of the past gets %v (%v)", watched, watched.Err())
	}
	if status, err := cli.AuthStatus(ctx); err != nil || !status.Enabled {
		t.Errorf("authentication is not on: %v, %v", status, err)
	}
	etcdtest.Eventually(t, 20*time.Second, func() error {
		got, err := cli.Get(ctx, "leased")
		if err == nil && len(got.Kvs) > 0 {
			err = errors.New("a key of a lease that nobody renews is still there")
		}
		return err
	})
}

func TestRestoreOfSomethingElse(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "snapshot.db")
	if err := os.WriteFile(file, content('a', 3), 0o600); err != nil {
		t.Fatal(err)
	}
	r := snapshot.Restoration{Etcdutl: etcdtest.Binary(t, "etcdutl"), File: file, Token: "t", Members: []snapshot.Member{{Name: "main-1", Peer: "https://198.18.0.11:2380"}}}
	err := r.Restore(t.Context(), r.Members[0], filepath.Join(t.TempDir(), "data"))
	if want := "make the data of etcd member main-1: exit status "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s…", err, want)
	}
}

func TestPack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "member", "wal"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "member", "wal", "0.wal"), []byte("log"), 0o644); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	if err := snapshot.Pack(&packed, dir, "etcd"); err != nil {
		t.Fatal(err)
	}
	unzipped, err := gzip.NewReader(&packed)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for files := tar.NewReader(unzipped); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s %o %d %q\n", h.Name, h.Mode, h.Uid, text)
	}
	want := "etcd/ 700 0 \"\"\netcd/member/ 700 0 \"\"\netcd/member/wal/ 700 0 \"\"\netcd/member/wal/0.wal 600 0 \"log\"\n"
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}
