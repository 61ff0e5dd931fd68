package stacks

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

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

// addressPlan gives out the addresses of a network.
type addressPlan struct{ netip.Prefix }

func (s *Spec) plan() addressPlan { return addressPlan{netip.MustParsePrefix(s.Network.CIDR)} }

func (p addressPlan) at(offset int) string {
	base := p.Addr().As4()
	var address [4]byte
	binary.BigEndian.PutUint32(address[:], binary.BigEndian.Uint32(base[:])+uint32(offset))
	return netip.AddrFrom4(address).String()
}

// maxData is how many data nodes fit between dataOffset and the broadcast address.
func (p addressPlan) maxData() int { return 1<<(32-p.Bits()) - 2 - dataOffset }

// endpoints lists the addresses that no node and no gateway ever has: those up to endpointOffset, and the two
// between the groups.
func (p addressPlan) endpoints() []string {
	var free []string
	for offset := 2; offset <= endpointOffset; offset++ {
		free = append(free, p.at(offset))
	}
	return append(free, p.at(workerOffset), p.at(dataOffset))
}

// Identities lists every node that is expected: main nodes, workers, data nodes, each in slot order.
func (s *Spec) Identities() []api.Identity {
	var all []api.Identity
	for _, role := range api.Roles() {
		all = append(all, s.Group(role)...)
	}
	return all
}

// Group lists the nodes of one role in slot order. Of the elastic workers it is the smallest number.
func (s *Spec) Group(role api.Role) []api.Identity {
	size := map[api.Role]int{api.RoleMain: s.Nodes.Main.Count, api.RoleWorker: s.Nodes.Worker.Min, api.RoleData: s.Nodes.Data.Count}[role]
	offset := map[api.Role]int{api.RoleMain: mainOffset, api.RoleWorker: workerOffset, api.RoleData: dataOffset}[role]
	plan := s.plan()
	nodes := make([]api.Identity, size)
	for i := range nodes {
		nodes[i] = api.Identity{
			Stack:   s.Stack,
			Name:    fmt.Sprintf("%s-%d", role, i+1),
			Role:    role,
			Zone:    s.Network.Zones[i%len(s.Network.Zones)],
			Address: plan.at(offset + i + 1),
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

// EndpointAddress is the IPv4 address that moves between the load balancers.
func (s *Spec) EndpointAddress() string {
	if s.Endpoint.Address != "" {
		return s.Endpoint.Address
	}
	return s.plan().at(endpointOffset)
}

// Deployment is what runs on the nodes, from the given images.
func (s *Spec) Deployment(images api.ServiceImages) api.Deployment {
	nodes := s.Identities()
	slices.SortFunc(nodes, func(a, b api.Identity) int { return cmp.Compare(a.Name, b.Name) })
	return api.Deployment{
		Stack: s.Stack,
		Redis: api.RedisSpec{
			Shards:        s.Redis.Shards,
			Replicas:      s.Redis.Replicas,
			MaxMemory:     int64(s.Redis.MaxMemory),
			NodeTimeoutMS: nodeTimeoutMS,
		},
		Balancer: api.BalancerSpec{Instances: balancers, Port: s.Endpoint.Port, StatsPort: s.Endpoint.StatsPort},
		Endpoint: api.EndpointSpec{Address: s.EndpointAddress(), Prefix: s.plan().Bits(), RouterID: routerID},
		Nodes:    nodes,
		Images:   images,
	}
}
