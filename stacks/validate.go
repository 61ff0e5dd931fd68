package stacks

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"devctl/internal/api"
)

var stackName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$`)

// checkStackName says what is wrong with a stack's name. It is part of host, container and network names.
func checkStackName(name string) string {
	if stackName.MatchString(name) {
		return ""
	}
	return fmt.Sprintf("stack name %q must be at most 20 lower-case letters, digits and hyphens, "+
		"begin with a letter and not end with a hyphen, for example staging-2", shorten(name))
}

// validate checks what concerns more than one key. Each key by itself is fine by then, or unsound.
func (l *loader) validate() {
	l.validateProvider()
	l.validateGroups()
	l.validateRedis()
	l.validateZones()
	l.validatePlan()
	l.validatePorts()
}

func (l *loader) validateGroups() {
	worker := l.spec.Nodes.Worker
	if l.sound("devctl:nodes.worker.min", "devctl:nodes.worker.max") && worker.Max < worker.Min {
		l.invalid("devctl:nodes.worker.max", worker.Max, "must be a number from min, %d, to %d", worker.Min, maxWorkers)
	}
}

func (l *loader) validateRedis() {
	redis, data, zones := l.spec.Redis, l.spec.Nodes.Data.Count, len(l.spec.Network.Zones)
	if l.sound("devctl:redis.shards", "devctl:nodes.data.count") && data < redis.Shards {
		l.invalid("devctl:nodes.data.count", data, "must be at least %d, a node for the primary of each of the %d shards: "+
			"losing one data node must leave a majority of primaries", redis.Shards, redis.Shards)
	}
	if l.sound("devctl:redis.replicas", "devctl:nodes.data.count") && data < redis.Replicas+1 {
		l.invalid("devctl:nodes.data.count", data, "must be at least %d: a primary and its %d replicas are each on a node of their own",
			redis.Replicas+1, redis.Replicas)
	}
	if l.spec.Provider != ProviderDigitalOcean && l.sound("devctl:redis.replicas", "devctl:network.zones") && redis.Replicas > 0 && zones < redis.Replicas+1 {
		l.invalid("devctl:redis.replicas", redis.Replicas, "must be at most %d, one fewer than the %d zones in devctl:network.zones: "+
			"a primary and its replicas are each in a zone of their own", zones-1, zones)
	}
}

func (l *loader) validateZones() {
	first := map[string]int{}
	for i, zone := range l.spec.Network.Zones {
		if before, found := first[zone]; found && l.sound("devctl:network.zones") {
			l.invalid(fmt.Sprintf("devctl:network.zones[%d]", i), strconv.Quote(zone),
				"must be a name of its own: devctl:network.zones[%d] is the same", before)
			continue
		}
		first[zone] = i
	}
}

// validatePlan checks that every node and the endpoint have an address in the plan of derive.go.
func (l *loader) validatePlan() {
	if !l.sound("devctl:network.cidr") {
		return
	}
	plan := l.spec.plan()
	if limit := plan.maxData(); l.sound("devctl:nodes.data.count") && l.spec.Nodes.Data.Count > limit {
		l.invalid("devctl:nodes.data.count", l.spec.Nodes.Data.Count,
			"must be at most %d, the addresses that devctl:network.cidr %s has for data nodes", limit, plan)
	}
	address := l.spec.Endpoint.Address
	if address == "" || !l.sound("devctl:endpoint.address") {
		return
	}
	if free := plan.endpoints(); l.spec.Provider == ProviderLocal && !slices.Contains(free, address) {
		l.invalid("devctl:endpoint.address", strconv.Quote(address), "must be an address of devctl:network.cidr %s that no node may get: "+
			"%s to %s, %s or %s", plan, free[0], free[len(free)-3], free[len(free)-2], free[len(free)-1])
	}
}

// reservedPorts mean the same on every node of every stack, so that a firewall rule or a packet capture needs no
// look at the spec. Redis ports are not among them: they depend on the shards and are open on data nodes only.
var reservedPorts = map[int]string{
	api.EtcdClientPort: "etcd's clients",
	api.EtcdPeerPort:   "etcd's members",
	api.ControllerPort: "the controllers' API",
}

func (l *loader) validatePorts() {
	const port, statsPort = "devctl:endpoint.port", "devctl:endpoint.statsPort"
	endpoint := l.spec.Endpoint
	for _, wanted := range []struct {
		path   string
		number int
	}{{port, endpoint.Port}, {statsPort, endpoint.StatsPort}} {
		if user, reserved := reservedPorts[wanted.number]; reserved && l.sound(wanted.path) {
			l.invalid(wanted.path, wanted.number, "must be another port: devctl keeps this one for %s", user)
		}
	}
	if l.sound(port, statsPort) && endpoint.Port == endpoint.StatsPort {
		l.invalid(statsPort, endpoint.StatsPort, "must be another port than %s, which is the same", port)
	}
}

// sound tells whether the values at all these paths are fine by themselves.
func (l *loader) sound(paths ...string) bool {
	for _, path := range paths {
		for path != "" {
			if l.unsound[path] {
				return false
			}
			path, _ = parent(path)
		}
	}
	return true
}

func (l *loader) invalid(path string, value any, format string, args ...any) {
	message := fmt.Sprintf("is %v, ", value) + fmt.Sprintf(format, args...)
	l.problems = append(l.problems, l.spec.source.problem(path, fmt.Sprint(value), message))
}

// checkCIDR says what is wrong with an IPv4 range.
func checkCIDR(value string) string {
	prefix, err := netip.ParsePrefix(value)
	switch {
	case err != nil:
		return "must be an IPv4 range, for example 192.0.2.0/24"
	case !prefix.Addr().Is4():
		return "must be an IPv4 range: the network has no IPv6"
	case prefix != prefix.Masked():
		return fmt.Sprintf("must be %s: there are bits set behind the prefix", prefix.Masked())
	}
	return ""
}

// notUnicast are ranges that no machine can have an address in.
var notUnicast = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/3"),
}

// checkNetwork says what is wrong with a range for a stack's network.
func checkNetwork(value string) string {
	if message := checkCIDR(value); message != "" {
		return strings.Replace(message, "192.0.2.0/24", "198.18.0.0/24", 1)
	}
	prefix := netip.MustParsePrefix(value)
	switch {
	case prefix.Bits() > maxPrefix:
		return fmt.Sprintf("must be /%d or larger: the nodes' addresses do not fit into less", maxPrefix)
	case prefix.Bits() < minPrefix:
		return fmt.Sprintf("must be /%d or smaller: clouds allow no larger network", minPrefix)
	}
	for _, reserved := range notUnicast {
		if prefix.Overlaps(reserved) {
			return fmt.Sprintf("must be outside %s, which is not for machines; for example 198.18.0.0/24", reserved)
		}
	}
	return ""
}

func checkAddress(value string) string {
	if address, err := netip.ParseAddr(value); err != nil || !address.Is4() {
		return "must be an IPv4 address, for example 198.18.0.10"
	}
	return ""
}

func checkSSHKey(value string) string {
	if _, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(value)); err != nil || len(rest) > 0 || strings.ContainsAny(value, "\r\n") {
		return `must be one SSH public key, a line such as "ssh-ed25519 AAAA… you@example"`
	}
	return ""
}
