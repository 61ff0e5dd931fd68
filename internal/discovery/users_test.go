package discovery_test

import (
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"devctl/internal/discovery"
	"devctl/internal/discovery/etcdtest"
)

// TestWritesWhileUsersChange: etcd refuses what was under way when a user changed, and nobody who dials with Dial notices.
func TestWritesWhileUsersChange(t *testing.T) {
	t.Parallel()
	m := etcdtest.New(t, "main-1")
	m.Secure(etcdtest.NewAuthority(t))
	m.Env = []string{"ETCD_INITIAL_CLUSTER=" + m.Name + "=" + m.Peer, "ETCD_INITIAL_CLUSTER_STATE=new"}
	m.Start()
	m.WaitHealthy()
	cli, err := discovery.Dial([]string{m.Client}, m.TLS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cli.Close() })
	etcdtest.EnableAuth(t, cli)
	var all errgroup.Group
	for i := range 4 {
		all.Go(func() error {
			for k := range 50 {
				if _, err := cli.RoleAdd(t.Context(), fmt.Sprintf("role-%d-%d", i, k)); err != nil {
					return err
				}
			}
			return nil
		})
		all.Go(func() error {
			for k := range 50 {
				if _, err := cli.Put(t.Context(), fmt.Sprintf("/key/%d/%d", i, k), "x"); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
	keys, err := cli.Get(t.Context(), "/key/", clientv3.WithPrefix())
	if err != nil || keys.Count != 200 {
		t.Errorf("%d of 200 keys, error %v", keys.Count, err)
	}
	roles, err := cli.RoleList(t.Context())
	if err != nil || len(roles.Roles) != 201 { // and root
		t.Errorf("%d of 201 roles, error %v", len(roles.Roles), err)
	}
}
