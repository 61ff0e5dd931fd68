package stacks

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// validateProvider checks what depends on the provider.
func (l *loader) validateProvider() {
	if !l.sound("devctl:provider") {
		return
	}
	l.validateKeysOfProvider()
	switch l.spec.Provider {
	case ProviderLocal:
		l.validateLocal()
	case ProviderAWS:
		l.validateCloud()
		l.validateAWS()
	case ProviderDigitalOcean:
		l.validateCloud()
		l.validateDigitalOcean()
	}
}

// validateKeysOfProvider finds keys that the provider has no use for, and misses those that only it needs. Of a mapping
// and what is in it only the mapping is reported.
func (l *loader) validateKeysOfProvider() {
	for _, k := range keys() {
		in, _ := parent(k.path)
		given, around := l.spec.source.has(k.path), in == "" || l.spec.source.has(in)
		switch mine := k.provider == l.spec.Provider; {
		case k.provider == "":
		case given && !mine && (in == "" || l.keys[in].provider == ""):
			l.problems = append(l.problems, l.spec.source.problem(k.path, "",
				fmt.Sprintf("is given, must be left out with provider %s: it is for provider %s only", l.spec.Provider, k.provider)))
		case mine && k.required && !given && around:
			l.missing(k.path, k.want)
		}
	}
}

func (l *loader) missing(path, want string) {
	l.unsound[path] = true
	l.problems = append(l.problems, l.spec.source.problem(path, "", "is missing, must be "+want))
}

func (l *loader) validateLocal() {
	for _, group := range l.machineTypes() {
		if group.machineType != "" {
			l.invalid(group.path, strconv.Quote(group.machineType),
				"must be left out on the local provider, whose nodes are containers that share this machine")
		}
	}
	if worker := l.spec.Nodes.Worker; worker.Max > maxLocalWorkers && l.sound("devctl:nodes.worker.max", "devctl:nodes.worker.min") {
		l.invalid("devctl:nodes.worker.max", worker.Max, "must be at most %d on the local provider, whose address plan has no more", maxLocalWorkers)
	}
	if cidrs := l.spec.Endpoint.ClientCIDRs; len(cidrs) > 0 {
		l.invalid("devctl:endpoint.clientCidrs", strings.Join(cidrs, ", "),
			"must be left out on the local provider, whose endpoint only this machine reaches")
	}
}

type machineTypeOf struct{ path, machineType string }

func (l *loader) machineTypes() []machineTypeOf {
	nodes := l.spec.Nodes
	return []machineTypeOf{
		{"devctl:nodes.main.machineType", nodes.Main.MachineType},
		{"devctl:nodes.worker.machineType", nodes.Worker.MachineType},
		{"devctl:nodes.data.machineType", nodes.Data.MachineType},
	}
}

func (l *loader) validateCloud() {
	if len(l.spec.AdminCIDRs) == 0 && l.sound("devctl:adminCidrs") {
		l.missing("devctl:adminCidrs", "a list of at least one IPv4 range on a cloud: from elsewhere nobody reaches the controllers, "+
			"and devctl has to")
	}
}

// A family of AWS's machine types with Arm processors has a g behind its generation, or is the first of them.
var (
	awsMachine = regexp.MustCompile(`^[a-z][a-z0-9-]*\.[a-z0-9-]+$`)
	awsArm     = regexp.MustCompile(`^([a-z]+[0-9]+g[a-z]*|a1)\.`)
)

// awsElsewhere are regions of partitions of their own, with accounts, endpoints and ARNs of their own.
var awsElsewhere = regexp.MustCompile(`^(cn|us-gov|us-iso[a-z]*|eu-isoe|eusc)-`)

func (l *loader) validateAWS() {
	if region := l.spec.AWS.Region; awsElsewhere.MatchString(region) && l.sound("devctl:aws.region") {
		l.invalid("devctl:aws.region", strconv.Quote(region), "must be a region of AWS's public cloud, for example eu-central-1: "+
			"the rights of machines are written for that")
	}
	for _, group := range l.machineTypes() {
		switch {
		case !l.sound(group.path):
		case !awsMachine.MatchString(group.machineType):
			l.invalid(group.path, strconv.Quote(group.machineType), "must be a machine type of AWS, for example t3.small")
		case awsArm.MatchString(group.machineType):
			l.invalid(group.path, strconv.Quote(group.machineType), "must be one with x86-64 processors, for example t3.small: "+
				"devctl's daemon and images are built for them")
		}
	}
	if l.sound("devctl:network.cidr") && l.spec.plan().Bits() > maxPrefix-zoneBits {
		l.unsound["devctl:network.cidr"] = true
		l.invalid("devctl:network.cidr", strconv.Quote(l.spec.Network.CIDR), "must be /%d or larger on AWS, where each zone gets an eighth of it",
			maxPrefix-zoneBits)
	}
	if !l.sound("devctl:network.zones", "devctl:aws.region") || l.spec.AWS.Region == "" {
		return
	}
	zones, region := l.spec.Network.Zones, l.spec.AWS.Region
	for i, zone := range zones {
		letter, found := strings.CutPrefix(zone, region)
		if !found || len(letter) != 1 || letter < "a" || letter > "z" {
			l.invalid(fmt.Sprintf("devctl:network.zones[%d]", i), strconv.Quote(zone), "must be an availability zone of %s, for example %sa", region, region)
		}
	}
	if len(zones) > 1<<zoneBits {
		l.invalid("devctl:network.zones", fmt.Sprintf("a list of %d", len(zones)), "must be one of at most %d", 1<<zoneBits)
	}
}

func (l *loader) validateDigitalOcean() {
	for _, group := range l.machineTypes() {
		if l.sound(group.path) && !strings.Contains(group.machineType, "-") {
			l.invalid(group.path, strconv.Quote(group.machineType), "must be a droplet size, for example s-1vcpu-2gb")
		}
	}
	if len(l.spec.SSHKeys) == 0 && l.sound("devctl:sshKeys") {
		l.missing("devctl:sshKeys", "a list of at least one SSH public key: DigitalOcean creates no machine from an image of one's own without")
	}
	region := l.spec.DigitalOcean.Region
	if l.sound("devctl:network.zones", "devctl:digitalocean.region") && region != "" && !slices.Equal(l.spec.Network.Zones, []string{region}) {
		l.invalid("devctl:network.zones", "["+strings.Join(l.spec.Network.Zones, ", ")+"]",
			"must be [%s] or left out: DigitalOcean has no zones, and nothing says which machines fail together", region)
	}
	l.validateVPC()
	const coreos = "devctl:digitalocean.coreos"
	if image := l.spec.DigitalOcean.CoreOS; l.spec.source.has(coreos) && l.sound(coreos+".url", coreos+".imageId") && (image.URL == "") == (image.ImageID == "") {
		l.invalid(coreos, "a mapping", "must be one with the key url or the key imageId, and not both")
	}
}

var (
	// private are the ranges of RFC 1918, which a VPC of DigitalOcean has to be in.
	private = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16")}
	// taken are the ranges that DigitalOcean keeps for itself.
	taken = []netip.Prefix{
		netip.MustParsePrefix("10.229.0.0/16"), netip.MustParsePrefix("10.244.0.0/16"),
		netip.MustParsePrefix("10.245.0.0/16"), netip.MustParsePrefix("10.246.0.0/24"),
	}
)

func (l *loader) validateVPC() {
	const cidr = "devctl:network.cidr"
	if !l.sound(cidr) {
		return
	}
	network := netip.MustParsePrefix(l.spec.Network.CIDR)
	inside := func(p netip.Prefix) bool { return p.Bits() <= network.Bits() && p.Contains(network.Addr()) }
	if !slices.ContainsFunc(private, inside) {
		l.invalid(cidr, strconv.Quote(l.spec.Network.CIDR), "must be in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 on DigitalOcean")
		return
	}
	if i := slices.IndexFunc(taken, network.Overlaps); i >= 0 {
		l.invalid(cidr, strconv.Quote(l.spec.Network.CIDR), "must be outside of %s, which DigitalOcean keeps for itself", taken[i])
	}
}
