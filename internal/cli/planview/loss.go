package planview

import (
	"cmp"
	"slices"
	"strings"

	"devctl/internal/api"
	"devctl/internal/engine"
)

// What losses are called that are no nodes.
const (
	LossNetwork = "network"
	LossBucket  = "bucket"
)

// Loss is something that the plan takes away and that holds what nobody can make again: a main or data node, the network
// that all of them are in, or the bucket. People have to name it before the plan may run.
//
// A roll is none: devctl replaces the nodes of a local group one by one, takes none away before the others have all that
// it has, and stops when the stack does not heal. Nor is what waits for a machine to end, such as a new launch template.
type Loss struct {
	Name   string    `json:"name"`          // main-2, data-1, network, bucket
	Action engine.Op `json:"action"`        // delete or replace
	Why    []string  `json:"why,omitempty"` // the properties that force the replacement
	// Together is set for a machine that is replaced at the same time as the others in the list that have it set.
	Together bool `json:"together,omitempty"`
}

// String is a sentence without its end: data-4 is deleted.
func (l Loss) String() string {
	text := l.Name + " is " + string(l.Action) + "d"
	if len(l.Why) > 0 {
		text += " (" + strings.Join(l.Why, ", ") + ")"
	}
	return text
}

// precious are the kinds of resources whose end is the end of what is on them; of "" it is that of the node they belong to.
var precious = map[string]string{
	"Network": LossNetwork, "Vpc": LossNetwork, "Subnet": LossNetwork,
	"Bucket": LossBucket, "BucketV2": LossBucket, "SpacesBucket": LossBucket,
	"Group": "", "Instance": "", "Droplet": "", "NetworkInterface": "", "Volume": "",
}

// losses lists what the changes take away: the network first, then main and data nodes as people count, then the bucket.
func losses(changes []Change, events []engine.Event) []Loss {
	found := map[string]Loss{}
	note := func(l Loss) {
		was, known := found[l.Name]
		if known && was.Action == engine.OpDelete {
			return
		}
		if known && l.Action == was.Action {
			l.Why, l.Together = append(was.Why, l.Why...), l.Together || was.Together
			slices.Sort(l.Why)
			l.Why = slices.Compact(l.Why)
		}
		found[l.Name] = l
	}
	for _, c := range changes {
		if kind(c.Type) == "NodeGroup" {
			i := slices.IndexFunc(events, func(e engine.Event) bool { // and not the refresh before it
				return e.Kind == engine.KindPlanned && e.Op == c.Op && e.URN == c.URN && e.Name == c.Name && e.Type == c.Type
			})
			for _, l := range localLosses(events[i], c) {
				note(l)
			}
			continue
		}
		name, isPrecious := precious[kind(c.Type)]
		if !isPrecious || c.Op != engine.OpDelete && c.Op != engine.OpReplace {
			continue
		}
		if name == "" {
			if c.Role != api.RoleMain && c.Role != api.RoleData {
				continue
			}
			name = cmp.Or(c.Node, c.Name)
		}
		note(Loss{Name: name, Action: c.Op, Why: forcing(c), Together: c.Op == engine.OpReplace && kind(c.Type) == "Droplet"})
	}
	var all []Loss
	for _, l := range found {
		all = append(all, l)
	}
	rank := func(l Loss) int {
		return slices.Index([]string{LossNetwork, string(api.RoleMain), string(api.RoleData), LossBucket}, strings.TrimRight(l.Name, "-0123456789"))
	}
	slices.SortFunc(all, func(a, b Loss) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), byNumber(a.Name, b.Name)) })
	return all
}

// localLosses are the main or data nodes of a group on this machine that go for good, or all at once.
func localLosses(e engine.Event, c Change) []Loss {
	if role := api.Role(e.Name); role != api.RoleMain && role != api.RoleData {
		return nil
	}
	after := nodesOf(e.New["nodes"])
	var all []Loss
	for _, node := range nodesOf(e.Old["nodes"]) {
		switch stays := slices.Contains(after, node); {
		case e.Op == engine.OpDelete, !stays:
			all = append(all, Loss{Name: node, Action: engine.OpDelete})
		case e.Op == engine.OpReplace:
			all = append(all, Loss{Name: node, Action: engine.OpReplace, Why: forcing(c)})
		}
	}
	return all
}

// forcing are the properties that replace a resource.
func forcing(c Change) []string {
	var why []string
	for _, p := range c.Diff {
		if c.Op == engine.OpReplace && p.Replaces {
			why = append(why, p.Path)
		}
	}
	return why
}

// LossText says what the plan takes away, and what up needs to hear for that; "" when it is nothing.
func (p Plan) LossText() string {
	if len(p.Losses) == 0 {
		return ""
	}
	var what, names, together []string
	for _, l := range p.Losses {
		what, names = append(what, l.String()), append(names, l.Name)
		if l.Together {
			together = append(together, l.Name)
		}
	}
	text := strings.Join(what, ", ") + ": up does this only with --allow-replace "
	if len(together) > 1 && !slices.Contains(names, LossNetwork) {
		return text + together[0] + ", one machine at a time: the others stay as they are until their turn"
	}
	return text + strings.Join(names, ",")
}
