package plan

import (
	"cmp"
	"net/netip"
	"regexp"
	"slices"

	"devctl/internal/api"
	"devctl/units"
)

// elasticName is what an elastic worker is called: after the end of its machine's ID, which a fixed worker's number is too
// short for.
var elasticName = regexp.MustCompile(`^worker-[0-9a-f]{5,8}$`)

// IsElastic tells whether a node of this identity can be one of d's elastic workers.
func IsElastic(d api.Deployment, id api.Identity) bool {
	if d.Workers == nil || id.Role != api.RoleWorker || !elasticName.MatchString(id.Name) {
		return false
	}
	network, err := netip.ParsePrefix(d.Workers.Network)
	address, addressErr := netip.ParseAddr(id.Address)
	return err == nil && addressErr == nil && network.Contains(address)
}

// Expected completes d's nodes with the elastic workers that count: those that live, and of those that were seen before but
// are silent now, holders of a load balancer that no living worker could take over. Something that is silent may be back in a
// moment; that another can do its work is a reason to move that, and its silence alone is none.
func Expected(d api.Deployment, live, silent []api.Identity, current []api.Assignment) api.Deployment {
	if d.Workers == nil {
		return d
	}
	workers := elastic(d, live)
	holders := slices.DeleteFunc(elastic(d, silent), func(id api.Identity) bool {
		return !holdsBalancer(id.Name, current) ||
			slices.ContainsFunc(workers, func(w api.Identity) bool { return w.Name == id.Name })
	})
	lacking := max(0, d.Balancer.Instances-len(workers))
	d.Nodes = slices.Concat(d.Nodes, workers, holders[:min(lacking, len(holders))])
	return d
}

// Surplus picks, of the machines of a group of elastic workers (their IDs), n to do without: first those that have not joined, then
// those without a load balancer, from the zones with most machines. Live are the nodes that beat.
func Surplus(machines []string, live []api.NodeRecord, current []api.Assignment, n int) []string {
	type machine struct {
		id, node, zone string
		use            int // 0: it has not joined; 1: nothing depends on it; 2: it has a load balancer
	}
	var all []machine
	inZone := map[string]int{}
	for _, id := range machines {
		m := machine{id: id}
		if i := slices.IndexFunc(live, func(r api.NodeRecord) bool { return r.ID == id }); i >= 0 {
			m.node, m.zone, m.use = live[i].Name, live[i].Zone, 1
			if holdsBalancer(m.node, current) {
				m.use = 2
			}
			inZone[m.zone]++
		}
		all = append(all, m)
	}
	var picked []string
	for range min(n, len(all)) {
		least := slices.MinFunc(all, func(a, b machine) int {
			return cmp.Or(cmp.Compare(a.use, b.use), cmp.Compare(inZone[b.zone], inZone[a.zone]), cmp.Compare(a.id, b.id))
		})
		picked = append(picked, least.id)
		inZone[least.zone]--
		all = slices.DeleteFunc(all, func(m machine) bool { return m.id == least.id })
	}
	return picked
}

// holdsBalancer tells whether a load balancer is assigned to the node.
func holdsBalancer(node string, current []api.Assignment) bool {
	return slices.ContainsFunc(current, func(a api.Assignment) bool { return a.Node == node && a.Unit == units.HAProxy("").Name })
}

// elastic picks d's elastic workers, sorted by name.
func elastic(d api.Deployment, ids []api.Identity) []api.Identity {
	return group(slices.DeleteFunc(slices.Clone(ids), func(id api.Identity) bool { return !IsElastic(d, id) }), api.RoleWorker)
}
