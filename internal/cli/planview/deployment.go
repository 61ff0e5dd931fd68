package planview

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"devctl/ignition/diff"
	"devctl/internal/api"
	"devctl/units"
)

// Deployment is what the nodes have to run, before and after: what the controller gives them now, and what it would give
// them. It becomes the group "deployment" of a plan, in which units and files are compared as those of a machine's
// configuration are: unit by unit and file by file, each difference once with all nodes that have it. Files may hold
// ${secret:NAME} placeholders, as they do in assignments; the values stay with the agents.
type Deployment struct {
	Before, After []api.Assignment
	// Unknown says why Before is not known, in a clause: "no controller answers". The group is then this note only.
	Unknown string
	// PortBefore and PortAfter are those that clients connect to at the endpoint; zero where it is not known.
	PortBefore, PortAfter int
}

// group is the deployment as a group of the plan, of a Redis with so many replicas; false when nothing changes.
func (d *Deployment) group(replicas int) (Group, bool) {
	g := Group{Name: groupDeployment, Resources: counts()}
	if d == nil || d.Unknown != "" {
		return g, false
	}
	before, after := byNode(d.Before, d.After), byNode(d.After, d.Before)
	names := slices.Collect(maps.Keys(before))
	names = slices.AppendSeq(names, maps.Keys(after))
	slices.SortFunc(names, byNumber)
	for _, node := range slices.Compact(names) {
		changes := diff.Compare(before[node], after[node])
		g.Configs = append(g.Configs, newConfig([]string{node}, changes, false))
	}
	g.Configs = once(g.Configs)
	g.Notice, g.Why = deploymentNotice(g.Configs, replicas)
	if d.PortBefore != d.PortAfter && d.PortBefore != 0 && d.PortAfter != 0 {
		g.Notice = NoticeOutage
		g.Why = fmt.Sprintf("clients need the endpoint's new port %d: connections through port %d end, and nothing answers there any more", d.PortAfter, d.PortBefore)
	}
	return g, len(g.Configs) > 0
}

// starting sums up where services start that are not there yet, in words, and returns the other differences apart from it.
// Outside of the deployment there are only others.
func (g Group) starting() (words string, others []Config) {
	if g.Name != groupDeployment {
		return "", g.Configs
	}
	var starts [][2]string // the first service, and all in words
	for _, c := range g.Configs {
		if slices.ContainsFunc(c.Parts, func(p Part) bool { return p.Kind != diff.Unit || p.Op != diff.Added }) {
			others = append(others, c)
			continue
		}
		var names []string
		for _, p := range c.Parts {
			names = append(names, strings.TrimSuffix(p.Name, ".service"))
		}
		starts = append(starts, [2]string{names[0], strings.Join(names, ", ") + " on " + strings.Join(c.Nodes, ", ")})
	}
	slices.SortStableFunc(starts, func(a, b [2]string) int { return byNumber(a[0], b[0]) })
	var all []string
	for _, s := range starts {
		all = append(all, s[1])
	}
	return strings.Join(all, "; "), others
}

// byNode are the units and files of assignments, by node. Of a unit that the others have not on that node, which comes or
// goes as a whole, it is only the unit.
func byNode(assigned, others []api.Assignment) map[string]diff.Config {
	both := map[string]bool{}
	for _, a := range others {
		both[a.Node+" "+a.Unit] = true
	}
	nodes := map[string]diff.Config{}
	for _, a := range assigned {
		parts := nodes[a.Node].Parts
		parts = append(parts, diff.Part{Kind: diff.Unit, Name: a.Unit, Text: a.Text})
		if both[a.Node+" "+a.Unit] {
			for _, f := range a.Files {
				parts = append(parts, diff.Part{Kind: diff.File, Name: f.Path, Text: f.Content, Attributes: owned(f)})
			}
			for _, f := range a.Dirs {
				parts = append(parts, diff.Part{Kind: diff.Directory, Name: f.Path, Attributes: owned(f)})
			}
		}
		nodes[a.Node] = diff.Config{Parts: parts}
	}
	return nodes
}

func owned(f api.File) []diff.Attribute {
	return []diff.Attribute{{Name: "mode", Value: fmt.Sprintf("%#o", f.Mode)}, {Name: "owner", Value: fmt.Sprintf("%d:%d", f.UID, f.GID)}}
}

// deploymentNotice is what people notice while the agents restart what changes, one after the other.
func deploymentNotice(configs []Config, replicas int) (Notice, string) {
	worst, why := NoticeNothing, ""
	for _, c := range configs {
		for _, p := range c.Parts {
			notice, because := NoticeNothing, ""
			switch touched := p.Op != diff.Added; {
			case !touched, units.IsImage(p.Name): // fetched beside what runs
			case strings.Contains(p.Name, "redis") && replicas == 0:
				notice, because = NoticeFailover, "Redis restarts where it changes, and has no replicas: nobody serves the keys there meanwhile"
			case strings.Contains(p.Name, "redis"):
				notice, because = NoticePause, "Redis restarts where it changes, and a primary hands over to a replica first; "+paused
			case strings.Contains(p.Name, "haproxy"), strings.Contains(p.Name, "keepalived"):
				notice, because = NoticeReconnect, "clients of the endpoint reconnect when their load balancer restarts or the address moves"
			}
			if notice.worse(worst) {
				worst, why = notice, because
			}
		}
	}
	return worst, why
}

// byNumber orders names like people do: data-2 before data-10.
func byNumber(a, b string) int {
	trimmedA, trimmedB := strings.TrimRight(a, "0123456789"), strings.TrimRight(b, "0123456789")
	return cmp.Or(cmp.Compare(trimmedA, trimmedB), cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}
