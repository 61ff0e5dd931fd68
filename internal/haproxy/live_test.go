package haproxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"

	"devctl/internal/api"
	"devctl/internal/redis"
)

func password(secret string) string { return "pw" + strings.ReplaceAll(secret, "-", "") }

var placeholder = regexp.MustCompile(`\$\{secret(-sha256)?:([a-z-]+)\}`)

// fill puts secrets in, as the agent does.
func fill(content string) string {
	return placeholder.ReplaceAllStringFunc(content, func(text string) string {
		groups := placeholder.FindStringSubmatch(text)
		value := password(groups[2])
		if groups[1] != "" {
			sum := sha256.Sum256([]byte(value))
			value = hex.EncodeToString(sum[:])
		}
		return value
	})
}

// run starts a program that ends with the test. Its output goes to a file that is shown when the test fails.
func run(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s (Debian packages redis-server and haproxy): %v", name, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("%s:\n%s", cmd, text)
		}
	})
	return cmd
}

func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

var (
	admin = redis.Credentials{User: api.RedisUserAdmin, Password: password(api.SecretRedisAdmin)}
	spec  = api.RedisSpec{Shards: 3, Replicas: 1, MaxMemory: 16 << 20, NodeTimeoutMS: 2000}
	lb    = api.BalancerSpec{Instances: 2, Port: 17010, StatsPort: 17020}
)

// startRedis runs a cluster of three primaries and three replicas on rendered files.
func startRedis(t *testing.T) api.RedisStatus {
	t.Helper()
	root := t.TempDir()
	var members []redis.Member
	for i := range 6 {
		node, shard := i%3+1, (i+i/3)%3+1
		self := api.Identity{Name: fmt.Sprint("data-", node), Zone: string("abc"[node-1]), Address: fmt.Sprint("127.78.0.", node)}
		base := filepath.Join(root, self.Name)
		place := strings.NewReplacer(api.ServicesDir, base, api.DataDir, base, "bind "+self.Address+" 127.0.0.1", "bind "+self.Address)
		files, dirs := redis.Files(spec, shard, self)
		if err := os.MkdirAll(place.Replace(dirs[0].Path), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			write(t, place.Replace(f.Path), place.Replace(fill(f.Content)))
		}
		run(t, "redis-server", place.Replace(files[0].Path))
		members = append(members, redis.Member{
			Node: self.Name, Zone: self.Zone, Shard: shard, Ready: true, Address: fmt.Sprintf("%s:%d", self.Address, api.RedisPort(shard)),
		})
	}
	var keeper redis.Keeper
	var status api.RedisStatus
	eventually(t, "the cluster is whole", func() error {
		var err error
		status, _, err = keeper.Reconcile(t.Context(), spec, members, admin)
		if err == nil && (status.State != "ok" || len(status.Problems) > 0) {
			err = fmt.Errorf("%+v", status)
		}
		return err
	})
	return status
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// servers are the members of a cluster as the agent would hand them over.
func servers(t *testing.T, status api.RedisStatus) []Server {
	t.Helper()
	var out []Server
	add := func(m api.ShardMember, isPrimary bool) {
		s := Server{Name: m.Node, Primary: isPrimary}
		if _, err := fmt.Sscanf(strings.Replace(m.Address, ":", " ", 1), "%s %d", &s.Addr, &s.Port); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	for _, s := range status.Shards {
		add(s.Primary, true)
		for _, r := range s.Replicas {
			add(r, false)
		}
	}
	return out
}

// connect opens one connection through the balancer and tells which Redis it leads to.
func connect(t *testing.T) (conn *goredis.Conn, id string, err error) {
	t.Helper()
	client := goredis.NewClient(&goredis.Options{
		Addr: fmt.Sprintf("127.0.0.1:%d", lb.Port), Username: api.RedisUserApp, Password: password(api.SecretRedisApp),
		Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1,
	})
	t.Cleanup(func() { _ = client.Close() })
	conn = client.Conn()
	id, err = conn.Do(t.Context(), "CLUSTER", "MYID").Text()
	return conn, id, err
}

func get(t *testing.T, path, user string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", lb.StatsPort, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password(api.SecretStats))
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func pid(t *testing.T, sock string) string {
	t.Helper()
	info, err := ask(t.Context(), sock, "show info")
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^Pid: (\d+)$`).FindString(info)
}

// TestLive runs a real HAProxy in front of a real cluster: the backend follows a failover without a reload, and only
// connections to the primary that stepped down are cut.
func TestLive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sock, conf := filepath.Join(dir, "admin.sock"), filepath.Join(dir, "haproxy.cfg")
	write(t, conf, strings.ReplaceAll(fill(Files(lb, api.Identity{})[0].Content), api.HAProxySocket, sock))
	if out, err := exec.Command("haproxy", "-c", "-f", conf).CombinedOutput(); err != nil || strings.Contains(string(out), "WARNING") {
		t.Fatalf("haproxy -c: %v\n%s", err, out)
	}
	status := startRedis(t)
	haproxy := run(t, "haproxy", "-W", "-db", "-f", conf)
	eventually(t, "an empty balancer says 503", func() error {
		if code, body := get(t, "/healthz", ""); code != http.StatusServiceUnavailable {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	if code, body := get(t, "/livez", ""); code != http.StatusOK {
		t.Errorf("an empty balancer does not serve /livez: %d %s", code, body)
	}

	reconcile := func(want []Server) {
		t.Helper()
		eventually(t, "all primaries are up", func() error {
			got, err := Reconcile(t.Context(), sock, want)
			if got != (api.LoadBalancer{Backends: 3, Up: 3}) {
				return fmt.Errorf("%+v: %w", got, err)
			}
			return nil
		})
		have, err := show(t.Context(), sock)
		if err != nil {
			t.Fatal(err)
		}
		if changes, err := plan(have, want); err != nil || len(changes) > 0 {
			t.Errorf("after a reconcile there still is to do: %v, %v", changes, err)
		}
	}
	want := servers(t, status)
	reconcile(want)
	worker := pid(t, sock)
	checkPages(t)

	conns := map[string]*goredis.Conn{}
	for range 3 {
		conn, id, err := connect(t)
		if err != nil {
			t.Fatal(err)
		}
		conns[id] = conn
	}
	if len(conns) != 3 {
		t.Fatalf("three connections reached %d primaries, want each in turn", len(conns))
	}

	shard := status.Shards[0]
	old, err := redis.Inspect(t.Context(), shard.Primary.Address, admin)
	if err != nil {
		t.Fatal(err)
	}
	next := goredis.NewClient(&goredis.Options{Addr: shard.Replicas[0].Address, Username: admin.User, Password: admin.Password, Protocol: 2, DisableIdentity: true})
	defer next.Close()
	if err := next.ClusterFailover(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	eventually(t, "the old primary steps down", func() error {
		if now, err := redis.Inspect(t.Context(), shard.Primary.Address, admin); err != nil || now.Role != "replica" {
			return fmt.Errorf("it is %+v: %w", now, err)
		}
		return nil
	})
	stepped := time.Now()
	eventually(t, "HAProxy drops it by itself", func() error {
		if got, err := Reconcile(t.Context(), sock, want); err != nil || got.Up != 2 {
			return fmt.Errorf("%+v: %w", got, err)
		}
		return nil
	})
	t.Logf("failover took %v, HAProxy noticed %v later", stepped.Sub(start).Round(time.Millisecond), time.Since(stepped).Round(time.Millisecond))
	if err := conns[old.NodeID].Ping(t.Context()).Err(); err == nil {
		t.Error("the connection to the primary that stepped down was not cut")
	}
	for i := range want {
		switch fmt.Sprintf("%s:%d", want[i].Addr, want[i].Port) {
		case shard.Primary.Address:
			want[i].Primary = false
		case shard.Replicas[0].Address:
			want[i].Primary = true
		}
	}
	reconcile(want)
	for id, conn := range conns {
		if err := conn.Ping(t.Context()).Err(); id != old.NodeID && err != nil {
			t.Errorf("the connection to %s, which nothing happened to: %v", id, err)
		}
	}
	if got := pid(t, sock); got != worker {
		t.Errorf("the worker changed from %s to %s: HAProxy was reloaded", worker, got)
	}

	reconcile(append(want[1:], Server{Name: "new", Addr: "127.78.0.9", Port: 7101}))
	if err := haproxy.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = haproxy.Wait()
	run(t, "haproxy", "-W", "-db", "-f", conf)
	eventually(t, "HAProxy is back", func() error {
		_, err := show(t.Context(), sock)
		return err
	})
	reconcile(want)
}

// checkPages tries the pages with and without the password.
func checkPages(t *testing.T) {
	t.Helper()
	type answer struct {
		Path, User string
		Code       int
		Has        string
	}
	for _, want := range []answer{
		{"/healthz", "", 200, "Service ready"},
		{"/livez", "", 200, "alive"},
		{"/stats", "", 401, ""},
		{"/stats", "somebody", 401, ""},
		{"/stats", "stats", 200, "redis1"},
		{"/metrics", "", 401, ""},
		{"/metrics", "stats", 200, "haproxy_backend_active_servers"},
		{"/", "stats", 302, ""},
	} {
		code, body := get(t, want.Path, want.User)
		if !strings.Contains(body, want.Has) {
			t.Errorf("%s has no %q:\n%s", want.Path, want.Has, body)
		}
		if diff := cmp.Diff(want.Code, code); diff != "" {
			t.Errorf("%s as %q (-want +got):\n%s", want.Path, want.User, diff)
		}
	}
}

func TestReconcileWithoutHAProxy(t *testing.T) {
	t.Parallel()
	_, err := Reconcile(t.Context(), "/nonexistent/admin.sock", nil)
	if want := "connect to HAProxy's runtime API: dial unix /nonexistent/admin.sock: connect: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
