package localcloud

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

// TestStopFinishesTheNodeInWork stops a roll while its first node is being replaced.
func TestStopFinishesTheNodeInWork(t *testing.T) {
	c := connect(t, alpha)
	g := group(t, c, alpha, api.RoleData, 3)
	before, _ := converge(t, c, g, false)

	g.Config = strings.Replace(testConfig, "RemainAfterExit=yes", `Environment=CHANGED=1\nRemainAfterExit=yes`, 1)
	stop := make(chan struct{})
	var looked []string
	c.Stop = stop
	c.Healthy = func(_ context.Context, node api.Identity) error {
		looked = append(looked, node.Name)
		return nil
	}
	nodes, err := c.Converge(t.Context(), g, true, func(line string) {
		if line == "data-1: replacing" {
			close(stop)
		}
	})
	if want := "interrupted; not begun: data-2, data-3"; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	if want := []string{"data-1"}; !cmp.Equal(looked, want) {
		t.Errorf("health was asked after %v, want %v", looked, want)
	}
	after := byName(nodes)
	if n := after["data-1"]; !n.Ready || n.ID == before["data-1"].ID {
		t.Errorf("data-1 is %+v, want it replaced and ready", n)
	}
	for _, name := range []string{"data-2", "data-3"} {
		if diff := cmp.Diff(before[name], after[name]); diff != "" {
			t.Errorf("%s was touched:\n%s", name, diff)
		}
	}

	c.Stop = nil
	_, lines := converge(t, c, g, true)
	if len(lines) != 4 || lines[0] != "data-2: replacing" || lines[2] != "data-3: replacing" {
		t.Errorf("going on did %v, want to replace data-2 and data-3", lines)
	}
}

// TestStopGivesFirstNodesUp: they may wait for others that are not begun any more. Nothing is lost, the next run goes on.
func TestStopGivesFirstNodesUp(t *testing.T) {
	c := connect(t, alpha)
	g := group(t, c, alpha, api.RoleData, 1)
	const waits = `ExecStart=/bin/sh -c 'until test -e /run/others; do sleep 0.1; done'\n`
	if g.Config = strings.Replace(testConfig, `ExecStart=/usr/local/bin/devctld\n`, waits, 1); g.Config == testConfig {
		t.Fatal("the test's machines start no agent")
	}
	stop, ended := make(chan struct{}), make(chan error)
	c.Stop = stop
	var nodes []Node
	go func() {
		var err error
		nodes, err = c.Converge(t.Context(), g, false, func(line string) { t.Error(line) })
		ended <- err
	}()
	waitNodes(t, c, alpha.name, "data-1 runs", func(nodes map[string]Node) bool { return nodes["data-1"].Running })
	close(stop)
	begun := time.Now()
	err := <-ended
	if want := "interrupted; not ready yet: data-1"; err == nil || err.Error() != want || len(nodes) != 1 {
		t.Fatalf("got nodes %v, error %v, want %s", nodes, err, want)
	}
	t.Logf("given up %v later", time.Since(begun))

	c.Stop = nil
	on(t, c, nodes[0], "touch /run/others")
	after, _ := converge(t, c, g, false)
	if n := after["data-1"]; !n.Ready || n.ID != nodes[0].ID {
		t.Errorf("data-1 is %+v, want %s and ready", n, nodes[0].ID)
	}
}

func TestStoppedBeginsNothing(t *testing.T) {
	c := connect(t, alpha)
	g := group(t, c, alpha, api.RoleData, 2)
	stop := make(chan struct{})
	close(stop)
	c.Stop = stop
	nodes, err := c.Converge(t.Context(), g, false, func(line string) { t.Error(line) })
	if want := "interrupted; not begun: data-1, data-2"; err == nil || err.Error() != want || len(nodes) != 0 {
		t.Errorf("got nodes %v, error %v, want %s", nodes, err, want)
	}
}

// TestRemoveNetworkWithEverythingOnIt removes machines in every state that a killed run can leave, and those of nobody else.
func TestRemoveNetworkWithEverythingOnIt(t *testing.T) {
	c := connect(t, alpha, beta)
	neighbour, _ := converge(t, c, group(t, c, beta, api.RoleData, 1), false)

	data := group(t, c, alpha, api.RoleData, 3)
	nodes, _ := converge(t, c, data, false)
	worker := group(t, c, alpha, api.RoleWorker, 1)
	if _, err := c.createNode(t.Context(), worker, worker.Nodes[0], ""); err != nil {
		t.Fatal(err)
	}
	if err := c.docker.ContainerPause(t.Context(), nodes["data-1"].ID); err != nil {
		t.Fatal(err)
	}
	if err := c.docker.ContainerKill(t.Context(), nodes["data-2"].ID, "KILL"); err != nil {
		t.Fatal(err)
	}
	// Without -v: its volumes are nobody's.
	if err := c.docker.ContainerRemove(t.Context(), nodes["data-3"].ID, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}

	if left, err := c.leftovers(t.Context(), alpha.name); err != nil || len(left) != 3+1+8 {
		t.Fatalf("there are %d objects, %v, want 3 containers, 1 network, 8 volumes: %v", len(left), err, left)
	}
	for range 2 { // the second time there is nothing to remove
		if err := c.RemoveNetwork(t.Context(), alpha.name); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := c.leftovers(t.Context(), alpha.name); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	after, err := c.Nodes(t.Context(), beta.name, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(neighbour, byName(after)); diff != "" {
		t.Errorf("removing alpha changed beta (-before +after):\n%s", diff)
	}
	if cidr, err := c.FindNetwork(t.Context(), beta.name); err != nil || cidr != beta.cidr() {
		t.Errorf("beta's network is %q, %v", cidr, err)
	}
}

// TestRemovedByTwo removes the same container from two sides at once, as a destroy that follows one that was stopped.
func TestRemovedByTwo(t *testing.T) {
	c := connect(t, alpha)
	nodes, _ := converge(t, c, group(t, c, alpha, api.RoleData, 1), false)
	errs := make(chan error)
	for range 4 {
		go func() { errs <- c.RemoveNetwork(t.Context(), alpha.name) }()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if found, err := c.Nodes(t.Context(), alpha.name, ""); err != nil || len(found) > 0 {
		t.Errorf("after %v was removed there are %v, %v", nodes["data-1"].ID, found, err)
	}
}
