package controller

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"devctl/internal/api"
	"devctl/internal/discovery/etcdtest"
	"devctl/internal/snapshot"
)

func TestSnapshotDue(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		age            time.Duration
		taken, changed bool
		want           bool
	}{
		"nothing has changed":   {14 * time.Minute, true, false, false},
		"nothing, for too long": {15 * time.Minute, true, false, true},
		"a change":              {11 * time.Second, true, true, true},
		"a change, too soon":    {9 * time.Second, true, true, false},
		"a new leader":          {time.Second, false, true, true},
		"a change never done":   {15 * time.Minute, false, false, true},
		"a change not yet done": {time.Minute, false, false, false},
	} {
		if got := snapshotDue(tc.age, tc.taken, tc.changed); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// TestSnapshots wants one as soon as what is deployed runs, and one for whoever asks.
func TestSnapshots(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.snapshots = snapshot.Dir(filepath.Join(t.TempDir(), "snapshots"))
	c.control(1, wholeRedis())
	cli := c.admin()
	d := testDeployment(2, 3)
	for _, n := range d.Nodes {
		cert := c.issue(n.Name, "devctl:main")
		if n.Role != api.RoleMain {
			cert, _ = c.join(n)
		}
		startAgent(t, c, n, cert)
	}
	if _, err := cli.Deploy(t.Context(), api.DeployRequest{Deployment: d, Secrets: testSecrets}); err != nil {
		t.Fatal(err)
	}
	var kept []snapshot.Info
	etcdtest.Eventually(t, 30*time.Second, func() (err error) {
		if kept, err = c.snapshots.List(); err == nil && len(kept) == 0 {
			err = errors.New("there is no snapshot")
		}
		return err
	})
	found, err := snapshot.Check(filepath.Join(string(c.snapshots), snapshot.Data(kept[0].Name)))
	if err != nil || found.SHA256 != kept[0].SHA256 || kept[0].Revision == 0 {
		t.Errorf("the snapshot is %+v (%v), and was meant to be %+v", found, err, kept[0])
	}

	var arrived bytes.Buffer
	revision, err := cli.Snapshot(t.Context(), &arrived)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Write(filepath.Join(t.TempDir(), "snapshot.db"), bytes.NewReader(arrived.Bytes())); err != nil {
		t.Error(err)
	}
	if revision < kept[0].Revision {
		t.Errorf("the later snapshot is of revision %d, the earlier one of %d", revision, kept[0].Revision)
	}
	if !bytes.Contains(arrived.Bytes(), []byte(testSecrets[api.SecretStats])) {
		t.Error("the deployment's secrets are not in it")
	}

	c.members[0].Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if _, err := cli.Snapshot(ctx, &bytes.Buffer{}); err == nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without etcd a snapshot gives %v", err)
	}
}
