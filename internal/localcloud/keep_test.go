package localcloud

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

func TestRepairs(t *testing.T) {
	t.Parallel()
	g := Group{Stack: "alpha", Role: api.RoleMain, Nodes: alpha.identities(api.RoleMain, 3), Config: "now"}
	node := func(i int, change func(*Node)) Node {
		id := g.Nodes[i]
		n := Node{Name: id.Name, ID: "id-" + id.Name, Fingerprint: g.Fingerprint(id), Running: true, Ready: true}
		change(&n)
		return n
	}
	right := func(*Node) {}
	tests := map[string]struct {
		have []Node
		busy map[string]bool
		want []string // kind and node
	}{
		"everything is right": {[]Node{node(0, right), node(1, right), node(2, right)}, nil, nil},
		"one is missing":      {[]Node{node(0, right), node(2, right)}, nil, []string{"create main-2"}},
		"two are missing":     {[]Node{node(0, right)}, nil, []string{"create main-2"}},
		"another comes just now": {
			[]Node{node(0, right), node(1, func(n *Node) { n.Ready = false })}, map[string]bool{"main-2": true}, nil,
		},
		"one is stopped, one is missing": {
			[]Node{node(0, right), node(1, func(n *Node) { n.Running = false })}, nil, []string{"start main-2"},
		},
		"all are stopped": {
			[]Node{node(0, func(n *Node) { n.Running = false }), node(1, func(n *Node) { n.Running = false }), node(2, func(n *Node) { n.Running = false })},
			nil, []string{"start main-1", "start main-2", "start main-3"},
		},
		"paused by a person": {
			[]Node{node(0, right), node(1, func(n *Node) { n.Running, n.Paused = false, true }), node(2, right)}, nil, nil,
		},
		"paused by a person, and of another config": {
			[]Node{node(0, right), node(1, func(n *Node) { n.Running, n.Paused, n.Fingerprint = false, true, "then" }), node(2, right)}, nil, nil,
		},
		"of another config": {
			[]Node{node(0, right), node(1, func(n *Node) { n.Fingerprint = "then" }), node(2, right)}, nil, nil,
		},
		"stopped and of another config": {
			[]Node{node(0, right), node(1, func(n *Node) { n.Running, n.Fingerprint = false, "then" }), node(2, right)}, nil, []string{"start main-2"},
		},
		"died before it was ready": {
			[]Node{node(0, right), node(1, func(n *Node) { n.Running, n.Ready = false, false }), node(2, right)}, nil, []string{"replace main-2"},
		},
		"one too many": {[]Node{node(0, right), node(1, right), node(2, right), {Name: "main-4", Running: true, Ready: true}}, nil, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, s := range dueRepairs(g.Role, repairs(g, test.have), test.busy) {
				got = append(got, string(s.kind)+" "+s.node.Name)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("repairs (-want +got):\n%s", diff)
			}
		})
	}
}

// supervisorProgramFile is the real supervisor, built once.
var supervisorProgramFile = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "devctl-supervisor")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	built := filepath.Join(dir, SupervisorBinary)
	cmd := exec.Command("go", "build", "-o", built, "devctl/cmd/devctl-supervisor")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(built)
})

// supervise lets the groups keep their size by themselves.
func supervise(t *testing.T, c *Cloud, groups ...Group) *supervisor {
	t.Helper()
	var err error
	if c.Supervisor, err = supervisorProgramFile(); err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		c.Want(g)
	}
	if err := c.Supervise(t.Context(), groups[0].Stack); err != nil {
		t.Fatal(err)
	}
	s, err := c.findSupervisor(t.Context(), groups[0].Stack)
	if err != nil || s == nil || !s.running {
		t.Fatalf("the supervisor is %+v, %v, want it running", s, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the supervisor said:\n%s", c.lastLogLines(context.Background(), s.id, 50))
		}
	})
	return s
}

// waitNodes waits until the nodes of the stack are so.
func waitNodes(t *testing.T, c *Cloud, stack, what string, so func(map[string]Node) bool) map[string]Node {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); ; {
		nodes, err := c.Nodes(t.Context(), stack, "")
		if err != nil {
			t.Fatal(err)
		}
		if so(byName(nodes)) {
			return byName(nodes)
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within a minute: %s; nodes are %+v", what, nodes)
		}
	}
}

func working(n Node) bool { return n.Running && n.Ready }

func TestGroupKeepsItsSize(t *testing.T) {
	c := connect(t, alpha, beta)
	g := group(t, c, alpha, api.RoleData, 3)
	before, _ := converge(t, c, g, false)
	s := supervise(t, c, g)

	if err := c.docker.ContainerPause(t.Context(), before["data-3"].ID); err != nil {
		t.Fatal(err)
	}
	if err := c.docker.ContainerKill(t.Context(), before["data-1"].ID, "KILL"); err != nil {
		t.Fatal(err)
	}
	if err := c.docker.ContainerRemove(t.Context(), before["data-2"].ID, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	after := waitNodes(t, c, alpha.name, "both nodes are back", func(nodes map[string]Node) bool {
		return working(nodes["data-1"]) && working(nodes["data-2"])
	})
	if after["data-1"].ID != before["data-1"].ID {
		t.Error("the killed node was made again instead of started with its disk")
	}
	if after["data-2"].ID == before["data-2"].ID {
		t.Error("the removed node is the old one")
	}
	if got := on(t, c, after["data-2"], ". /etc/devctl/node.env; echo $DEVCTL_ZONE $DEVCTL_ADDRESS"); got != "b 198.18.240.102" {
		t.Errorf("data-2 is in %s, want b 198.18.240.102", got)
	}
	if !after["data-3"].Paused {
		t.Error("the node that a person paused was touched")
	}

	details, err := c.docker.ContainerInspect(t.Context(), s.id)
	if err != nil {
		t.Fatal(err)
	}
	inspected, err := json.Marshal(details)
	if err != nil {
		t.Fatal(err)
	}
	for place, text := range map[string]string{"inspect": string(inspected), "log": c.lastLogLines(t.Context(), s.id, 1000)} {
		if strings.Contains(text, secret) {
			t.Errorf("the supervisor's %s holds a secret:\n%s", place, text)
		}
	}
	modes, code, err := c.run(t.Context(), s.id, "stat", "-c", "%a", SupervisorDir, groupFile(SupervisorDir, api.RoleData))
	if err != nil || code != 0 || modes != "700\n600\n" {
		t.Errorf("the supervisor's folder and file have the modes %q, %v, want 700 and 600", modes, err)
	}

	// What is there is kept, with the same supervisor; and with the stack it goes.
	if again := supervise(t, c, g); again.id != s.id {
		t.Error("the same supervisor was made again")
	}
	left, err := c.leftovers(t.Context(), alpha.name)
	if volumes := strings.Count(strings.Join(left, "\n"), "volume "); err != nil || volumes != 6 {
		t.Errorf("three nodes have %d volumes (%v), want 6: %v", volumes, err, left)
	}
	removed := make(chan error) // as a destroy does: all groups at once
	for _, role := range api.Roles() {
		go func() { removed <- c.RemoveGroup(t.Context(), alpha.name, role, func(string) {}) }()
	}
	for range api.Roles() {
		if err := <-removed; err != nil {
			t.Error(err)
		}
	}
	if err := c.RemoveNetwork(t.Context(), alpha.name); err != nil {
		t.Fatal(err)
	}
	if left, err := c.leftovers(t.Context(), alpha.name); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestNewMainsJoin removes one main, which joins, and then all, which nobody makes again.
func TestNewMainsJoin(t *testing.T) {
	c := connect(t, alpha)
	g := group(t, c, alpha, api.RoleMain, 2)
	before, _ := converge(t, c, g, false)
	s := supervise(t, c, g)
	if err := c.removeContainer(t.Context(), before["main-1"].ID); err != nil {
		t.Fatal(err)
	}
	after := waitNodes(t, c, alpha.name, "main-1 is back", func(nodes map[string]Node) bool { return working(nodes["main-1"]) })
	if got := on(t, c, after["main-1"], ". /etc/devctl/node.env; echo $DEVCTL_ETCD"); got != "join" {
		t.Errorf("the new main starts as %q, want join", got)
	}

	// Both while a devctl works on the stack: for the supervisor they are gone at once.
	release, err := c.hold(t.Context(), alpha.name)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range after {
		if err := c.removeContainer(t.Context(), n.ID); err != nil {
			t.Error(err)
		}
	}
	release()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); !strings.Contains(c.lastLogLines(t.Context(), s.id, 50), "all main nodes of stack"); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the supervisor does not say that all mains are gone")
		}
	}
	if found, err := c.Nodes(t.Context(), alpha.name, ""); err != nil || len(found) > 0 {
		t.Errorf("the supervisor founded another cluster: %v, %v", found, err)
	}
}

// TestMain is also the process that holds the machines of alpha for the test below, and can be killed.
func TestMain(m *testing.M) {
	if os.Getenv("LCTEST_HOLD") == "" {
		os.Exit(m.Run())
	}
	c, err := Connect()
	if err == nil {
		_, err = c.hold(context.Background(), alpha.name)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("holding")
	_, _ = os.Stdin.Read(make([]byte, 1)) // a pipe of which nobody writes to the other end
}

// TestSupervisorWaitsForDevctl kills a node while another process works on the stack, and then, with SIGKILL, that process.
func TestSupervisorWaitsForDevctl(t *testing.T) {
	c := connect(t, alpha)
	g := group(t, c, alpha, api.RoleData, 1)
	before, _ := converge(t, c, g, false)
	supervise(t, c, g)

	holder := exec.Command(os.Args[0])
	holder.Env = append(holder.Environ(), "LCTEST_HOLD=1")
	if _, err := holder.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	said, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Process.Kill() }()
	if line, err := bufio.NewReader(said).ReadString('\n'); line != "holding\n" {
		t.Fatalf("the holder says %q, %v", line, err)
	}
	if err := c.docker.ContainerKill(t.Context(), before["data-1"].ID, "KILL"); err != nil {
		t.Fatal(err)
	}
	// Free, the supervisor starts it within some 100 ms.
	for tick, end := time.NewTicker(50*time.Millisecond), time.After(2*time.Second); ; {
		nodes, err := c.Nodes(t.Context(), alpha.name, "")
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(nodes, func(n Node) bool { return n.Running }) {
			t.Fatal("the supervisor touched a machine while it was held")
		}
		select {
		case <-tick.C:
			continue
		case <-end:
			tick.Stop()
		}
		break
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // it was killed
	waitNodes(t, c, alpha.name, "data-1 is back", func(nodes map[string]Node) bool { return working(nodes["data-1"]) })
}

// TestShrunkGroupStaysSmall: what a person takes away is not brought back.
func TestShrunkGroupStaysSmall(t *testing.T) {
	c := connect(t, alpha)
	g := group(t, c, alpha, api.RoleData, 2)
	converge(t, c, g, false)
	s := supervise(t, c, g)
	small := group(t, c, alpha, api.RoleData, 1)
	nodes, lines := converge(t, c, small, true)
	if want := []string{"data-2: removed"}; !cmp.Equal(lines, want) {
		t.Errorf("shrinking did %v, want %v", lines, want)
	}
	// The supervisor looked at the group after its end: it brings back what is wanted.
	if err := c.docker.ContainerKill(t.Context(), nodes["data-1"].ID, "KILL"); err != nil {
		t.Fatal(err)
	}
	after := waitNodes(t, c, alpha.name, "data-1 is back", func(nodes map[string]Node) bool { return working(nodes["data-1"]) })
	if said := c.lastLogLines(t.Context(), s.id, 50); len(after) != 1 || strings.Contains(said, "data-2") {
		t.Errorf("nodes are %v, the supervisor said:\n%s", after, said)
	}
}

// TestSupervisorThatDoesNotRun is made again: it may be no more than what a devctl that was killed had made of it.
func TestSupervisorThatDoesNotRun(t *testing.T) {
	c := connect(t, alpha)
	g := group(t, c, alpha, api.RoleData, 1)
	converge(t, c, g, false)
	whole := supervise(t, c, g)
	details, err := c.docker.ContainerInspect(t.Context(), whole.id)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.removeContainer(t.Context(), whole.id); err != nil {
		t.Fatal(err)
	}
	if _, err := c.docker.ContainerCreate(t.Context(), details.Config, details.HostConfig, nil, nil, strings.TrimPrefix(details.Name, "/")); err != nil {
		t.Fatal(err)
	}
	if half, err := c.findSupervisor(t.Context(), alpha.name); err != nil || half == nil || half.running || half.made != whole.made {
		t.Fatalf("the supervisor without a program is %+v, %v", half, err)
	}
	supervise(t, c, g)
}

func TestNoSocket(t *testing.T) {
	t.Parallel()
	c, err := Connect(client.WithHost("tcp://198.18.240.1:2375"))
	if err != nil {
		t.Fatal(err)
	}
	c.Want(Group{Stack: alpha.name, Role: api.RoleData, Image: "none"})
	err = c.Supervise(t.Context(), alpha.name)
	want := "self-healing of machines is off: Docker is at tcp://198.18.240.1:2375, and a supervisor can be given a unix socket only; " +
		"a node that is lost comes back with the next `devctl up`"
	if !errors.Is(err, ErrNoSocket) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
