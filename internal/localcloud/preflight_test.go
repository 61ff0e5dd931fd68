package localcloud

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"
)

func TestParseRoutes(t *testing.T) {
	t.Parallel()
	const table = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0101A8C0	0003	0	0	0	00000000	0	0	0
eth0	0001A8C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
docker0	000011AC	00000000	0001	0	0	0	0000FFFF	0	0	0
tun0	0A000A0A	00000000	0005	0	0	0	FFFFFFFF	0	0	0
short	line
`
	var got []string
	for _, r := range parseRoutes(table) {
		got = append(got, r.prefix.String()+" "+r.by)
	}
	want := []string{
		"192.168.1.0/24 the route of this machine's interface eth0",
		"172.17.0.0/16 the route of this machine's interface docker0",
		"10.10.0.10/32 the route of this machine's interface tun0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

func FuzzParseRoutes(f *testing.F) {
	f.Add("eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n")
	f.Fuzz(func(t *testing.T, table string) {
		for _, r := range parseRoutes(table) {
			if !r.prefix.IsValid() || r.prefix.Bits() == 0 {
				t.Errorf("route %v claims what is no range", r.prefix)
			}
		}
	})
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	taken := []claim{
		{netip.MustParsePrefix("198.18.0.0/23"), `stack "beta"`},
		{netip.MustParsePrefix("10.0.0.0/8"), "the route of this machine's interface tun0"},
	}
	tests := map[string]string{
		"198.18.2.0/24": "",
		"198.18.1.0/24": `the network 198.18.1.0/24 overlaps 198.18.0.0/23 of stack "beta": set devctl:network.cidr to a free one, for example 198.18.2.0/24`,
		"198.18.0.0/20": `the network 198.18.0.0/20 overlaps 198.18.0.0/23 of stack "beta": set devctl:network.cidr to a free one, for example 198.18.16.0/20`,
		"10.1.2.0/24":   "the network 10.1.2.0/24 overlaps 10.0.0.0/8 of the route of this machine's interface tun0: set devctl:network.cidr to a free one, for example 198.18.2.0/24",
	}
	for cidr, want := range tests {
		got := ""
		if err := overlap(netip.MustParsePrefix(cidr), taken); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", cidr, got, want)
		}
	}
	full := []claim{{netip.MustParsePrefix("198.18.0.0/15"), "somebody"}}
	if free, ok := freePrefix(24, full); ok {
		t.Errorf("%s is free in a pool that is taken", free)
	}
}

func TestOutsideBoundingSet(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"Name:\tdevctl\nCapBnd:\t000001ffffffffff\n": nil,
		"CapBnd:\t000001fffeffffff\n":                {"SYS_RESOURCE"},
		"CapBnd:\t0000003fffffffff\n":                {"PERFMON", "BPF", "CHECKPOINT_RESTORE"},
	}
	for status, want := range tests {
		got, err := outsideBoundingSet(status)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%q: got %v, %v, want %v", status, got, err, want)
		}
	}
	for status, want := range map[string]string{
		"Name:\tdevctl\n": "no capability bounding set in the process status",
		"CapBnd:\tzz\n":   `parse capability bounding set "zz": strconv.ParseUint: parsing "zz": invalid syntax`,
	} {
		if _, err := outsideBoundingSet(status); err == nil || err.Error() != want {
			t.Errorf("%q: got error %v, want %s", status, err, want)
		}
	}
}

func TestCrowded(t *testing.T) {
	t.Parallel()
	tests := []struct {
		nodes, others int
		limit, want   string
	}{
		{8, 0, "128\n", ""},
		{31, 0, "128\n", ""},
		{32, 0, "128\n", "32 nodes need more than 128 inotify instances, this machine has 128: `sudo sysctl fs.inotify.max_user_instances=1024` allows more"},
		{8, 25, "128\n", "8 nodes beside 25 of other stacks need more than 132 inotify instances, this machine has 128: `sudo sysctl fs.inotify.max_user_instances=1024` allows more"},
		{32, 8, "1024\n", ""},
		{1000, 0, "", ""},
	}
	for _, test := range tests {
		got := ""
		if err := crowded(test.nodes, test.others, test.limit); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%d nodes beside %d with a limit of %q: got %q, want %q", test.nodes, test.others, test.limit, got, test.want)
		}
	}
}

// TestDockerOfSomebodyElse has an engine whose socket belongs to a group that the user is not in.
func TestDockerOfSomebodyElse(t *testing.T) {
	t.Parallel()
	denied := &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)}
	c, err := Connect(client.WithHost("unix:///run/docker.sock"), client.WithDialContext(func(context.Context, string, string) (net.Conn, error) { return nil, denied }))
	if err != nil {
		t.Fatal(err)
	}
	problems := c.preflight(t.Context(), PreflightArgs{Stack: "alpha", CIDR: "198.18.0.0/24"})
	const begin = "this user may not use the Docker engine at unix:///run/docker.sock (permission denied while trying to connect to the Docker daemon socket"
	const end = "; `sudo usermod -aG docker $USER` adds you to the group that may, from the next login on"
	if len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), begin) || !strings.HasSuffix(problems[0].Error(), end) {
		t.Errorf("got %v, want %s…%s", problems, begin, end)
	}
}

func TestNoDocker(t *testing.T) {
	t.Parallel()
	c, err := Connect(client.WithHost("unix:///nonexistent/docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	problems := c.preflight(context.Background(), PreflightArgs{Stack: "alpha", CIDR: "198.18.0.0/24"})
	want := "no Docker engine answers at unix:///nonexistent/docker.sock (Cannot connect to the Docker daemon at unix:///nonexistent/docker.sock. " +
		"Is the docker daemon running?); start it with `systemctl start docker`, or `dockerd` where there is no systemd; " +
		"`apt-get install docker.io` installs it; if yours is elsewhere, set DOCKER_HOST"
	if len(problems) != 1 || problems[0].Error() != want {
		t.Errorf("got %v, want %s", problems, want)
	}
	_, err = c.Nodes(context.Background(), "alpha", "")
	want = "list the nodes of stack alpha: Docker stopped answering (Cannot connect to the Docker daemon at unix:///nonexistent/docker.sock. " +
		"Is the docker daemon running?); start it with `systemctl start docker`, or `dockerd` where there is no systemd, " +
		"then run the command again: it goes on where it stopped"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
