package components

import (
	"slices"

	"devctl/internal/api"
)

// Access is who uses a stack from outside, and which ports of it the spec chooses.
type Access struct {
	AdminCIDRs  []string // may reach SSH, the controllers' API and the stats page
	ClientCIDRs []string // may reach the endpoint
	// EndpointPort and StatsPort are the balancers'.
	EndpointPort, StatsPort int
	Shards                  int // a data node may hold a member of each
}

// Protocol is what a rule lets through.
type Protocol string

// The protocols that nodes speak.
const (
	TCP  Protocol = "tcp"
	VRRP Protocol = "vrrp" // IP protocol 112: it has no ports
)

// Rule lets something reach the nodes of a role. Whatever no rule names is closed.
type Rule struct {
	Name string // unique among the rules of its role, for example etcd-from-data
	Role api.Role
	// From is the role of the nodes that may, or empty: CIDRs are where they may from.
	From     api.Role
	CIDRs    []string
	Protocol Protocol
	// First and Last are the ports, both included; zero where the protocol has none.
	First, Last int
}

// redisBus is how far above its port a Redis listens for the other members of the cluster.
const redisBus = 10000

// Rules list what each role serves, and to whom: all that a firewall has to let in. Their order is always the same.
func (a Access) Rules() []Rule {
	var rules []Rule
	among := func(name string, role api.Role, protocol Protocol, first, last int, from ...api.Role) {
		for _, f := range from {
			rules = append(rules, Rule{Name: name + "-from-" + string(f), Role: role, From: f, Protocol: protocol, First: first, Last: last})
		}
	}
	outside := func(name string, role api.Role, port int, cidrs []string) {
		// A spec may name a range twice, and in any order. Clouds take each once.
		if cidrs := slices.Compact(slices.Sorted(slices.Values(cidrs))); len(cidrs) > 0 {
			rules = append(rules, Rule{Name: name, Role: role, CIDRs: cidrs, Protocol: TCP, First: port, Last: port})
		}
	}
	const ssh = 22
	all := api.Roles()

	among("etcd", api.RoleMain, TCP, api.EtcdClientPort, api.EtcdClientPort, all...)
	among("etcd-peers", api.RoleMain, TCP, api.EtcdPeerPort, api.EtcdPeerPort, api.RoleMain)
	// Main nodes have the authority's key: they need not join, and ask no controller for anything.
	among("controller", api.RoleMain, TCP, api.ControllerPort, api.ControllerPort, api.RoleWorker, api.RoleData)
	outside("controller-from-admins", api.RoleMain, api.ControllerPort, a.AdminCIDRs)

	first, last := api.RedisPort(1), api.RedisPort(a.Shards)
	among("redis", api.RoleData, TCP, first, last, api.RoleMain, api.RoleWorker, api.RoleData)
	among("redis-bus", api.RoleData, TCP, first+redisBus, last+redisBus, api.RoleData)

	among("vrrp", api.RoleWorker, VRRP, 0, 0, api.RoleWorker)
	outside("redis-from-clients", api.RoleWorker, a.EndpointPort, a.ClientCIDRs)
	outside("stats-from-admins", api.RoleWorker, a.StatsPort, a.AdminCIDRs)

	for _, role := range all {
		outside("ssh-from-admins", role, ssh, a.AdminCIDRs)
		if role != api.RoleMain {
			// A data node on AWS has no address outside, and of a worker nobody is told: the way to them is through a main node.
			among("ssh", role, TCP, ssh, ssh, api.RoleMain)
		}
	}
	return rules
}
