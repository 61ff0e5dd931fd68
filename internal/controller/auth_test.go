package controller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/discovery/etcdtest"
	"devctl/internal/pki"
)

func get(t *testing.T, cli *clientv3.Client, key string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	resp, err := cli.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

func hasKey(cli *clientv3.Client, key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	resp, err := cli.Get(ctx, key)
	if err == nil && len(resp.Kvs) == 0 {
		err = fmt.Errorf("there is no %s", key)
	}
	return err
}

// authOn waits until etcd asks who one is.
func (c *cluster) authOn() {
	c.t.Helper()
	root := c.etcd(c.load("controller"))
	etcdtest.Eventually(c.t, 30*time.Second, func() error {
		ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
		defer cancel()
		st, err := root.AuthStatus(ctx)
		if err == nil && !st.Enabled {
			err = errors.New("etcd's authentication is off")
		}
		return err
	})
}

// TestWhoMayDoWhatInEtcd tries to read and write every kind of key with every kind of certificate.
func TestWhoMayDoWhatInEtcd(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.control(1, wholeRedis())
	worker, _ := c.join(testNode(api.RoleWorker, 1, 20))
	data, _ := c.join(testNode(api.RoleData, 1, 100))
	c.authOn()
	holders := []string{"root", "worker-1", "data-1", "main-1"}
	clients := map[string]*clientv3.Client{
		"root": c.etcd(c.load("controller")), "worker-1": c.etcd(worker), "data-1": c.etcd(data),
		"main-1": c.etcd(c.issue("main-1", "devctl:main")),
	}
	// What each holder may do, in the order of holders: r, w, rw, or - for nothing.
	keys := []struct {
		key  string
		want [4]string
	}{
		{discovery.NodeKey("worker-1"), [4]string{"rw", "rw", "r", "r"}},
		{discovery.NodeKey("worker-10"), [4]string{"rw", "r", "r", "r"}},
		{discovery.NodeKey("data-1"), [4]string{"rw", "r", "rw", "r"}},
		{discovery.NodeKey("main-1"), [4]string{"rw", "r", "r", "rw"}},
		{discovery.ObservedKey("worker-1", "haproxy.service"), [4]string{"rw", "rw", "-", "-"}},
		{discovery.ObservedKey("worker-10", "haproxy.service"), [4]string{"rw", "-", "-", "-"}},
		{discovery.ObservedKey("data-1", "redis-1.service"), [4]string{"rw", "-", "rw", "-"}},
		{discovery.AssignmentKey("worker-1", "haproxy.service"), [4]string{"rw", "r", "-", "-"}},
		{discovery.AssignmentKey("data-1", "redis-1.service"), [4]string{"rw", "-", "r", "-"}},
		{discovery.DeploymentKey, [4]string{"rw", "-", "-", "-"}},
		{discovery.ElectionKey + "/1", [4]string{"rw", "-", "-", "-"}},
		{discovery.EndpointKey + "/1", [4]string{"rw", "rw", "-", "-"}},
		{eventKey(1), [4]string{"rw", "-", "-", "-"}},
		{discovery.ToldKey, [4]string{"rw", "-", "-", "-"}},
		{discovery.RedisKey, [4]string{"rw", "-", "-", "-"}},
		{discovery.SecretKey(api.SecretRedisAdmin), [4]string{"rw", "-", "r", "-"}},
		{discovery.SecretKey(api.SecretRedisApp), [4]string{"rw", "-", "r", "-"}},
		{discovery.SecretKey(api.SecretRedisReplication), [4]string{"rw", "-", "r", "-"}},
		{discovery.SecretKey(api.SecretRedisCheck), [4]string{"rw", "r", "r", "-"}},
		{discovery.SecretKey(api.SecretStats), [4]string{"rw", "r", "-", "-"}},
		{discovery.SecretKey(api.SecretDigitalOcean), [4]string{"rw", "r", "-", "-"}},
		{"/elsewhere", [4]string{"rw", "-", "-", "-"}},
	}
	for _, k := range keys {
		for i, holder := range holders {
			got := rights(t, clients[holder], k.key)
			if got != k.want[i] {
				t.Errorf("%s has %s on %s, want %s", holder, got, k.key, k.want[i])
			}
		}
	}
	for _, holder := range holders[1:] {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := clients[holder].UserAddWithOptions(ctx, "evil", "", &clientv3.UserAddOptions{NoPassword: true}); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("%s adds a user: %v", holder, err)
		}
		if _, err := clients[holder].AuthDisable(ctx); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("%s turns authentication off: %v", holder, err)
		}
		if _, err := clients[holder].Get(ctx, "/", clientv3.WithPrefix()); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("%s reads everything: %v", holder, err)
		}
		cancel()
	}
}

// rights tries what may be done with a key.
func rights(t *testing.T, cli *clientv3.Client, key string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out := ""
	_, err := cli.Get(ctx, key)
	switch {
	case err == nil:
		out += "r"
	case !errors.Is(err, rpctypes.ErrPermissionDenied):
		t.Errorf("read %s: %v", key, err)
	}
	_, err = cli.Delete(ctx, key)
	switch {
	case err == nil:
		out += "w"
	case !errors.Is(err, rpctypes.ErrPermissionDenied):
		t.Errorf("write %s: %v", key, err)
	}
	if out == "" {
		return "-"
	}
	return out
}

// TestStrangersGetNothingFromEtcd: certificates of the stack that are no user, another stack's, and none.
func TestStrangersGetNothingFromEtcd(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.control(1, wholeRedis())
	c.authOn()
	other, err := pki.NewAuthority(testStack, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.Issue(pki.Profile{CommonName: rootUser, Organization: "devctl:controller", Client: true}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	strangers := map[string]*clientv3.Client{
		"admin":               c.etcd(c.issue("admin", orgAdmin)),
		"bootstrap":           c.etcd(c.issue("bootstrap-data", orgBootstrap)),
		"a node never joined": c.etcd(c.issue("data-9", "devctl:data")),
		"another stack's":     c.etcd(foreign),
	}
	none := c.clientTLS(foreign)
	none.Certificates, none.GetClientCertificate = nil, nil
	anonymous, err := discovery.Dial(c.endpoints, none)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = anonymous.Close() })
	strangers["nobody"] = anonymous
	for name, cli := range strangers {
		for _, key := range []string{discovery.DeploymentKey, discovery.NodeKey("data-9"), discovery.SecretKey(api.SecretRedisApp)} {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			if _, err := cli.Get(ctx, key); err == nil {
				t.Errorf("%s reads %s", name, key)
			}
			if _, err := cli.Put(ctx, key, "x"); err == nil {
				t.Errorf("%s writes %s", name, key)
			}
			cancel()
		}
	}
}

// TestAuthIsRepaired: grants that are missing or too many are put right by the next leader, and what is right stays.
func TestAuthIsRepaired(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	stop := c.control(1, wholeRedis())
	c.authOn()
	stop()
	root := c.etcd(c.load("controller"))
	con := &controller{etcd: root, mains: c.mains}
	if _, err := root.RoleGrantPermission(t.Context(), "node-main-1", discovery.DeploymentKey, "", clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
		t.Fatal(err)
	}
	if _, err := root.RoleRevokePermission(t.Context(), "node-main-1", discovery.NodeKey("main-1"), ""); err != nil {
		t.Fatal(err)
	}
	if err := con.ensureNodeUser(t.Context(), "main-1", api.RoleMain); err != nil {
		t.Fatal(err)
	}
	main1 := c.etcd(c.issue("main-1", "devctl:main"))
	if got := rights(t, main1, discovery.DeploymentKey); got != "-" {
		t.Errorf("main-1 still has %s on the deployment", got)
	}
	if got := rights(t, main1, discovery.NodeKey("main-1")); got != "rw" {
		t.Errorf("main-1 has %s on its record", got)
	}
	before, err := root.AuthStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := con.ensureNodeUser(t.Context(), "main-1", api.RoleMain); err != nil {
		t.Fatal(err)
	}
	after, err := root.AuthStatus(t.Context())
	if err != nil || after.AuthRevision != before.AuthRevision {
		t.Errorf("nothing was wrong, and yet the revision of users and roles went from %d to %d (%v)", before.AuthRevision, after.AuthRevision, err)
	}
}
