package planview

import (
	"fmt"
	"slices"
	"strings"

	"devctl/internal/api"
	"devctl/internal/engine"
)

// Action is what happens to machines.
type Action string

// Actions, in the order in which they are done and shown.
const (
	ActionCreate  Action = "create"
	ActionReplace Action = "replace" // it goes, and one of the same name comes
	ActionRestart Action = "restart" // it is turned off and on
	ActionResize  Action = "resize"  // a group whose machines have no fixed names grows or shrinks
	ActionRemove  Action = "remove"
)

var actions = []Action{ActionCreate, ActionReplace, ActionRestart, ActionResize, ActionRemove}

// Machines is what happens to some machines of a role.
type Machines struct {
	Action Action   `json:"action"`
	Nodes  []string `json:"nodes"` // in the order in which it happens; "the workers" where they have no fixed names
	// Order is "one by one", "at the same time" or "new ones first".
	Order string   `json:"order"`
	By    string   `json:"by"`            // who does it: devctl, or a service of the cloud
	Why   []string `json:"why,omitempty"` // what changed

	grows bool // a group that is given another size
}

// Orders of doing something to machines.
const (
	oneByOne  = "one by one"
	together  = "at the same time"
	newFirst  = "new ones first"
	byDevctl  = "devctl"
	byRoll    = "devctl roll"
	byAllowed = "devctl up --allow-replace NODE"
	byRefresh = "AWS's instance refresh"
	byPool    = "DigitalOcean's pool"
)

// Notice is what people who use the stack notice, from nothing to the worst.
type Notice string

// Notices.
const (
	NoticeNothing   Notice = "nothing"
	NoticeAccess    Notice = "access"    // who may reach what changes
	NoticeReconnect Notice = "reconnect" // clients have to connect again, once or twice
	NoticePause     Notice = "pause"     // some keys take no writes for less than a second
	NoticeFailover  Notice = "failover"  // some keys take no writes for some seconds
	NoticeOutage    Notice = "outage"    // the endpoint does not answer for a while, or moves for good
	NoticeDataLoss  Notice = "data-loss" // what Redis holds is gone
)

var notices = []Notice{NoticeNothing, NoticeAccess, NoticeReconnect, NoticePause, NoticeFailover, NoticeOutage, NoticeDataLoss}

func (n Notice) worse(than Notice) bool {
	return slices.Index(notices, n) > slices.Index(notices, than)
}

// machines is what a change of one resource does to machines.
func (b *builder) machines(e engine.Event, c Change) []Machines {
	switch kind(e.Type) {
	case "NodeGroup":
		return localMachines(e)
	case "LaunchTemplate":
		return b.templateMachines(e, c)
	case "Group":
		return scaledMachines(e, c, "minSize", "maxSize", "desiredCapacity")
	case "DropletAutoscale":
		return append(poolMachines(e, c), scaledMachines(e, c, "config.minInstances", "config.maxInstances", "config.targetNumberInstances")...)
	case "Droplet", "Instance":
		return singleMachine(e, c)
	case "SpacesBucketObject":
		return b.keptMachines(e, c)
	case "NetworkInterface":
		if e.Op == engine.OpReplace { // a machine does not outlive its own
			return some(Machines{Action: ActionReplace, Nodes: nodesOr(c), Order: together, By: "AWS", Why: []string{"network interface"}})
		}
	}
	return nil
}

// localMachines are those of a group on this machine: what is new boots at the same time, what is made from something else
// is replaced one by one.
func localMachines(e engine.Event) []Machines {
	before, after := nodesOf(e.Old["nodes"]), nodesOf(e.New["nodes"])
	role := api.Role(e.Name)
	switch e.Op {
	case engine.OpCreate:
		return some(Machines{Action: ActionCreate, Nodes: after, Order: together, By: byDevctl})
	case engine.OpDelete:
		return some(Machines{Action: ActionRemove, Nodes: before, Order: together, By: byDevctl})
	case engine.OpReplace:
		return some(Machines{Action: ActionReplace, Nodes: after, Order: together, By: byDevctl, Why: reasons(e.Diff, replacingLocal, false)})
	}
	not := func(list []string) func(string) bool {
		return func(name string) bool { return !slices.Contains(list, name) }
	}
	create := Machines{Action: ActionCreate, Nodes: filter(after, not(before)), Order: together, By: byDevctl}
	if role == api.RoleMain {
		create.Order = oneByOne // etcd takes one new member at a time
	}
	remove := Machines{Action: ActionRemove, Nodes: filter(before, not(after)), Order: oneByOne, By: byDevctl}
	stay := filter(after, func(name string) bool { return slices.Contains(before, name) })
	replace := Machines{Action: ActionReplace, Order: oneByOne, By: byDevctl, Why: reasons(e.Diff, replacingLocal, false)}
	if len(replace.Why) > 0 {
		replace.Nodes = stay
	} else if moved := movedNodes(e); len(moved) > 0 {
		replace.Nodes, replace.Why = moved, []string{"address or zone"}
	}
	again := Machines{Action: ActionCreate, Order: create.Order, By: byDevctl, Why: []string{"it is not there, or does not work"}}
	if there, known := e.OldOutputs["machines"].(map[string]any); known && len(replace.Nodes) == 0 {
		again.Nodes = filter(stay, func(name string) bool { return there[name] == nil })
	}
	return some(create, again, replace, remove)
}

// replacingLocal are the inputs of a local group that its machines are made from.
var replacingLocal = map[string]string{"config": "configuration", "image": "machine image", "store": "images", "secrets": "secrets", "network": "network", "stack": "stack", "role": "role"}

// movedNodes are those of a local group that keep their name and change their address or zone.
func movedNodes(e engine.Event) []string {
	where := func(inputs map[string]any) map[string]string {
		all := map[string]string{}
		list, _ := inputs["nodes"].([]any)
		for _, item := range list {
			node, _ := item.(map[string]any)
			name, _ := node["name"].(string)
			all[name] = fmt.Sprint(node["zone"], node["address"])
		}
		return all
	}
	before, after := where(e.Old), where(e.New)
	return filter(nodesOf(e.New["nodes"]), func(name string) bool { return before[name] != "" && before[name] != after[name] })
}

// replacingTemplate are the parts of a launch template, or of a droplet, in words.
var replacingTemplate = map[string]string{"userData": "configuration", "imageId": "machine image", "image": "machine image", "instanceType": "machine type", "size": "machine type"}

// templateMachines are those that were made from an older version of a launch template.
func (b *builder) templateMachines(e engine.Event, c Change) []Machines {
	if e.Op != engine.OpUpdate && e.Op != engine.OpReplace {
		return nil
	}
	why := reasons(c.Diff, replacingTemplate, false)
	for _, p := range c.Diff { // whatever else a machine is made from
		top := strings.FieldsFunc(p.Path, func(r rune) bool { return r == '.' || r == '[' })[0]
		if _, named := replacingTemplate[top]; !named && p.New != unknown && top != "tags" && top != "description" && !of(e.Type).followsOnly(p.Path) && !slices.Contains(why, top) {
			why = append(why, top)
		}
	}
	if len(why) == 0 {
		return nil
	}
	m := Machines{Action: ActionReplace, Nodes: nodesOr(c), Order: oneByOne, By: byRoll, Why: why}
	if b.refreshed[c.Role] {
		m.Order, m.By = newFirst, byRefresh
	}
	return some(m)
}

// scaledMachines are those of a group that the cloud keeps at a size; sizes are the properties that say which.
func scaledMachines(e engine.Event, c Change, sizes ...string) []Machines {
	m := Machines{Nodes: nodesOr(c), Order: together, By: "AWS"}
	if kind(e.Type) == "DropletAutoscale" {
		m.By = byPool
	}
	switch e.Op {
	case engine.OpCreate:
		m.Action = ActionCreate
	case engine.OpDelete:
		m.Action = ActionRemove
	case engine.OpReplace:
		m.Action = ActionReplace
		for _, p := range c.Diff {
			if p.Replaces {
				m.Why = append(m.Why, p.Path)
			}
		}
		if len(m.Why) == 0 { // with its network interface, which says so
			return nil
		}
	default:
		m.Action, m.grows = ActionResize, true
		for _, p := range c.Diff {
			if slices.Contains(sizes, p.Path) {
				m.Why = append(m.Why, fmt.Sprintf("%s %s → %s", p.Path, p.Old, p.New))
				m.grows = m.grows && byNumber(p.Old, p.New) <= 0
			}
		}
		if len(m.Why) == 0 {
			return nil
		}
	}
	return some(m)
}

// later tells whether up leaves the machines as they are until somebody asks for their replacement.
func (m Machines) later() bool { return m.By == byRoll || m.By == byAllowed }

// keptMachines are the droplets of a role that were made from an older version of their role's configuration, which is an object.
func (b *builder) keptMachines(e engine.Event, c Change) []Machines {
	if e.Op != engine.OpUpdate && e.Op != engine.OpReplace || !holdsConfig(e) {
		return nil
	}
	return some(Machines{Action: ActionReplace, Nodes: b.kept[c.Role], Order: oneByOne, By: byAllowed, Why: []string{"configuration"}})
}

// poolMachines are those of a pool of droplets whose template changes.
func poolMachines(e engine.Event, c Change) []Machines {
	if e.Op != engine.OpUpdate {
		return nil
	}
	var why []string
	for _, p := range c.Diff {
		if rest, inTemplate := strings.CutPrefix(p.Path, "dropletTemplate."); inTemplate && rest != "tags" {
			if word := replacingTemplate[rest]; word != "" {
				rest = word
			}
			why = append(why, rest)
		}
	}
	if len(why) == 0 {
		return nil
	}
	return some(Machines{Action: ActionReplace, Nodes: nodesOr(c), Order: newFirst, By: byPool, Why: why})
}

// singleMachine is one that is a resource of its own.
func singleMachine(e engine.Event, c Change) []Machines {
	m := Machines{Nodes: nodesOr(c), Order: together, By: byDevctl}
	switch e.Op {
	case engine.OpCreate:
		m.Action = ActionCreate
	case engine.OpDelete:
		m.Action = ActionRemove
	case engine.OpReplace:
		m.Action, m.Order = ActionReplace, oneByOne
		if slices.ContainsFunc(c.Diff, func(p engine.PropertyChange) bool { return p.Path == "vpcUuid" && p.Replaces }) {
			m.Order = together // with all others that are in that network
		}
		m.Why = reasons(c.Diff, replacingTemplate, true)
	default:
		m.Action, m.Order = ActionRestart, oneByOne
		if m.Why = reasons(c.Diff, map[string]string{"size": "machine type", "instanceType": "machine type"}, false); len(m.Why) == 0 {
			return nil
		}
	}
	return some(m)
}

// nodesOr are the nodes that a resource is for.
func nodesOr(c Change) []string {
	switch {
	case c.Node != "":
		return []string{c.Node}
	case c.Role != "":
		return []string{all(c.Role)}
	}
	return []string{c.Name}
}

// all are the machines of a role that have no fixed names, or all of them.
func all(role api.Role) string {
	if role == api.RoleWorker {
		return "the workers"
	}
	return "the " + string(role) + " nodes"
}

// reasons are the properties that differ, in words; only those that replace the resource, if so asked.
func reasons(diff []engine.PropertyChange, words map[string]string, replacing bool) []string {
	var why []string
	for _, p := range diff {
		top, _, _ := strings.Cut(p.Path, "[")
		word, known := words[top]
		if !known && replacing {
			word = p.Path
		}
		if word != "" && (p.Replaces || !replacing) && !slices.Contains(why, word) {
			why = append(why, word)
		}
	}
	return why
}

// some are those that have machines.
func some(fates ...Machines) []Machines {
	return filter(fates, func(m Machines) bool { return len(m.Nodes) > 0 })
}

func filter[T any](items []T, keep func(T) bool) []T {
	var kept []T
	for _, item := range items {
		if keep(item) {
			kept = append(kept, item)
		}
	}
	return kept
}

// settledBy tells whether something else happens to the machines anyway that makes their replacement needless: they are made
// only now, or all of them are replaced at the same time.
func (m Machines) settledBy(other Machines) bool {
	more := other.Action == ActionCreate || other.Action == ActionReplace && other.Order == together && m.Order != together
	return more && slices.Contains(other.Nodes, m.Nodes[0])
}

// sum puts together what happens to several machines in the same way.
func sum(all []Machines) []Machines {
	var out []Machines
	for _, m := range all {
		if m.Action == ActionReplace && slices.ContainsFunc(all, m.settledBy) {
			continue
		}
		i := slices.IndexFunc(out, func(o Machines) bool {
			return o.Action == m.Action && o.Order == m.Order && o.By == m.By && slices.Equal(o.Why, m.Why)
		})
		if i < 0 {
			m.Nodes = slices.Clone(m.Nodes)
			out = append(out, m)
			continue
		}
		out[i].Nodes = append(out[i].Nodes, m.Nodes...)
	}
	for i := range out {
		out[i].Nodes = sorted(out[i].Nodes)
	}
	slices.SortStableFunc(out, func(a, b Machines) int { return slices.Index(actions, a.Action) - slices.Index(actions, b.Action) })
	return out
}

// notice is what people notice of what happens to the machines of a role.
func (b *builder) notice(role api.Role, fates []Machines) (Notice, string) {
	worst, why := NoticeNothing, ""
	for _, m := range fates {
		notice, because := b.noticeOf(role, m)
		if notice.worse(worst) || why == "" {
			worst, why = notice, because
		}
	}
	return worst, why
}

// NoticedOfRoll is what people notice when machines of a role end in order and are replaced, one by one, in words.
func NoticedOfRoll(role api.Role, replicas int) string {
	b := builder{in: Input{Replicas: replicas}}
	notice, why := b.noticeOf(role, Machines{Action: ActionReplace, Order: oneByOne})
	return Group{Notice: notice, Why: why}.sentence()
}

func (b *builder) noticeOf(role api.Role, m Machines) (Notice, string) {
	atOnce := m.Order == together
	switch {
	case m.Action == ActionCreate, m.grows:
		return NoticeNothing, ""
	case role == api.RoleMain && atOnce:
		return NoticeOutage, "the control plane goes with all that it knows, and is made anew"
	case role == api.RoleMain:
		return NoticeNothing, "etcd keeps its quorum; its leader changes when its turn comes"
	case role == api.RoleWorker && atOnce && m.Action == ActionReplace:
		return NoticeOutage, "the endpoint does not answer until the first worker is back"
	case role == api.RoleWorker && m.Action == ActionResize:
		return NoticeReconnect, "when the group shrinks, clients whose load balancer goes connect again"
	case role == api.RoleWorker:
		return NoticeReconnect, "clients connect again when the worker goes that holds the endpoint's address"
	case role == api.RoleData && atOnce && m.Action == ActionReplace && len(m.Nodes) > 1:
		return NoticeDataLoss, "all data nodes go at the same time, and what Redis holds with them"
	case role == api.RoleData && b.in.Replicas == 0 && atOnce:
		return NoticeDataLoss, "Redis has no replicas: what is on a node goes with it"
	case role == api.RoleData && b.in.Replicas == 0:
		return NoticeDataLoss, "Redis has no replicas: what is on a node would go with it, so none is taken away until devctl:redis.replicas gives each shard a copy"
	case role == api.RoleData && m.Action == ActionRemove:
		return NoticePause, "what Redis has there moves to the others first, and each primary hands over; " + paused
	case role == api.RoleData && m.Action == ActionRestart:
		return NoticeFailover, "the machine ends without a warning, and each shard whose primary is there fails over: its keys take no writes for some seconds"
	case role == api.RoleData:
		return NoticePause, "each primary there hands over to a replica before its node goes; " + paused
	}
	return NoticeNothing, ""
}

// paused is what a primary that hands over in order means to clients.
const paused = "its keys take no writes for less than a second, and its clients connect again"
