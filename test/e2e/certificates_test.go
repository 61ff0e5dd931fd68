package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/pki"
	"devctl/internal/version"
)

// TestCertificatesOpenOnlyTheirOwn is somebody who has taken over a worker or a data node, and uses its keys from there; and
// somebody who has none of the stack's.
func TestCertificatesOpenOnlyTheirOwn(t *testing.T) {
	t.Parallel()
	s := newStack(t, "e2ecert", "198.18.85.0/24")
	s.must(t, 15*time.Minute, "up", "--yes")
	st, ca := s.status(t), s.authority(t)
	worker, data := s.pair(t, "worker-1", "node"), s.pair(t, "data-1", "node")

	t.Run("a node in etcd", func(t *testing.T) {
		tryEtcd(t, s.etcd(t, worker), "worker-1", "worker-2", api.SecretRedisCheck, api.SecretRedisAdmin)
		tryEtcd(t, s.etcd(t, data), "data-1", "worker-1", api.SecretRedisAdmin, api.SecretStats)
	})
	t.Run("a node at the controllers", func(t *testing.T) {
		for name, p := range map[string]pki.Pair{"worker-1": worker, "data-1": data} {
			for _, c := range apiCalls(st, name) {
				got, text := call(t, from(t, st, name, ca, &p), c)
				if want := fmt.Sprintf(`the certificate of \"%s\" may not use this API`, name); got != http.StatusForbidden || !strings.Contains(text, want) {
					t.Errorf("%s gets %d on %s: %s", name, got, c.path, text)
				}
			}
		}
	})
	t.Run("the certificate to join with", func(t *testing.T) { tryJoin(t, st, ca) })
	t.Run("strangers", func(t *testing.T) { tryStrangers(t, s, st, ca) })

	after := s.status(t)
	checkStatus(t, after, 8)
	if after.Deployed != st.Deployed {
		t.Errorf("deployment %s runs, before %s", after.Deployed, st.Deployed)
	}
}

const denied = "permission denied"

// tryEtcd tries what a node may do, so that the rest is known to fail for the right reason, and then all the rest.
func tryEtcd(t *testing.T, cli *clientv3.Client, self, other, granted, withheld string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	own := discovery.ObservedKey(self, "e2e.service")
	if _, err := cli.Put(ctx, own, "{}"); err != nil {
		t.Fatalf("%s cannot write %s: %v", self, own, err)
	}
	if _, err := cli.Delete(ctx, own); err != nil {
		t.Fatal(err)
	}
	records, err := cli.Get(ctx, discovery.NodeKey(other))
	if err != nil || len(records.Kvs) != 1 {
		t.Fatalf("%s cannot read the record of %s: %v", self, other, err)
	}
	if _, err := cli.Get(ctx, discovery.SecretKey(granted)); err != nil {
		t.Fatalf("%s cannot read %s: %v", self, granted, err)
	}

	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), denied) {
			t.Errorf("%s: %s: %v, want %q", self, what, err, denied)
		}
	}
	for _, key := range []string{
		discovery.NodeKey(other), discovery.NodeKey(self + "0"), discovery.ObservedKey(other, "e2e.service"), discovery.DeploymentKey,
		discovery.AssignmentKey(self, "e2e.service"), discovery.AssignmentKey(other, "e2e.service"), discovery.SecretKey(granted),
		discovery.SecretKey(withheld), discovery.ElectionKey + "/1", discovery.EventsPrefix + "1", discovery.RedisKey, "/elsewhere",
	} {
		_, err := cli.Put(ctx, key, "{}")
		refused("write "+key, err)
		_, err = cli.Delete(ctx, key)
		refused("delete "+key, err)
		_, err = cli.Txn(ctx).Then(clientv3.OpPut(own, "{}"), clientv3.OpPut(key, "{}")).Commit()
		refused("write "+key+" in a transaction", err)
	}
	for _, key := range []string{
		discovery.DeploymentKey, discovery.AssignmentKey(other, "haproxy.service"), discovery.SecretKey(withheld), discovery.ObservedKey(other, "haproxy.service"),
	} {
		_, err := cli.Get(ctx, key)
		refused("read "+key, err)
		watch, stop := context.WithCancel(ctx)
		answer := <-cli.Watch(watch, key, clientv3.WithRev(1))
		stop()
		refused("watch "+key, answer.Err())
	}
	for _, prefix := range []string{"", discovery.SecretsPrefix, discovery.AssignmentsPrefix} {
		_, err := cli.Get(ctx, prefix, clientv3.WithPrefix())
		refused("read all below "+prefix, err)
	}
	_, err = cli.Revoke(ctx, clientv3.LeaseID(records.Kvs[0].Lease))
	refused("revoke the lease of "+other, err)
	_, err = cli.AuthDisable(ctx)
	refused("turn authentication off", err)
	_, err = cli.UserGrantRole(ctx, self, "root")
	refused("become root", err)
	_, err = cli.MemberRemove(ctx, 1)
	refused("remove a member", err)
	_, err = cli.SnapshotWithVersion(ctx)
	refused("read a snapshot", err)
}

// apiCall is one request to a controller.
type apiCall struct {
	method, path string
	body         any
}

// apiCalls is everything that the controllers' API can do.
func apiCalls(st api.Status, name string) []apiCall {
	return []apiCall{
		{http.MethodPut, api.PathDeployment, api.DeployRequest{Deployment: api.Deployment{Stack: st.Stack}}},
		{http.MethodGet, api.PathAssignments, nil},
		{http.MethodGet, api.PathStatus, nil},
		{http.MethodGet, api.PathEvents, nil},
		{http.MethodGet, api.PathHealth, nil},
		{http.MethodPost, api.PathJoin, api.JoinRequest{Identity: api.Identity{Stack: st.Stack, Name: name}}},
	}
}

// tryJoin asks with a worker's and a data node's certificate to join for certificates that are another's.
func tryJoin(t *testing.T, st api.Status, ca string) {
	for _, name := range []string{"worker-1", "data-1"} {
		self := node(t, st, name)
		id := docker(t, "exec", self.ID, "cat", api.NodeEnvFile)
		if !strings.Contains(id, name) {
			t.Fatalf("identity of %s: %s", name, id)
		}
		bootstrap := pki.Pair{Cert: docker(t, "exec", self.ID, "cat", api.PKIDir+"/bootstrap.crt"), Key: docker(t, "exec", self.ID, "cat", api.PKIDir+"/bootstrap.key")}
		client := from(t, st, name, ca, &bootstrap)
		for _, c := range apiCalls(st, name)[:5] {
			if got, text := call(t, client, c); got != http.StatusForbidden || !strings.Contains(text, "may not use "+c.path) {
				t.Errorf("%s before it joined gets %d on %s: %s", name, got, c.path, text)
			}
		}
		ask := func(stack, name string, role api.Role, address string) (int, string) {
			csr, _, err := pki.NewRequest(name)
			if err != nil {
				t.Fatal(err)
			}
			return call(t, client, apiCall{http.MethodPost, api.PathJoin, api.JoinRequest{
				Identity: api.Identity{Stack: stack, Name: name, Role: role, Zone: self.Zone, Address: address}, CSR: csr}})
		}
		if got, text := ask(st.Stack, name, self.Role, self.Address); got != http.StatusOK {
			t.Fatalf("%s cannot join as itself: %d: %s", name, got, text)
		}
		other := map[api.Role]api.Role{api.RoleWorker: api.RoleData, api.RoleData: api.RoleWorker}[self.Role]
		second := strings.Replace(name, "1", "2", 1)
		for what, try := range map[string]func() (int, string){
			"another's name":             func() (int, string) { return ask(st.Stack, second, self.Role, self.Address) },
			"another's address":          func() (int, string) { return ask(st.Stack, name, self.Role, node(t, st, second).Address) },
			"another's name and address": func() (int, string) { return ask(st.Stack, second, self.Role, node(t, st, second).Address) },
			"a name nobody has":          func() (int, string) { return ask(st.Stack, string(self.Role)+"-77", self.Role, self.Address) },
			"another role":               func() (int, string) { return ask(st.Stack, string(other)+"-1", other, self.Address) },
			"a main node's role":         func() (int, string) { return ask(st.Stack, "main-1", api.RoleMain, self.Address) },
			"the name of etcd's root":    func() (int, string) { return ask(st.Stack, "root", self.Role, self.Address) },
			"another stack":              func() (int, string) { return ask("other", name, self.Role, self.Address) },
		} {
			if got, text := try(); got != http.StatusForbidden && got != http.StatusConflict || strings.Contains(text, "BEGIN CERTIFICATE") {
				t.Errorf("%s asks to join with %s: %d: %s", name, what, got, text)
			}
		}
	}
}

// tryStrangers comes with certificates that no authority has signed, or another one, and with none.
func tryStrangers(t *testing.T, s *stack, st api.Status, ca string) {
	other, err := pki.NewAuthority(st.Stack, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issue := func(name, organization string) *pki.Pair {
		p, err := other.Issue(pki.Profile{CommonName: name, Organization: organization, Server: true, Client: true}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return &p
	}
	for what, p := range map[string]*pki.Pair{
		"a certificate that signed itself": &other, "another authority's admin": issue("admin", "devctl:admin"), "another authority's root": issue("root", "devctl:controller"),
		"another authority's etcd": issue("etcd", "devctl:etcd"), "no certificate": nil,
	} {
		for _, c := range apiCalls(st, "worker-1") {
			if got, text := call(t, from(t, st, "worker-1", ca, p), c); got != 0 {
				t.Errorf("%s gets %d on %s: %s", what, got, c.path, text)
			} else if !strings.Contains(text, "tls: ") {
				t.Errorf("%s is refused on %s for another reason: %s", what, c.path, text)
			}
		}
		for _, port := range []int{api.EtcdClientPort, api.EtcdPeerPort} {
			config := clientConfig(t, ca, p)
			config.ServerName = node(t, st, "main-1").Address
			config.NextProtos = []string{"h2", "http/1.1"}
			conn, err := tls.Dial("tcp", fmt.Sprintf("%s:%d", config.ServerName, port), config)
			if err == nil { // in TLS 1.3 the server refuses after the client believes to be done
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				_, err = conn.Read(make([]byte, 1))
				for n := 0; err == nil && n < 1<<10; n++ { // what HTTP/2 says first
					_, err = conn.Read(make([]byte, 1))
				}
				conn.Close()
			}
			if err == nil || !strings.Contains(err.Error(), "remote error: tls: ") {
				t.Errorf("%s on port %d of etcd: %v", what, port, err)
			}
		}
	}
	// A node's own certificate is nobody at etcd's door for members.
	worker := s.pair(t, "worker-1", "node")
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: clientConfig(t, ca, &worker)}}
	if resp, err := client.Get(fmt.Sprintf("https://%s:%d/members", node(t, st, "main-1").Address, api.EtcdPeerPort)); err == nil {
		resp.Body.Close()
		t.Errorf("a worker gets %d from etcd as a member", resp.StatusCode)
	}
}

// clientConfig identifies by the certificate, or by none.
func clientConfig(t *testing.T, ca string, p *pki.Pair) *tls.Config {
	t.Helper()
	if p == nil {
		anybody, err := pki.NewAuthority("anybody", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		config := clientConfig(t, ca, &anybody)
		config.Certificates = nil
		return config
	}
	config, err := pki.ClientTLS(ca, *p)
	if err != nil {
		t.Fatal(err)
	}
	if len(config.Certificates) > 0 { // also to a server that asks for certificates of another authority
		certificate := config.Certificates[0]
		config.Certificates = nil
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	}
	return config
}

// from is a client of the first controller that calls from a node.
func from(t *testing.T, st api.Status, name, ca string, p *pki.Pair) *http.Client {
	t.Helper()
	id, address := node(t, st, name).ID, node(t, st, "main-1").Address
	config := clientConfig(t, ca, p)
	config.ServerName = address
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			inner, outer := net.Pipe()
			cmd := exec.Command("docker", "exec", "--interactive", id, "bash", "-c",
				fmt.Sprintf("exec 3<>/dev/tcp/%s/%d; cat <&3 & cat >&3; wait", address, api.ControllerPort))
			cmd.Stdin, cmd.Stdout = inner, inner
			if err := cmd.Start(); err != nil {
				return nil, err
			}
			go func() {
				_ = cmd.Wait() // what it said is all there is to know
				inner.Close()
			}()
			return tls.Client(outer, config), nil
		},
	}}
}

// call makes a request, and returns the answer; without one the status is 0, and the text the error.
func call(t *testing.T, client *http.Client, c apiCall) (status int, text string) {
	t.Helper()
	body, err := json.Marshal(c.body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), c.method, "https://controller"+c.path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(api.VersionHeader, version.Version)
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err.Error()
	}
	return resp.StatusCode, string(answer)
}

// pair is a certificate of a node, with its key: node, or on mains etcd or controller.
func (s *stack) pair(t *testing.T, name, of string) pki.Pair {
	t.Helper()
	id := node(t, s.status(t), name).ID
	read := func(end string) string { return docker(t, "exec", id, "cat", api.NodePKIDir+"/"+of+end) + "\n" }
	return pki.Pair{Cert: read(".crt"), Key: read(".key")}
}

// authority is the certificate of the stack's authority.
func (s *stack) authority(t *testing.T) string {
	t.Helper()
	return docker(t, "exec", node(t, s.status(t), "main-1").ID, "cat", api.PKIDir+"/ca.crt") + "\n"
}

// etcd is a client of the stack's etcd that identifies itself by the certificate.
func (s *stack) etcd(t *testing.T, p pki.Pair) *clientv3.Client {
	t.Helper()
	config, err := pki.ClientTLS(s.authority(t), p)
	if err != nil {
		t.Fatal(err)
	}
	var mains []api.Peer
	for _, n := range s.status(t).Nodes {
		if n.Role == api.RoleMain {
			mains = append(mains, api.Peer{Name: n.Name, Address: n.Address})
		}
	}
	cli, err := discovery.Dial(discovery.Endpoints(mains), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cli.Close() })
	return cli
}
