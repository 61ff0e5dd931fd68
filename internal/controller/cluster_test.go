package controller

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/discovery/etcdtest"
	"devctl/internal/pki"
	"devctl/internal/redis"
	"devctl/internal/snapshot"
	"devctl/internal/version"
)

// cluster is the control plane of a stack on loopback: etcd as in production (mTLS for clients and peers), and
// controllers. Main nodes differ by their ports only.
type cluster struct {
	t         *testing.T
	ca        pki.Pair
	dir       string // of ca.crt, ca.key, controller.crt, controller.key
	members   []*etcdtest.Member
	mains     []api.Peer
	endpoints []string // etcd URLs
	apis      []string // host:port of the controllers
	snapshots snapshot.Dir
	workers   Workers
}

const testStack = "test"

// newCluster starts etcd members, and no controller yet.
func newCluster(t *testing.T, size int) *cluster {
	t.Helper()
	ca, err := pki.NewAuthority(testStack, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, ca: ca, dir: t.TempDir()}
	c.store("ca", ca)
	c.store("etcd", c.issue("etcd", "devctl:etcd"))
	c.store("controller", c.issue(rootUser, "devctl:controller"))
	file := func(name string) string { return filepath.Join(c.dir, name) }
	for i := range size {
		m := etcdtest.New(t, fmt.Sprintf("main-%d", i+1))
		m.Client = strings.Replace(m.Client, "http:", "https:", 1)
		m.Peer = strings.Replace(m.Peer, "http:", "https:", 1)
		m.Args = []string{
			"--client-cert-auth", "--trusted-ca-file=" + file("ca.crt"), "--cert-file=" + file("etcd.crt"), "--key-file=" + file("etcd.key"),
			"--peer-client-cert-auth", "--peer-trusted-ca-file=" + file("ca.crt"), "--peer-cert-file=" + file("etcd.crt"), "--peer-key-file=" + file("etcd.key"),
		}
		c.members = append(c.members, m)
		c.mains = append(c.mains, api.Peer{Name: m.Name, Address: "127.0.0.1"})
		c.endpoints = append(c.endpoints, m.Client)
	}
	for _, m := range c.members {
		m.Env = []string{"ETCD_INITIAL_CLUSTER=" + etcdtest.InitialCluster(c.members...), "ETCD_INITIAL_CLUSTER_STATE=new"}
		m.Start()
	}
	cli := c.etcd(c.load("controller"))
	etcdtest.Eventually(t, 30*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := cli.Get(ctx, "health")
		return err
	})
	return c
}

func (c *cluster) store(name string, p pki.Pair) {
	c.t.Helper()
	if err := p.Store(c.dir, name); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) load(name string) pki.Pair {
	c.t.Helper()
	p, err := pki.Load(c.dir, name)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// issue makes a certificate for both ends of a connection.
func (c *cluster) issue(commonName, organization string) pki.Pair {
	c.t.Helper()
	p, err := c.ca.Issue(pki.Profile{
		CommonName: commonName, Organization: organization, Addresses: []string{"127.0.0.1", "localhost"}, Server: true, Client: true,
	}, time.Now())
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

func (c *cluster) clientTLS(p pki.Pair) *tls.Config {
	c.t.Helper()
	config, err := pki.ClientTLS(c.ca.Cert, p)
	if err != nil {
		c.t.Fatal(err)
	}
	return config
}

// etcd is a client of etcd with the given certificate.
func (c *cluster) etcd(p pki.Pair) *clientv3.Client {
	c.t.Helper()
	cli, err := discovery.Dial(c.endpoints, c.clientTLS(p))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = cli.Close() })
	return cli
}

// admin is a client of the controllers, as the CLI has it.
func (c *cluster) admin() *api.Client {
	c.t.Helper()
	cli := api.NewClient(c.apis, c.clientTLS(c.issue("admin", "devctl:admin")))
	c.t.Cleanup(cli.Close)
	return cli
}

// control starts the controller of a main node (counted from 1) and returns how to stop it.
func (c *cluster) control(main int, reconcile reconcileRedis) (stop func()) {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	c.apis = append(c.apis, l.Addr().String())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	var kept Snapshots
	if c.snapshots != "" {
		kept = c.snapshots
	}
	go func() {
		ended <- run(ctx, Config{
			Identity: api.Identity{Stack: testStack, Name: fmt.Sprintf("main-%d", main), Role: api.RoleMain, Zone: "a", Address: "127.0.0.1"},
			Mains:    c.mains, EtcdEndpoints: c.endpoints, CADir: c.dir, CertDir: c.dir, Snapshots: kept, Workers: c.workers,
			Log: slog.New(slog.NewTextHandler(testLog{c.t}, nil)).With("main", main),
		}, l, reconcile)
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				c.t.Errorf("controller %d ended with %v", main, err)
			}
		})
	}
	c.t.Cleanup(stop)
	return stop
}

// testLog writes a daemon's log to the test's.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// answer is what the API said.
type answer struct {
	status int
	header http.Header
	body   string
}

// request is one raw request to the first controller.
type request struct {
	method, path string
	body         any // a string goes as it is
	cert         pki.Pair
	from         string // source address, "" for the usual one
	header       map[string]string
}

func (c *cluster) do(r request) (answer, error) {
	c.t.Helper()
	var body []byte
	switch b := r.body.(type) {
	case nil:
	case string:
		body = []byte(b)
	default:
		var err error
		if body, err = json.Marshal(b); err != nil {
			c.t.Fatal(err)
		}
	}
	dialer := &net.Dialer{}
	if r.from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(r.from)}
	}
	config := c.clientTLS(c.load("controller"))
	config.Certificates, config.GetClientCertificate = nil, nil
	if r.cert.Cert != "" {
		config = c.clientTLS(r.cert)
	}
	transport := &http.Transport{TLSClientConfig: config, DialContext: dialer.DialContext}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, "https://"+c.apis[0]+r.path, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set(api.VersionHeader, version.Version)
	req.Header.Set("Content-Type", "application/json")
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	if r.path == api.PathEvents && resp.StatusCode == http.StatusOK {
		return answer{status: resp.StatusCode, header: resp.Header}, nil // it never ends by itself
	}
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}, err
}

// join gives a node its certificate through the API.
func (c *cluster) join(id api.Identity) (pki.Pair, answer) {
	c.t.Helper()
	csr, key, err := pki.NewRequest(id.Name)
	if err != nil {
		c.t.Fatal(err)
	}
	var got answer
	etcdtest.Eventually(c.t, 20*time.Second, func() error {
		got, err = c.do(request{
			method: http.MethodPost, path: api.PathJoin, from: id.Address, body: api.JoinRequest{Identity: id, CSR: csr},
			cert: c.issue("bootstrap-"+string(id.Role), "devctl:bootstrap"),
		})
		if err == nil && got.status == http.StatusServiceUnavailable {
			err = fmt.Errorf("join: %s", got.body)
		}
		return err
	})
	var resp api.JoinResponse
	if got.status == http.StatusOK {
		if err := json.Unmarshal([]byte(got.body), &resp); err != nil {
			c.t.Fatal(err)
		}
	}
	return pki.Pair{Cert: resp.Certificate, Key: key}, got
}

// wholeRedis stands in for Redis: the cluster forms in two steps, and is whole when every member is ready.
func wholeRedis() reconcileRedis {
	var mu sync.Mutex
	slots := 0
	return func(_ context.Context, spec api.RedisSpec, members []redis.Member, creds redis.Credentials) (api.RedisStatus, []string, error) {
		mu.Lock()
		defer mu.Unlock()
		if creds != (redis.Credentials{User: api.RedisUserAdmin, Password: "geheim"}) {
			return api.RedisStatus{}, nil, fmt.Errorf("wrong credentials of %q", creds.User)
		}
		ready := 0
		for _, m := range members {
			if m.Ready {
				ready++
			}
		}
		if ready < len(members) && slots == 0 {
			return api.RedisStatus{State: "forming", Problems: []string{fmt.Sprintf("%d of %d members are ready", ready, len(members))}}, nil, nil
		}
		if slots < redisSlots {
			slots += redisSlots / 2
			return api.RedisStatus{State: "forming", SlotsAssigned: slots, Problems: []string{"slots are being assigned"}}, []string{"slots assigned"}, nil
		}
		return api.RedisStatus{State: "ok", SlotsAssigned: slots, Primaries: spec.Shards, Replicas: ready - spec.Shards}, nil, nil
	}
}

// deployment is the default stack's, on loopback addresses.
func testDeployment(workers, data int) api.Deployment {
	d := api.Deployment{
		Stack:    testStack,
		Redis:    api.RedisSpec{Shards: 3, Replicas: 1, MaxMemory: 64 << 20, NodeTimeoutMS: 2000},
		Balancer: api.BalancerSpec{Instances: 2, Port: 7010, StatsPort: 7020},
		Endpoint: api.EndpointSpec{Address: "198.18.0.10", Prefix: 24, RouterID: 7},
		Images:   api.ServiceImages{Redis: "redis:1", HAProxy: "haproxy:1", Keepalived: "keepalived:1"},
	}
	add := func(role api.Role, count, base int) {
		for i := range count {
			d.Nodes = append(d.Nodes, testNode(role, i+1, base))
		}
	}
	add(api.RoleData, data, 100)
	add(api.RoleMain, 1, 10)
	add(api.RoleWorker, workers, 20)
	return d
}

func testNode(role api.Role, n, base int) api.Identity {
	return api.Identity{Stack: testStack, Role: role, Name: fmt.Sprintf("%s-%d", role, n),
		Zone: string(rune('a' + (n-1)%3)), Address: fmt.Sprintf("127.0.0.%d", base+n)}
}

var testSecrets = map[string]string{
	api.SecretRedisAdmin: "geheim", api.SecretRedisApp: "app", api.SecretRedisCheck: "check",
	api.SecretRedisReplication: "repl", api.SecretStats: "stats",
}
