package controller

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"devctl/internal/api"
	"devctl/internal/discovery/etcdtest"
	"devctl/internal/pki"
)

// TestWhoMayUseTheAPI tries every kind of certificate on every path.
func TestWhoMayUseTheAPI(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.control(1, wholeRedis())
	worker := testNode(api.RoleWorker, 1, 20)
	node, _ := c.join(worker)
	paths := []struct {
		method, path string
		body         any
	}{
		{http.MethodPost, api.PathJoin, api.JoinRequest{Identity: worker}},
		{http.MethodPut, api.PathDeployment, api.DeployRequest{Deployment: testDeployment(2, 3), Secrets: testSecrets}},
		{http.MethodGet, api.PathAssignments, nil},
		{http.MethodGet, api.PathStatus, nil},
		{http.MethodGet, api.PathEvents, nil},
		{http.MethodGet, api.PathHealth, nil},
		{http.MethodGet, api.PathSnapshot, nil},
		{http.MethodPut, api.PathWorkers, api.WorkersRequest{Count: 3}},
	}
	// What the holders get on the paths, in that order. A bootstrap certificate gets past authorisation to a bad
	// request: it is no error of the certificate. Nor is it one that workers are not elastic here.
	holders := map[string]struct {
		cert pki.Pair
		want [8]int
	}{
		"admin":      {c.issue("admin", orgAdmin), [8]int{403, 200, 200, 200, 200, 200, 200, 409}},
		"bootstrap":  {c.issue("bootstrap-worker", orgBootstrap), [8]int{400, 403, 403, 403, 403, 403, 403, 403}},
		"worker":     {node, [8]int{403, 403, 403, 403, 403, 403, 403, 403}},
		"data":       {c.issue("data-1", "devctl:data"), [8]int{403, 403, 403, 403, 403, 403, 403, 403}},
		"main":       {c.issue("main-1", "devctl:main"), [8]int{403, 403, 403, 403, 403, 403, 403, 403}},
		"controller": {c.load("controller"), [8]int{403, 403, 403, 403, 403, 403, 403, 403}},
		"etcd":       {c.load("etcd"), [8]int{403, 403, 403, 403, 403, 403, 403, 403}},
		"unknown":    {c.issue("admin", "devctl:admins"), [8]int{403, 403, 403, 403, 403, 403, 403, 403}},
	}
	for holder, h := range holders {
		for i, p := range paths {
			got, err := c.do(request{method: p.method, path: p.path, body: p.body, cert: h.cert, from: worker.Address})
			if err != nil {
				t.Errorf("%s, %s: %v", holder, p.path, err)
				continue
			}
			if got.status != h.want[i] {
				t.Errorf("%s gets %d on %s, want %d: %s", holder, got.status, p.path, h.want[i], got.body)
			}
			if got.status == 403 && !strings.Contains(got.body, `"error":"the certificate of`) {
				t.Errorf("%s is refused on %s with %s", holder, p.path, got.body)
			}
		}
	}

	other, err := pki.NewAuthority("other", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.Issue(pki.Profile{CommonName: "admin", Organization: orgAdmin, Client: true}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for holder, cert := range map[string]pki.Pair{"nobody": {}, "another stack's admin": foreign} {
		for _, p := range paths {
			if got, err := c.do(request{method: p.method, path: p.path, body: p.body, cert: cert}); err == nil {
				t.Errorf("%s gets %d on %s", holder, got.status, p.path)
			}
		}
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.control(1, wholeRedis())
	admin := c.issue("admin", orgAdmin)
	valid := api.DeployRequest{Deployment: testDeployment(2, 3), Secrets: testSecrets}
	change := func(f func(*api.DeployRequest)) api.DeployRequest {
		r := valid
		f(&r)
		return r
	}
	cases := map[string]struct {
		request
		status int
		want   string
	}{
		"unknown path":  {request{method: "GET", path: "/v1/secrets"}, 404, "there is no /v1/secrets"},
		"wrong method":  {request{method: "DELETE", path: api.PathDeployment}, 405, "/v1/deployment takes PUT, not DELETE"},
		"content type":  {request{method: "PUT", path: api.PathDeployment, body: "x", header: map[string]string{"Content-Type": "text/plain"}}, 415, `takes application/json, not \"text/plain\"`},
		"no JSON":       {request{method: "PUT", path: api.PathDeployment, body: "x"}, 400, "the request cannot be read: invalid character 'x'"},
		"unknown field": {request{method: "PUT", path: api.PathDeployment, body: `{"deploymint":{}}`}, 400, `unknown field \"deploymint\"`},
		"two values":    {request{method: "PUT", path: api.PathDeployment, body: `{} {}`}, 400, "there is something after the JSON value"},
		"too large":     {request{method: "PUT", path: api.PathDeployment, body: `{"secrets":{"a":"` + strings.Repeat("a", maxBody) + `"}}`}, 413, "the request has more than 4194304 bytes"},
		"other version": {request{method: "GET", path: api.PathStatus, header: map[string]string{api.VersionHeader: "99.0.0"}}, 426, "Upgrade the controller"},
		"no version":    {request{method: "GET", path: api.PathStatus, header: map[string]string{api.VersionHeader: ""}}, 400, "devctl says no version"},
		"bad number":    {request{method: "GET", path: api.PathEvents + "?after=soon"}, 400, `after=\"soon\" is no sequence number`},
		"other stack": {request{method: "PUT", path: api.PathDeployment, body: change(func(r *api.DeployRequest) { r.Deployment.Stack = "beta" })},
			400, `the deployment is of stack \"beta\", and this is stack \"test\"`},
		"no nodes": {request{method: "PUT", path: api.PathDeployment, body: change(func(r *api.DeployRequest) { r.Deployment.Nodes = nil })},
			400, "the deployment has no nodes"},
		"a node twice": {request{method: "PUT", path: api.PathDeployment, body: change(func(r *api.DeployRequest) {
			r.Deployment.Nodes = []api.Identity{testNode(api.RoleData, 1, 100), testNode(api.RoleData, 1, 100)}
		})}, 400, `the deployment names node \"data-1\" twice`},
		"a secret's name": {request{method: "PUT", path: api.PathDeployment, body: change(func(r *api.DeployRequest) { r.Secrets = map[string]string{"../deployment": "x"} })},
			400, `\"../deployment\" is no name of a secret`},
	}
	for name, tc := range cases {
		tc.cert = admin
		got, err := c.do(tc.request)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.status != tc.status || !strings.Contains(got.body, tc.want) {
			t.Errorf("%s gets %d %s, want %d with %s", name, got.status, got.body, tc.status, tc.want)
		}
		if got.header.Get(api.VersionHeader) == "" || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s gets the header %v", name, got.header)
		}
	}
}

// TestDeploymentThatWouldLoseData is refused as a whole.
func TestDeploymentThatWouldLoseData(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.control(1, wholeRedis())
	cli := c.admin()
	d := testDeployment(2, 3)
	if _, err := cli.Deploy(t.Context(), api.DeployRequest{Deployment: d, Secrets: testSecrets}); err != nil {
		t.Fatal(err)
	}
	events := c.events(cli)
	waitEvent(t, events, "redis-1.service on data-1 starts")
	d.Redis.Shards = 4
	_, err := cli.Deploy(t.Context(), api.DeployRequest{Deployment: d, Secrets: map[string]string{api.SecretStats: "new"}})
	if err == nil || !strings.Contains(err.Error(), "the deployment is refused: the number of Redis shards cannot change from 3 to 4") {
		t.Errorf("deploying gives %v", err)
	}
	root := c.etcd(c.load("controller"))
	if secret := get(t, root, "/devctl/v1/secrets/"+api.SecretStats); secret != "stats" {
		t.Errorf("the secret of the refused deployment was stored: %q", secret)
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.control(1, wholeRedis())
	node := func(role api.Role, n, base int, change func(*api.Identity)) api.Identity {
		id := testNode(role, n, base)
		if change != nil {
			change(&id)
		}
		return id
	}
	csr := func(name string) string {
		text, _, err := pki.NewRequest(name)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	alive, _ := c.join(testNode(api.RoleData, 7, 100))
	startAgent(t, c, testNode(api.RoleData, 7, 100), alive)
	etcdtest.Eventually(t, 20*time.Second, func() error { return hasKey(c.etcd(c.load("controller")), "/devctl/v1/nodes/data-7") })
	if _, err := c.admin().Deploy(t.Context(), api.DeployRequest{Deployment: testDeployment(2, 3), Secrets: testSecrets}); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		id     api.Identity
		from   string // if not the address asked for
		holder string // if not the role's
		csr    string // if not the name's
		status int
		want   string
	}{
		"expected":       {id: node(api.RoleWorker, 1, 20, nil), status: 200},
		"again":          {id: node(api.RoleWorker, 1, 20, nil), status: 200},
		"not yet listed": {id: node(api.RoleData, 4, 100, nil), status: 200},
		"other stack":    {id: node(api.RoleWorker, 1, 20, func(i *api.Identity) { i.Stack = "beta" }), status: 403, want: `of stack \"beta\"`},
		"main":           {id: node(api.RoleMain, 2, 10, nil), holder: "bootstrap-main", status: 403, want: "main nodes make their own certificates"},
		"other role":     {id: node(api.RoleData, 1, 100, nil), holder: "bootstrap-worker", status: 403, want: `the certificate of \"bootstrap-worker\" is not for nodes of role \"data\"`},
		"root":           {id: node(api.RoleWorker, 1, 20, func(i *api.Identity) { i.Name = "root" }), status: 403, want: `\"root\" is no name of a node of role \"worker\"`},
		"other address":  {id: node(api.RoleWorker, 1, 20, nil), from: "127.0.0.99", status: 403, want: "worker-1 asks from 127.0.0.99 for a certificate for 127.0.0.21"},
		"no address":     {id: node(api.RoleWorker, 1, 20, func(i *api.Identity) { i.Address = "here" }), from: "127.0.0.21", status: 403, want: `\"here\" is no IPv4 address`},
		"another's name": {id: node(api.RoleWorker, 2, 20, func(i *api.Identity) { i.Address = "127.0.0.77" }), status: 409, want: "the deployment has worker-2 at 127.0.0.22, not at 127.0.0.77"},
		"another's address": {id: node(api.RoleWorker, 3, 20, func(i *api.Identity) { i.Address = "127.0.0.101" }), status: 409,
			want: "the deployment has data-1 at 127.0.0.101, not worker-3"},
		"a live node's name": {id: node(api.RoleData, 7, 100, func(i *api.Identity) { i.Address = "127.0.0.78" }), status: 409, want: "data-7 is alive at 127.0.0.107"},
		"a live node's address": {id: node(api.RoleData, 8, 100, func(i *api.Identity) { i.Address = "127.0.0.107" }), status: 409,
			want: "data-7 is alive at 127.0.0.107; data-8 cannot be there too"},
		"request of another": {id: node(api.RoleWorker, 1, 20, nil), csr: csr("worker-2"), status: 400, want: `certificate request is of \"worker-2\", want \"worker-1\"`},
		"no request":         {id: node(api.RoleWorker, 1, 20, nil), csr: "hello", status: 400, want: "no PEM block"},
	}
	for name, tc := range cases {
		holder := tc.holder
		if holder == "" {
			holder = "bootstrap-" + string(tc.id.Role)
		}
		from := tc.from
		if from == "" {
			from = tc.id.Address
		}
		text := tc.csr
		if text == "" {
			text = csr(tc.id.Name)
		}
		got, err := c.do(request{method: "POST", path: api.PathJoin, from: from, cert: c.issue(holder, orgBootstrap), body: api.JoinRequest{Identity: tc.id, CSR: text}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.status != tc.status || !strings.Contains(got.body, tc.want) {
			t.Errorf("%s gets %d %s, want %d with %s", name, got.status, got.body, tc.status, tc.want)
		}
	}
}
