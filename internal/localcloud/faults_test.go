package localcloud

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
	"devctl/internal/snapshot"
)

func TestNetworkIsMadeOnce(t *testing.T) {
	c := connect(t, alpha)
	var calls sync.WaitGroup
	errs := make(chan error, 10)
	for range cap(errs) {
		calls.Go(func() { errs <- c.EnsureNetwork(t.Context(), alpha.name, alpha.cidr()) })
	}
	calls.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	left, err := c.leftovers(t.Context(), alpha.name)
	if want := []string{"network devctl-lctest-alpha"}; err != nil || !cmp.Equal(left, want) {
		t.Errorf("after ten calls at once there are %v, %v, want %v", left, err, want)
	}
}

func TestNetworkConflicts(t *testing.T) {
	c := connect(t, alpha, beta)
	if err := c.EnsureNetwork(t.Context(), alpha.name, alpha.cidr()); err != nil {
		t.Fatal(err)
	}
	const wide = "198.18.240.0/23"
	err := c.EnsureNetwork(t.Context(), beta.name, wide)
	want := `the network 198.18.240.0/23 overlaps 198.18.240.0/24 of stack "lctest-alpha": set devctl:network.cidr to a free one, for example `
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("create: got %v, want %s…", err, want)
	}
	problems := c.preflight(t.Context(), PreflightArgs{Stack: beta.name, CIDR: wide})
	if !slices.ContainsFunc(problems, func(err error) bool { return strings.HasPrefix(err.Error(), want) }) {
		t.Errorf("preflight: got %v, want %s…", problems, want)
	}
	for _, problem := range c.preflight(t.Context(), PreflightArgs{Stack: alpha.name, CIDR: alpha.cidr()}) {
		t.Errorf("preflight of the stack that has the network: %v", problem)
	}
	err = c.EnsureNetwork(t.Context(), alpha.name, beta.cidr())
	want = `stack "lctest-alpha" has a network already, over 198.18.240.0/24 instead of 198.18.241.0/24; run ` + "`devctl destroy -s lctest-alpha` first"
	if err == nil || err.Error() != want {
		t.Errorf("other addresses: got %v, want %s", err, want)
	}
}

// TestDockerKnowsFewerCapabilities: a Docker that is older than the kernel, or in a container itself.
func TestDockerKnowsFewerCapabilities(t *testing.T) {
	c := connect(t, alpha)
	c.Dropped = append(c.Dropped, "OF_TOMORROW", "OF_NEXT_YEAR")
	converge(t, c, group(t, c, alpha, api.RoleData, 1), false)
}

func TestDestroyLeavesOthers(t *testing.T) {
	c := connect(t, alpha, beta)
	converge(t, c, group(t, c, alpha, api.RoleData, 1), false)
	before, _ := converge(t, c, group(t, c, beta, api.RoleData, 1), false)

	if err := c.RemoveGroup(t.Context(), alpha.name, api.RoleData, func(string) {}); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveNetwork(t.Context(), alpha.name); err != nil {
		t.Fatal(err)
	}
	if left, err := c.leftovers(t.Context(), alpha.name); err != nil || len(left) > 0 {
		t.Errorf("alpha left %v, %v", left, err)
	}
	after, err := c.Nodes(t.Context(), beta.name, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, byName(after)); diff != "" {
		t.Errorf("destroying alpha changed beta (-before +after):\n%s", diff)
	}
}

func TestHalfCreatedGroup(t *testing.T) {
	c := connect(t, alpha)
	g := group(t, c, alpha, api.RoleData, 3)
	half := func() {
		t.Helper()
		one := g
		one.Nodes = g.Nodes[:2]
		nodes, _ := converge(t, c, one, false)
		if err := c.docker.ContainerPause(t.Context(), nodes["data-1"].ID); err != nil {
			t.Fatal(err)
		}
		if err := c.docker.ContainerKill(t.Context(), nodes["data-2"].ID, "KILL"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.createNode(t.Context(), g, g.Nodes[2], ""); err != nil {
			t.Fatal(err)
		}
	}
	half()
	if err := c.RemoveGroup(t.Context(), alpha.name, api.RoleData, func(string) {}); err != nil {
		t.Fatal(err)
	}
	if left, err := c.leftovers(t.Context(), alpha.name); err != nil || !cmp.Equal(left, []string{"network devctl-lctest-alpha"}) {
		t.Errorf("a paused, a killed and a created node left %v, %v", left, err)
	}

	half()
	nodes, _ := converge(t, c, g, false)
	for _, name := range []string{"data-1", "data-2", "data-3"} {
		if !nodes[name].Running || !nodes[name].Ready {
			t.Errorf("%s is %+v, want it running and ready", name, nodes[name])
		}
	}
}

func TestSizeChangeTouchesNothingElse(t *testing.T) {
	c := connect(t, alpha)
	two, _ := converge(t, c, group(t, c, alpha, api.RoleData, 2), false)
	three, lines := converge(t, c, group(t, c, alpha, api.RoleData, 3), true)
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "data-3: ready in ") {
		t.Errorf("growing by one did %v", lines)
	}
	one, lines := converge(t, c, group(t, c, alpha, api.RoleData, 1), true)
	if want := []string{"data-2: removed", "data-3: removed"}; !cmp.Equal(lines, want) {
		t.Errorf("shrinking by two did %v, want %v", lines, want)
	}
	again, lines := converge(t, c, group(t, c, alpha, api.RoleData, 1), true)
	if len(lines) > 0 {
		t.Errorf("changing nothing did %v", lines)
	}
	if diff := cmp.Diff(two["data-1"], three["data-1"]); diff != "" {
		t.Errorf("growing changed data-1:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]Node{"data-1": two["data-1"]}, one); diff != "" {
		t.Errorf("shrinking changed data-1:\n%s", diff)
	}
	if diff := cmp.Diff(one, again); diff != "" {
		t.Errorf("changing nothing changed data-1:\n%s", diff)
	}
}

func TestMissingNode(t *testing.T) {
	c := connect(t, alpha)
	g := group(t, c, alpha, api.RoleData, 2)
	before, _ := converge(t, c, g, false)
	// Behind our back, and without its volumes.
	err := c.docker.ContainerRemove(t.Context(), before["data-1"].ID, container.RemoveOptions{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.Nodes(t.Context(), alpha.name, api.RoleData)
	if diff := cmp.Diff(map[string]Node{"data-2": before["data-2"]}, byName(found)); err != nil || diff != "" {
		t.Errorf("nodes after data-1 is gone: %v\n%s", err, diff)
	}
	after, lines := converge(t, c, g, true)
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "data-1: ready in ") {
		t.Errorf("repairing did %v", lines)
	}
	if diff := cmp.Diff(before["data-2"], after["data-2"]); diff != "" {
		t.Errorf("repairing data-1 changed data-2:\n%s", diff)
	}
	left, err := c.leftovers(t.Context(), alpha.name)
	if volumes := strings.Count(strings.Join(left, "\n"), "volume "); err != nil || volumes != 4 {
		t.Errorf("two nodes have %d volumes (%v), want 4: %v", volumes, err, left)
	}
}

func TestChangedConfigRollsOneByOne(t *testing.T) {
	c := connect(t, alpha)
	g := group(t, c, alpha, api.RoleData, 3)
	before, _ := converge(t, c, g, false)

	g.Config = strings.Replace(testConfig, "RemainAfterExit=yes", `Environment=CHANGED=1\nRemainAfterExit=yes`, 1)
	var seen []string
	stop := errors.New("shard 2 has no replica")
	c.Healthy = func(ctx context.Context, node api.Identity) error {
		nodes, err := c.Nodes(ctx, alpha.name, api.RoleData)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if !n.Running || !n.Ready {
				t.Errorf("after %s was replaced, %s is not ready", node.Name, n.Name)
			}
			if n.ID != before[n.Name].ID {
				seen = append(seen, n.Name)
			}
		}
		if node.Name == "data-2" {
			return stop
		}
		return nil
	}
	_, err := c.Converge(t.Context(), g, true, func(string) {})
	if want := "after node data-2: shard 2 has no replica"; !errors.Is(err, stop) || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	if want := []string{"data-1", "data-1", "data-2"}; !cmp.Equal(seen, want) {
		t.Errorf("replaced nodes at each look are %v, want %v", seen, want)
	}
	c.Healthy = nil
	after, lines := converge(t, c, g, true)
	if len(lines) != 2 || lines[0] != "data-3: replacing" {
		t.Errorf("going on did %v, want to replace data-3 only", lines)
	}
	if after["data-3"].ID == before["data-3"].ID {
		t.Error("data-3 is the old one")
	}
}

func TestMainsJoinOnceThereIsACluster(t *testing.T) {
	c := connect(t, alpha)
	g := group(t, c, alpha, api.RoleMain, 2)
	nodes, _ := converge(t, c, g, false)
	etcd := func(n Node) string { return on(t, c, n, ". /etc/devctl/node.env; echo $DEVCTL_ETCD") }
	if got := etcd(nodes["main-1"]) + " " + etcd(nodes["main-2"]); got != "new new" {
		t.Errorf("the first mains start as %s, want new new", got)
	}
	if err := c.removeContainer(t.Context(), nodes["main-2"].ID); err != nil {
		t.Fatal(err)
	}
	// Also when the state that said so was lost: main-1 is there.
	nodes, _ = converge(t, c, g, false)
	if got := etcd(nodes["main-2"]); got != "join" {
		t.Errorf("a later main starts as %s, want join", got)
	}
	if err := c.RemoveGroup(t.Context(), alpha.name, api.RoleMain, func(string) {}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Converge(t.Context(), g, true, func(string) {})
	want := `all main nodes of stack "lctest-alpha" are gone, and with them what etcd knew: what runs on the other nodes goes on, ` +
		"but a new control plane would not know of it; run `devctl etcd snapshot restore --latest -s lctest-alpha`: it brings them back with " +
		"the latest snapshot"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}

	c.EtcdData = func(_ context.Context, node api.Identity) (io.ReadCloser, error) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "of"), []byte(node.Name), 0o600); err != nil {
			return nil, err
		}
		var packed bytes.Buffer
		err := snapshot.Pack(&packed, dir, "etcd")
		return io.NopCloser(&packed), err
	}
	nodes, _ = converge(t, c, g, true)
	for name, n := range nodes {
		if got := etcd(n) + " " + on(t, c, n, "cat /var/lib/devctl/etcd/of; stat -c ' %a %U' /var/lib/devctl/etcd"); got != "join "+name+" 700 root" {
			t.Errorf("%s is restored with %s", name, got)
		}
	}
	// Only mains that are all gone are.
	c.EtcdData = func(context.Context, api.Identity) (io.ReadCloser, error) {
		return nil, errors.New("somebody asked for the data of a node that lives")
	}
	if again, _ := converge(t, c, g, true); !cmp.Equal(again, nodes) {
		t.Errorf("the nodes are %v, and were %v", again, nodes)
	}
}

// TestSnapshotsOutliveTheMains keeps them in a volume that no node takes along, and the stack does.
func TestSnapshotsOutliveTheMains(t *testing.T) {
	c := connect(t, alpha)
	nodes, _ := converge(t, c, group(t, c, alpha, api.RoleMain, 1), false)
	converge(t, c, group(t, c, alpha, api.RoleData, 1), false)
	if all, err := Snapshots(t.Context(), alpha.name); err != nil || len(all) != 0 {
		t.Errorf("before the first there are %v, %v", all, err)
	}
	on(t, c, nodes["main-1"], `cd /var/lib/devctl/snapshots && mkdir info && printf content >20261121T120001.000Z.db &&
		printf '{"name":"20261121T120001.000Z","time":"2026-11-21T12:00:01Z","revision":7,"size":7}' >info/20261121T120001.000Z.json`)
	if err := RemoveMainNodes(t.Context(), alpha.name); err != nil {
		t.Fatal(err)
	}
	all, err := Snapshots(t.Context(), alpha.name)
	if err != nil || len(all) != 1 || all[0].Revision != 7 {
		t.Fatalf("there are %+v, %v", all, err)
	}
	var got []byte
	err = ReadSnapshot(t.Context(), alpha.name, all[0].Name, func(r io.Reader) (err error) {
		got, err = io.ReadAll(r)
		return err
	})
	if string(got) != "content" || err != nil {
		t.Errorf("the snapshot is %q, %v", got, err)
	}
	if err := c.RemoveNetwork(t.Context(), alpha.name); err != nil {
		t.Fatal(err)
	}
	if left, err := c.leftovers(t.Context(), alpha.name); err != nil || len(left) > 0 {
		t.Errorf("the stack left %v, %v", left, err)
	}
}

func TestFailedBootExplainsItself(t *testing.T) {
	c := connect(t, alpha)
	good := group(t, c, alpha, api.RoleData, 1)
	tests := map[string]struct {
		config string
		want   []string
	}{
		"a unit fails":   {brokenConfig, []string{"boot node data-1: its unit hello.service is failed; the last it said:\n", "the reason why"}},
		"Ignition fails": {`{"ignition":{"version":"3.3.0"},"storage":{"files":[{"path":"/etc","contents":{"source":"data:,` + secret + `"}}]}}`, []string{"boot node data-1: its first boot failed; the last it said:\n", "Ignition: CRITICAL", "devctl-boot: Ignition's files stage failed"}},
	}
	for name, test := range tests {
		g := good
		g.Config = test.config
		nodes, err := c.Converge(t.Context(), g, false, func(string) {})
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got error %v, want %q in it", name, err, want)
			}
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error holds a secret: %v", name, err)
		}
		if len(nodes) != 1 || nodes[0].Ready {
			t.Errorf("%s: nodes are %+v, want the failed one kept", name, nodes)
		}
		if logged := c.lastLogLines(t.Context(), nodes[0].ID, 1000); strings.Contains(logged, secret) {
			t.Errorf("%s: the console holds a secret:\n%s", name, logged)
		}
	}
	if nodes, _ := converge(t, c, good, false); !nodes["data-1"].Ready {
		t.Error("the node is not ready after its config was mended")
	}
}

func TestSecretsStayInside(t *testing.T) {
	c := connect(t, alpha)
	nodes, lines := converge(t, c, group(t, c, alpha, api.RoleData, 1), false)
	n := nodes["data-1"]
	details, err := c.docker.ContainerInspect(t.Context(), n.ID)
	if err != nil {
		t.Fatal(err)
	}
	inspected, err := json.Marshal(details)
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]string{
		"inspect":   string(inspected),
		"console":   c.lastLogLines(t.Context(), n.ID, 1000),
		"progress":  strings.Join(lines, "\n"),
		"journal":   on(t, c, n, "journalctl --no-pager"),
		"processes": on(t, c, n, "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' ' '"),
		"elsewhere": on(t, c, n, "grep -rl -e "+secret[:14]+" /etc /run /var /root /tmp | grep -v ^/etc/devctl/pki/secret || true"),
	}
	for place, text := range places {
		if strings.Contains(text, secret) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(secret))) {
			t.Errorf("%s holds a secret:\n%s", place, text)
		}
	}
	if places["elsewhere"] != "" {
		t.Errorf("files that hold a secret: %s", places["elsewhere"])
	}
}

func TestExec(t *testing.T) {
	c := connect(t, alpha)
	nodes, _ := converge(t, c, group(t, c, alpha, api.RoleData, 1), false)
	var out, complaint bytes.Buffer
	run := func(node string, o ExecOptions) (int, error) {
		out.Reset()
		complaint.Reset()
		o.Stdout, o.Stderr = &out, &complaint
		return c.exec(t.Context(), alpha.name, node, o)
	}
	code, err := run("data-1", ExecOptions{Argv: []string{"sh", "-c", "cat; echo aside >&2; exit 7"}, Stdin: strings.NewReader("from here")})
	if code != 7 || err != nil || out.String() != "from here" || complaint.String() != "aside\n" {
		t.Errorf("got %d, %v, stdout %q, stderr %q", code, err, &out, &complaint)
	}
	code, err = run("data-1", ExecOptions{Argv: []string{"no-such-command", "--flag"}})
	if code != 127 || err != nil || out.String() != "" || complaint.String() != "data-1: 1: exec: no-such-command: not found\n" {
		t.Errorf("a command that is not there: got %d, %v, stdout %q, stderr %q", code, err, &out, &complaint)
	}
	// The command wants none of an input that never ends.
	endless, feed := io.Pipe()
	defer feed.Close()
	if code, err = run("data-1", ExecOptions{Argv: []string{"true"}, Stdin: endless}); code != 0 || err != nil {
		t.Errorf("with an endless stdin: got %d, %v", code, err)
	}
	sizes := make(chan Size, 1)
	sizes <- Size{Width: 123, Height: 45}
	code, err = run("data-1", ExecOptions{
		Argv: []string{"sh", "-c", "until [ \"$(stty size)\" = '45 123' ]; do :; done; tty"}, Stdin: endless, TTY: true, Sizes: sizes,
	})
	if code != 0 || err != nil || !strings.HasPrefix(out.String(), "/dev/pts/") {
		t.Errorf("on a terminal: got %d, %v, stdout %q", code, err, &out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stdin, typed := io.Pipe()
	defer typed.Close()
	ended := make(chan error, 1)
	first := &firstWrite{happened: cancel}
	go func() {
		_, err := c.exec(ctx, alpha.name, "data-1", ExecOptions{Argv: []string{"sh", "-c", "echo up; exec cat"}, Stdin: stdin, Stdout: first, Stderr: first})
		ended <- err
	}()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}

	_, err = run("data-9", ExecOptions{Argv: []string{"true"}})
	if want := `stack "lctest-alpha" has no node "data-9"; run ` + "`devctl status -s lctest-alpha` to see its nodes"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := c.docker.ContainerKill(t.Context(), nodes["data-1"].ID, "KILL"); err != nil {
		t.Fatal(err)
	}
	_, err = run("data-1", ExecOptions{Argv: []string{"true"}})
	if want := `node "data-1" of stack "lctest-alpha" is not running; run ` + "`devctl up -s lctest-alpha` to bring it back"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// firstWrite calls happened at the first write.
type firstWrite struct {
	once     sync.Once
	happened func()
}

func (w *firstWrite) Write(p []byte) (int, error) {
	w.once.Do(w.happened)
	return len(p), nil
}

// TestDockerDiesHalfWay puts a Docker in the way that breaks off in the middle of its answer.
func TestDockerDiesHalfWay(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/_ping") {
			w.Header().Set("Api-Version", "1.41")
			return
		}
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("[{"))
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Close()
		<-served
	}()
	c, err := Connect(client.WithHost("unix://" + socket))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Nodes(t.Context(), alpha.name, api.RoleData)
	want := "list the nodes of stack lctest-alpha: Docker stopped answering (unexpected EOF); start it with `systemctl start docker`, " +
		"or `dockerd` where there is no systemd, then run the command again: it goes on where it stopped"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
