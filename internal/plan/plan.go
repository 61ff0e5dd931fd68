// Package plan decides which node runs which unit: the desired deployment and the assignments there are go in,
// ordered operations with reasons come out. It is pure: the same input gives the same operations, byte for byte.
//
// Whether a node is alive is no input of a placement. A machine that misses its heartbeats may come back or be
// replaced under its name, so nothing moves because of it; only the list of expected nodes moves things.
// What is alive and ready decides, in Next, which of the operations may be carried out now.
package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"devctl/internal/api"
	"devctl/internal/endpoint"
	"devctl/internal/haproxy"
	"devctl/internal/keepalived"
	"devctl/internal/redis"
	"devctl/units"
)

// Kind is what an operation does to an assignment.
type Kind string

// The two kinds of operation.
const (
	Put    Kind = "put"
	Delete Kind = "delete"
)

// Operation is one change of the assignments.
type Operation struct {
	Kind       Kind
	Assignment api.Assignment // of a Delete: the assignment that goes
	// Replaces is the hash of the assignment that a Put changes, "" when the unit is new on its node.
	Replaces string
	// Reason says for people why, without naming node and unit again.
	Reason string
}

// Creates tells whether the operation adds a unit to a node that did not have it.
func (o Operation) Creates() bool { return o.Kind == Put && o.Replaces == "" }

// String is the operation as a line for people.
func (o Operation) String() string {
	return fmt.Sprintf("%s %s on %s: %s", o.Kind, o.Assignment.Unit, o.Assignment.Node, o.Reason)
}

// Assignments compares what d wants with what is assigned and returns the operations that lead from one to the
// other: Redis first, then HAProxy, then keepalived, each behind its image where nodes have to fetch that, and deletions last.
// It returns none when current is what d wants.
func Assignments(d api.Deployment, current []api.Assignment) []Operation {
	have := make(map[ref]api.Assignment, len(current))
	for _, a := range current {
		have[refOf(a)] = a
	}
	var ops []Operation
	wanted := map[ref]bool{}
	for _, w := range desired(d, current) {
		a := w.assignment
		wanted[refOf(a)] = true
		old, exists := have[refOf(a)]
		switch {
		case !exists:
			ops = append(ops, Operation{Kind: Put, Assignment: a, Reason: w.reason})
		case old.Hash != a.Hash:
			ops = append(ops, Operation{Kind: Put, Assignment: a, Replaces: old.Hash, Reason: difference(old, a)})
		}
	}
	expected := map[string]bool{}
	for _, n := range d.Nodes {
		expected[n.Name] = true
	}
	for _, a := range slices.SortedFunc(slices.Values(current), compareAssignments) {
		if wanted[refOf(a)] {
			continue
		}
		reason := "the deployment no longer wants it there"
		if !expected[a.Node] {
			reason = "the node is no longer part of the stack"
		}
		ops = append(ops, Operation{Kind: Delete, Assignment: a, Reason: reason})
	}
	return ops
}

// ref names an assignment.
type ref struct{ node, unit string }

func refOf(a api.Assignment) ref { return ref{a.Node, a.Unit} }

// want is an assignment that should exist, and why.
type want struct {
	assignment api.Assignment
	reason     string
}

// desired returns every assignment that should exist, in the order in which they are best carried out.
func desired(d api.Deployment, current []api.Assignment) []want {
	var out []want
	nodes := map[string]api.Identity{}
	for _, n := range d.Nodes {
		nodes[n.Name] = n
	}
	for _, m := range placeRedis(d, current) {
		unit := units.Redis(m.shard, d.Images.Redis)
		files, dirs := redis.Files(d.Redis, m.shard, nodes[m.node])
		a := api.Assignment{Node: m.node, Unit: unit.Name, Text: unit.Text, Files: files, Dirs: dirs, Shard: m.shard}
		out = behindImage(out, "redis", d.Images.Redis, d.Images.Source, want{a, m.reason})
	}
	balancers := placeBalancers(d, current)
	for _, b := range balancers {
		unit := units.HAProxy(d.Images.HAProxy)
		a := api.Assignment{Node: b.Name, Unit: unit.Name, Text: unit.Text, Files: haproxy.Files(d.Balancer, b), Dirs: haproxy.Dirs()}
		out = behindImage(out, "haproxy", d.Images.HAProxy, d.Images.Source, want{a, fmt.Sprintf("one of %d load balancers", len(balancers))})
	}
	if d.Endpoint.Address != "" {
		out = append(out, movers(d, balancers)...)
	}
	return out
}

// movers returns what keeps the endpoint's address at one of the balancers: keepalived, and where a cloud has to be asked to
// move the address, the unit that asks. On DigitalOcean that unit also decides where to: firewalls there let no VRRP through.
func movers(d api.Deployment, balancers []api.Identity) []want {
	var out []want
	reason := "holds or backs " + d.Endpoint.Address
	for i, b := range balancers {
		if d.Endpoint.Platform.Cloud() {
			unit := units.Endpoint()
			files := endpoint.Files(d.Endpoint, d.Balancer.StatsPort)
			a := api.Assignment{Node: b.Name, Unit: unit.Name, Text: unit.Text, Files: files, Endpoint: d.Endpoint.Address}
			out = append(out, want{sealed(a), reason})
		}
		if d.Endpoint.Platform == api.PlatformDigitalOcean {
			continue
		}
		unit := units.Keepalived(d.Images.Keepalived)
		peers := slices.DeleteFunc(slices.Clone(balancers), func(p api.Identity) bool { return p.Name == b.Name })
		files := keepalived.Files(d.Endpoint, d.Balancer.StatsPort, b, peers, priority(i))
		a := api.Assignment{Node: b.Name, Unit: unit.Name, Text: unit.Text, Files: files}
		if !d.Endpoint.Platform.Cloud() {
			a.Endpoint = d.Endpoint.Address
		}
		out = behindImage(out, "keepalived", d.Images.Keepalived, d.Images.Source, want{a, reason})
	}
	return out
}

// behindImage adds what runs a service's image to all. Where nodes have to fetch images from a source, the unit that does so is
// added before it, once on each node.
func behindImage(all []want, service, ref, source string, w want) []want {
	if source != "" {
		unit := units.Image(service, ref, source)
		image := api.Assignment{Node: w.assignment.Node, Unit: unit.Name, Text: unit.Text}
		if !slices.ContainsFunc(all, func(o want) bool { return refOf(o.assignment) == refOf(image) }) {
			all = append(all, want{sealed(image), "what runs there needs it"})
		}
		w.assignment.Needs = unit.Name
	}
	w.assignment = sealed(w.assignment)
	return append(all, w)
}

// priority is the VRRP priority of the balancer at the given position. The distance only breaks ties:
// no balancer takes the address from one that serves.
func priority(position int) int { return max(150-position, 1) }

// sealed returns the assignment with its hash: SHA-256 of its JSON without the hash, in hex.
func sealed(a api.Assignment) api.Assignment {
	a.Hash = ""
	text, err := json.Marshal(a)
	if err != nil {
		panic("plan: an assignment is plain data: " + err.Error())
	}
	sum := sha256.Sum256(text)
	a.Hash = hex.EncodeToString(sum[:])
	return a
}

// difference says what distinguishes two versions of an assignment.
func difference(old, changed api.Assignment) string {
	var parts []string
	if old.Text != changed.Text {
		parts = append(parts, "its unit file")
	}
	before := map[string]api.File{}
	for _, f := range slices.Concat(old.Files, old.Dirs) {
		before[f.Path] = f
	}
	for _, f := range slices.Concat(changed.Files, changed.Dirs) {
		if before[f.Path] != f {
			parts = append(parts, f.Path)
		}
		delete(before, f.Path)
	}
	for _, f := range slices.Concat(old.Files, old.Dirs) {
		if _, gone := before[f.Path]; gone {
			parts = append(parts, f.Path)
		}
	}
	if len(parts) == 0 {
		parts = []string{"its definition"}
	}
	return strings.Join(parts, ", ") + " changed"
}

func compareAssignments(a, b api.Assignment) int {
	return cmp.Or(cmp.Compare(a.Shard, b.Shard), CompareNames(a.Node, b.Node), cmp.Compare(a.Unit, b.Unit))
}

// CompareNodes orders nodes by role, then by name.
func CompareNodes(a, b api.NodeStatus) int {
	rank := func(r api.Role) int { return slices.Index(api.Roles(), r) }
	return cmp.Or(cmp.Compare(rank(a.Role), rank(b.Role)), CompareNames(a.Name, b.Name))
}

// CompareNames orders node names as people count: data-2 before data-10.
func CompareNames(a, b string) int {
	prefix := func(s string) string { return strings.TrimRight(s, "0123456789") }
	pa, pb := prefix(a), prefix(b)
	if pa != pb {
		return cmp.Compare(pa, pb)
	}
	na, nb := strings.TrimLeft(a[len(pa):], "0"), strings.TrimLeft(b[len(pb):], "0")
	return cmp.Or(cmp.Compare(len(na), len(nb)), cmp.Compare(na, nb), cmp.Compare(a, b))
}
