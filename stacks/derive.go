package stacks

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"devctl/components"
	"devctl/internal/api"
)

// The address plan: what is added to the first address of the network. The gateway is at 1. Offsets are part of the
// machines' identity: changing one replaces every machine of every stack.
const (
	endpointOffset = 10
	mainOffset     = 10  // main-1 is at 11
	workerOffset   = 20  // worker-1 is at 21
	dataOffset     = 100 // data-1 is at 101
)

const (
	// balancers is how many workers run HAProxy and keepalived: one may fail.
	balancers = 2
	// nodeTimeoutMS is Redis Cluster's node timeout: a primary's shard takes writes again twice that after its
	// death. Shorter would fail over a primary that only waits for a busy disk.
	nodeTimeoutMS = 2000
	// routerID is keepalived's virtual router. It has to differ only within one network, which has one endpoint.
	routerID = 10
)

// zoneBits is how many bits of an address name its zone on AWS, where a zone is a subnet: no region has more than 8.
const zoneBits = 3

// addressPlan gives out the addresses of a network.
type addressPlan struct {
	netip.Prefix
	zoneBits int // 0: all zones share the network
}

func (s *Spec) plan() addressPlan {
	plan := addressPlan{Prefix: netip.MustParsePrefix(s.Network.CIDR)}
	if s.Provider == ProviderAWS {
		plan.zoneBits = zoneBits
	}
	return plan
}

// at is the address that is offset away from the first one.
func (p addressPlan) at(offset int) string {
	base := p.Addr().As4()
	var address [4]byte
	binary.BigEndian.PutUint32(address[:], binary.BigEndian.Uint32(base[:])+uint32(offset))
	return netip.AddrFrom4(address).String()
}

// zone is the plan of the part of the network that the i-th zone has.
func (p addressPlan) zone(i int) addressPlan {
	if p.zoneBits == 0 {
		return p
	}
	bits := p.Bits() + p.zoneBits
	return addressPlan{Prefix: netip.PrefixFrom(netip.MustParseAddr(p.at(i<<(32-bits))), bits)}
}

// slots is the lower half of a zone's part: what lies above is for machines that the cloud gives an address.
func (p addressPlan) slots() netip.Prefix { return netip.PrefixFrom(p.Addr(), p.Bits()+1) }

// maxData is how many data nodes fit between dataOffset and the end: of a zone's slots, or else of the network, which
// ends in the broadcast address.
func (p addressPlan) maxData() int {
	if p.zoneBits > 0 {
		return 1<<(32-p.zone(0).slots().Bits()) - 1 - dataOffset
	}
	return 1<<(32-p.Bits()) - 2 - dataOffset
}

// endpoints lists the addresses that no node and no gateway ever has: those up to endpointOffset, and the two
// between the groups.
func (p addressPlan) endpoints() []string {
	var free []string
	for offset := 2; offset <= endpointOffset; offset++ {
		free = append(free, p.at(offset))
	}
	return append(free, p.at(workerOffset), p.at(dataOffset))
}

// zones are the network's zones as a cloud has to make them.
func (s *Spec) zones() []components.Zone {
	zones := make([]components.Zone, len(s.Network.Zones))
	for i, name := range s.Network.Zones {
		zone := s.plan().zone(i)
		zones[i] = components.Zone{Name: name, CIDR: zone.String()}
		if s.plan().zoneBits > 0 {
			zones[i].Slots = zone.slots().String()
		}
	}
	return zones
}

// cloud tells whether the stack is at a provider's, where workers come and go by themselves.
func (s *Spec) cloud() bool { return s.Provider != ProviderLocal }

// Size is how many nodes there are at least: Identities, and the workers that name themselves.
func (s *Spec) Size() int { return s.Nodes.Main.Count + s.Nodes.Worker.Min + s.Nodes.Data.Count }

// Identities lists every node whose name follows from the spec: main nodes, workers, data nodes, each in slot order.
func (s *Spec) Identities() []api.Identity {
	var all []api.Identity
	for _, role := range api.Roles() {
		all = append(all, s.Group(role)...)
	}
	return all
}

// Group lists the nodes of one role in slot order. Of the elastic workers it is the smallest number; on clouds there are
// none, because a worker is called after its machine there. On DigitalOcean addresses are empty: it gives them out itself.
func (s *Spec) Group(role api.Role) []api.Identity {
	if role == api.RoleWorker && s.cloud() {
		return nil
	}
	size := map[api.Role]int{api.RoleMain: s.Nodes.Main.Count, api.RoleWorker: s.Nodes.Worker.Min, api.RoleData: s.Nodes.Data.Count}[role]
	offset := map[api.Role]int{api.RoleMain: mainOffset, api.RoleWorker: workerOffset, api.RoleData: dataOffset}[role]
	plan := s.plan()
	nodes := make([]api.Identity, size)
	for i := range nodes {
		zone := i % len(s.Network.Zones)
		nodes[i] = api.Identity{
			Stack: s.Stack,
			Name:  fmt.Sprintf("%s-%d", role, i+1),
			Role:  role,
			Zone:  s.Network.Zones[zone],
		}
		if s.Provider != ProviderDigitalOcean {
			nodes[i].Address = plan.zone(zone).at(offset + i + 1)
		}
	}
	return nodes
}

// Mains lists the main nodes in slot order.
func (s *Spec) Mains() []api.Peer {
	var peers []api.Peer
	for _, id := range s.Group(api.RoleMain) {
		peers = append(peers, api.Peer{Name: id.Name, Address: id.Address})
	}
	return peers
}

// EndpointAddress is the IPv4 address that moves between the load balancers; empty on clouds, which give out one of theirs.
func (s *Spec) EndpointAddress() string {
	if s.Endpoint.Address != "" || s.cloud() {
		return s.Endpoint.Address
	}
	return s.plan().at(endpointOffset)
}

// imageFolder is where the nodes of a stack on a cloud find the archives of images.
func (s *Spec) imageFolder() string {
	region, bucket := s.AWS.Region, s.AWS.Bucket
	if s.Provider == ProviderDigitalOcean {
		region, bucket = s.DigitalOcean.Region, s.DigitalOcean.Bucket
	}
	return components.BucketURL(api.Platform(s.Provider), region, bucket) + "/" + components.FolderImages
}

// Deployment is what runs on the nodes, from the given images. The outputs of the stack give what only a cloud knows; nil
// leaves it empty.
func (s *Spec) Deployment(images api.ServiceImages, out *Outputs) api.Deployment {
	nodes := s.Identities()
	slices.SortFunc(nodes, func(a, b api.Identity) int { return cmp.Compare(a.Name, b.Name) })
	endpoint := api.EndpointSpec{Address: s.EndpointAddress(), Prefix: s.plan().Bits(), RouterID: routerID}
	var workers *api.ElasticWorkers
	if s.cloud() {
		images.Source = s.imageFolder()
		endpoint.Platform = api.Platform(s.Provider)
		workers = &api.ElasticWorkers{Network: s.Network.CIDR, Min: s.Nodes.Worker.Min}
		if out != nil {
			endpoint.Address = out.Redis.Address
			for i, node := range nodes {
				nodes[i].Address = cmp.Or(node.Address, out.Nodes[node.Name])
			}
		}
		if out != nil && s.Provider == ProviderAWS {
			endpoint.Allocation = out.EndpointID
		}
	}
	return api.Deployment{
		Stack: s.Stack,
		Redis: api.RedisSpec{
			Shards:        s.Redis.Shards,
			Replicas:      s.Redis.Replicas,
			MaxMemory:     int64(s.Redis.MaxMemory),
			NodeTimeoutMS: nodeTimeoutMS,
		},
		Balancer: api.BalancerSpec{Instances: balancers, Port: s.Endpoint.Port, StatsPort: s.Endpoint.StatsPort},
		Endpoint: endpoint,
		Nodes:    nodes,
		Workers:  workers,
		Images:   images,
	}
}
