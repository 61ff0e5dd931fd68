package localcloud

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/versions"
)

const (
	// minAPIVersion came with Docker 20.10: the first with a cgroup namespace per container.
	minAPIVersion = "1.41"
	// minMemory is what the default stack needs with some room, in bytes.
	minMemory = 2 << 30
	// inotifyPerNode is how many inotify instances a node keeps open: three are systemd's, one is D-Bus'.
	inotifyPerNode = 4
	// inotifyLimit has how many of them the kernel lets a user have, and root's are those of all nodes.
	inotifyLimit = "/proc/sys/fs/inotify/max_user_instances"
)

// PreflightArgs says what is about to be created.
type PreflightArgs struct {
	Stack string
	CIDR  string
	Nodes int // how many the stack is to have
}

// Preflight checks, without changing anything, that a stack can be created here. Each error says what to do.
func Preflight(ctx context.Context, args PreflightArgs) []error {
	c, err := Connect()
	if err != nil {
		return []error{err}
	}
	defer c.Close()
	return c.preflight(ctx, args)
}

func (c *Cloud) preflight(ctx context.Context, args PreflightArgs) []error {
	if err := c.checkEngine(ctx); err != nil {
		return []error{err}
	}
	var problems []error
	var info system.Info
	err := c.call(ctx, "ask Docker about its machine", func(ctx context.Context) (err error) {
		info, err = c.docker.Info(ctx)
		return err
	})
	if err != nil {
		return []error{err}
	}
	if info.OSType != "linux" {
		problems = append(problems, fmt.Errorf("the Docker engine runs %s containers: switch it to Linux containers", info.OSType))
	}
	if info.MemTotal < minMemory {
		problems = append(problems, fmt.Errorf("the Docker engine has %d MiB of memory, a stack needs %d: give its machine more", info.MemTotal>>20, minMemory>>20))
	}
	prefix, err := netip.ParsePrefix(args.CIDR)
	if err != nil {
		return append(problems, fmt.Errorf("network of stack %q: %w", args.Stack, err))
	}
	taken, err := c.takenPrefixes(ctx, args.Stack)
	if err != nil {
		return append(problems, err)
	}
	if err := overlap(prefix, taken); err != nil {
		problems = append(problems, err)
	}
	others, err := c.nodesOfOthers(ctx, args.Stack)
	if err != nil {
		return append(problems, err)
	}
	// Where it cannot be read, Docker has another kernel: then a node that does not boot says what it lacks.
	if limit, err := os.ReadFile(inotifyLimit); err == nil {
		if err := crowded(args.Nodes, others, string(limit)); err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

// nodesOfOthers counts the nodes of other stacks that run on this machine.
func (c *Cloud) nodesOfOthers(ctx context.Context, stack string) (others int, err error) {
	err = c.call(ctx, "list the nodes on this machine", func(ctx context.Context) error {
		all, err := c.docker.ContainerList(ctx, container.ListOptions{Filters: labelled(labelNode)})
		for _, found := range all {
			if found.Labels[labelStack] != stack {
				others++
			}
		}
		return err
	})
	return others, err
}

// crowded says that the kernel would not let so many nodes boot beside those of other stacks.
func crowded(nodes, others int, limit string) error {
	allowed, err := strconv.Atoi(strings.TrimSpace(limit))
	if err != nil || (nodes+others)*inotifyPerNode < allowed { // root has a few of its own
		return nil
	}
	beside := ""
	if others > 0 {
		beside = fmt.Sprintf(" beside %d of other stacks", others)
	}
	return fmt.Errorf("%d nodes%s need more than %d inotify instances, this machine has %d: `sudo sysctl fs.inotify.max_user_instances=1024` allows more",
		nodes, beside, (nodes+others)*inotifyPerNode, allowed)
}

// checkEngine checks that a Docker that is new enough answers.
func (c *Cloud) checkEngine(ctx context.Context) error {
	var ping types.Ping
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ping, err := c.docker.Ping(limited)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("this user may not use the Docker engine at %s (%w); `sudo usermod -aG docker $USER` adds you to the group that may, "+
			"from the next login on", c.docker.DaemonHost(), err)
	case err != nil:
		return fmt.Errorf("no Docker engine answers at %s (%w); start it with `systemctl start docker`, or `dockerd` where there is no "+
			"systemd; `apt-get install docker.io` installs it; if yours is elsewhere, set DOCKER_HOST", c.docker.DaemonHost(), err)
	}
	if versions.LessThan(ping.APIVersion, minAPIVersion) {
		return fmt.Errorf("the Docker engine at %s speaks API %s, devctl needs %s (Docker 20.10) or newer: upgrade it",
			c.docker.DaemonHost(), ping.APIVersion, minAPIVersion)
	}
	return nil
}

// claim is a range of addresses that somebody uses.
type claim struct {
	prefix netip.Prefix
	by     string // for people: whose it is
}

// networkClaims lists the ranges of Docker's networks: the stack's own, and all others.
func (c *Cloud) networkClaims(ctx context.Context, stack string) (own, others []claim, err error) {
	var networks []network.Summary
	err = c.call(ctx, "list Docker's networks", func(ctx context.Context) (err error) {
		networks, err = c.docker.NetworkList(ctx, network.ListOptions{})
		return err
	})
	for _, n := range networks {
		by := fmt.Sprintf("Docker's network %q", n.Name)
		if other := n.Labels[labelStack]; other != "" {
			by = fmt.Sprintf("stack %q", other)
		}
		for _, p := range subnets(n) {
			if n.Labels[labelStack] == stack {
				own = append(own, claim{p, by})
			} else {
				others = append(others, claim{p, by})
			}
		}
	}
	return own, others, err
}

// takenPrefixes lists the ranges that are not the stack's own: of Docker's networks and of this machine's routes.
func (c *Cloud) takenPrefixes(ctx context.Context, stack string) ([]claim, error) {
	own, taken, err := c.networkClaims(ctx, stack)
	if err != nil {
		return nil, err
	}
	// Without routes (another system, or Docker in a virtual machine) Docker's own networks are what is known.
	table, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return taken, nil
	}
	known := slices.Concat(own, taken)
	for _, route := range parseRoutes(string(table)) {
		if !slices.ContainsFunc(known, func(k claim) bool { return k.prefix == route.prefix }) {
			taken = append(taken, route)
		}
	}
	return taken, nil
}

// parseRoutes reads /proc/net/route. The default route claims nothing.
func parseRoutes(table string) []claim {
	var routes []claim
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 8 {
			continue
		}
		destination, err := parseRouteAddress(fields[1])
		if err != nil {
			continue // the heading
		}
		mask, err := parseRouteAddress(fields[7])
		if err != nil || mask == ([4]byte{}) {
			continue
		}
		bits := 0
		for m := binary.BigEndian.Uint32(mask[:]); m != 0; m <<= 1 {
			bits++
		}
		prefix := netip.PrefixFrom(netip.AddrFrom4(destination), bits).Masked()
		routes = append(routes, claim{prefix, fmt.Sprintf("the route of this machine's interface %s", fields[0])})
	}
	return routes
}

// parseRouteAddress reads an address as the kernel prints it: hexadecimal, in the order of a little-endian machine.
func parseRouteAddress(s string) (address [4]byte, err error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != 4 {
		return address, fmt.Errorf("parse address %q of a route", s)
	}
	slices.Reverse(raw)
	return [4]byte(raw), nil
}

// overlap says which claim prefix collides with and names a free range of the same size, or returns nil.
func overlap(prefix netip.Prefix, taken []claim) error {
	for _, t := range taken {
		if !t.prefix.Overlaps(prefix) {
			continue
		}
		advice := "choose another in devctl:network.cidr"
		if free, ok := freePrefix(prefix.Bits(), taken); ok {
			advice = fmt.Sprintf("set devctl:network.cidr to a free one, for example %s", free)
		}
		return fmt.Errorf("the network %s overlaps %s of %s: %s", prefix.Masked(), t.prefix, t.by, advice)
	}
	return nil
}

// freePrefix finds a free range in 198.18.0.0/15, which RFC 2544 keeps out of everybody's networks.
func freePrefix(bits int, taken []claim) (netip.Prefix, bool) {
	pool := netip.MustParsePrefix("198.18.0.0/15")
	if bits < pool.Bits() || bits > 32 {
		return netip.Prefix{}, false
	}
	start := binary.BigEndian.Uint32(pool.Addr().AsSlice())
	for i := uint32(0); i < 1<<(bits-pool.Bits()); i++ {
		var address [4]byte
		binary.BigEndian.PutUint32(address[:], start+i<<(32-bits))
		candidate := netip.PrefixFrom(netip.AddrFrom4(address), bits)
		if !slices.ContainsFunc(taken, func(t claim) bool { return t.prefix.Overlaps(candidate) }) {
			return candidate, true
		}
	}
	return netip.Prefix{}, false
}
