package localcloud

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"devctl/internal/api"
	"devctl/internal/localcloud/localcloudtest"
)

// The tests below talk to the real Docker engine: without one they fail, and say so.

// Two stacks that nobody else has, in ranges that nobody else uses.
var (
	alpha = testStack{name: "lctest-alpha", prefix: "198.18.240"}
	beta  = testStack{name: "lctest-beta", prefix: "198.18.241"}
)

type testStack struct{ name, prefix string }

func (s testStack) cidr() string { return s.prefix + ".0/24" }

// identities are the first n nodes of a role.
func (s testStack) identities(role api.Role, n int) []api.Identity {
	first := map[api.Role]int{api.RoleMain: 11, api.RoleWorker: 21, api.RoleData: 101}[role]
	var ids []api.Identity
	for i := range n {
		ids = append(ids, api.Identity{
			Stack: s.name, Name: fmt.Sprintf("%s-%d", role, i+1), Role: role, Zone: string(rune('a' + i)),
			Address: fmt.Sprintf("%s.%d", s.prefix, first+i),
		})
	}
	return ids
}

// secret is what must not be found anywhere outside a node.
const secret = "correct-horse-battery-staple"

const (
	testConfig = `{"ignition":{"version":"3.3.0"},"systemd":{"units":[{"name":"hello.service","enabled":true,"contents":` +
		`"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/local/bin/devctld\n[Install]\nWantedBy=multi-user.target\n"}]}}`
	testSecrets = `{"ignition":{"version":"3.3.0"},"storage":{"files":[{"path":"/etc/devctl/pki/secret","mode":384,` +
		`"contents":{"source":"data:,` + secret + `"}}]}}`
	brokenConfig = `{"ignition":{"version":"3.3.0"},"systemd":{"units":[{"name":"hello.service","enabled":true,"contents":` +
		`"[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo the reason why; exit 1'\n[Install]\nWantedBy=multi-user.target\n"}]}}`
)

// connect returns the cloud, with the test's stacks gone now and after the test.
func connect(t *testing.T, stacks ...testStack) *Cloud {
	t.Helper()
	c, err := Connect()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.checkEngine(t.Context()); err != nil {
		t.Fatalf("these tests need a Docker engine: %v", err)
	}
	clean := func() {
		for _, s := range stacks {
			for _, role := range api.Roles() {
				if err := c.RemoveGroup(context.Background(), s.name, role, func(string) {}); err != nil {
					t.Error(err)
				}
			}
			if err := c.RemoveNetwork(context.Background(), s.name); err != nil {
				t.Error(err)
			}
		}
	}
	clean()
	t.Cleanup(clean)
	return c
}

// group is a desired group of n data nodes on a network that exists.
func group(t *testing.T, c *Cloud, s testStack, role api.Role, n int) Group {
	t.Helper()
	set, err := localcloudtest.Set()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.EnsureArtifacts(t.Context(), set, func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
	if err := c.EnsureNetwork(t.Context(), s.name, s.cidr()); err != nil {
		t.Fatal(err)
	}
	return Group{
		Stack: s.name, Role: role, Nodes: s.identities(role, n), Network: NetworkName(s.name), Image: set.Node.Ref,
		Store: set.Store, Config: testConfig, Secrets: testSecrets, Units: []string{"hello.service"},
	}
}

// converge brings the group to its desired state and returns what exists by name.
func converge(t *testing.T, c *Cloud, g Group, formed bool) (map[string]Node, []string) {
	t.Helper()
	var lines []string
	nodes, err := c.Converge(t.Context(), g, formed, func(line string) { lines = append(lines, line) })
	if err != nil {
		t.Fatal(err)
	}
	return byName(nodes), lines
}

func byName(nodes []Node) map[string]Node {
	m := map[string]Node{}
	for _, n := range nodes {
		m[n.Name] = n
	}
	return m
}

// on runs a shell command on a node and returns what it printed.
func on(t *testing.T, c *Cloud, n Node, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, code, err := c.run(ctx, n.ID, "sh", "-c", command)
	if err != nil || code != 0 {
		t.Fatalf("%s on %s: exit code %d, error %v\n%s", command, n.Name, code, err, out)
	}
	return strings.TrimSpace(out)
}

func TestNodeBoots(t *testing.T) {
	c := connect(t, alpha)
	nodes, lines := converge(t, c, group(t, c, alpha, api.RoleData, 1), false)
	t.Log(lines)
	n := nodes["data-1"]
	if !n.Ready || !n.Running {
		t.Fatalf("data-1 is %+v, want it running and ready", n)
	}
	for command, want := range map[string]string{
		"systemctl is-system-running":                                            "running",
		"cat /run/devctl/platform.env":                                           "DEVCTL_INSTANCE_ID=" + n.ID,
		". /etc/devctl/node.env; echo $DEVCTL_NODE $DEVCTL_ZONE $DEVCTL_ADDRESS": "data-1 a 198.18.240.101",
		"cat /etc/devctl/pki/secret; stat -c ' %a' /etc/devctl/pki/secret":       secret + " 600",
		"ls -A /var/lib/ignition /run/ignition* 2>/dev/null | grep -c json":      "0",
		"hostname": "data-1",
	} {
		if strings.HasPrefix(command, "ls") {
			command += " || true"
		}
		if got := on(t, c, n, command); got != want {
			t.Errorf("%s prints %q, want %q", command, got, want)
		}
	}
	set, err := localcloudtest.Set()
	if err != nil {
		t.Fatal(err)
	}
	run := "podman run --rm --pull=never --network=host --cgroups=disabled " + set.Services[0].Ref + " served"
	if got := on(t, c, n, run); got != "served" {
		t.Errorf("a container from the image store prints %q, want served", got)
	}

	// What a Docker restart does: the same machine boots again, without a second provisioning.
	on(t, c, n, "echo kept >/etc/devctl/kept")
	if err := c.stopNode(t.Context(), n.Name, n.ID); err != nil {
		t.Fatal(err)
	}
	nodes, _ = converge(t, c, group(t, c, alpha, api.RoleData, 1), true)
	if nodes["data-1"].ID != n.ID {
		t.Errorf("a stopped node was made again instead of started")
	}
	if got := on(t, c, n, "cat /etc/devctl/kept /run/devctl/platform.env"); got != "kept\nDEVCTL_INSTANCE_ID="+n.ID {
		t.Errorf("after a restart the node has %q", got)
	}
}
