// Package planview shows what an update would change the way people think about a stack: network, machines by role,
// endpoint, deployment. Of every machine's configuration it shows what is different inside, unit by unit and file by file
// and never as one long line; of every change, which machines it replaces, in which order, and what people will notice. No
// secret is in a plan, not even a piece of one, but a secret that changes is named.
//
// A Plan is data: its JSON is what `devctl preview -o json` prints. Text and Markdown are two ways to write it. The package
// is pure.
package planview

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"devctl/internal/api"
	"devctl/internal/engine"
)

// Format is the version of a plan's JSON. It counts up when a field changes its meaning or goes; new fields may come.
const Format = 1

// Plan is all that an update would do.
type Plan struct {
	Format   int    `json:"format"` // see Format
	Stack    string `json:"stack"`
	Provider string `json:"provider"` // local | aws | digitalocean
	// Against is the folder of the spec that this one is compared with, when it is not compared with what exists.
	Against string `json:"against,omitempty"`
	// Unknowns are what this preview cannot know, a sentence each.
	Unknowns []string `json:"unknowns"`
	// Summary is the number of resources by what is done to them; same: nothing.
	Summary map[engine.Op]int `json:"summary"`
	// Notice is the worst of what people will notice.
	Notice Notice `json:"notice"`
	// Groups are those with changes, in the order: network, main, worker, data, endpoint, deployment, secrets, artifacts, other.
	Groups []Group `json:"groups"`
	// Losses are what the plan takes away and up does not without being told by name.
	Losses []Loss `json:"losses,omitempty"`
	// Changes are all resources that change, in the order of the groups.
	Changes []Change `json:"changes"`
}

// Group is what changes in one part of a stack.
type Group struct {
	Name string `json:"name"`
	// Resources is the number of changing resources by what is done to them.
	Resources map[engine.Op]int `json:"resources"`
	// Machines are what happens to machines, in the order in which it does.
	Machines []Machines `json:"machines,omitempty"`
	// Notice is what people notice of all that, and Why says it in words.
	Notice Notice `json:"notice"`
	Why    string `json:"why,omitempty"`
	// Configs are the differences inside of configurations, each once with all that have it.
	Configs []Config `json:"configs,omitempty"`
	// Secrets are the names of those that change.
	Secrets []string `json:"secrets,omitempty"`
}

// Change is one resource that changes.
type Change struct {
	Group string    `json:"group"`
	Op    engine.Op `json:"op"`   // create | update | replace | delete
	Type  string    `json:"type"` // for example aws:ec2/launchTemplate:LaunchTemplate
	Name  string    `json:"name"`
	URN   string    `json:"urn,omitempty"`
	Role  api.Role  `json:"role,omitempty"` // of what belongs to one role
	Node  string    `json:"node,omitempty"` // of what belongs to one node
	// Diff is sorted by path. A machine's configuration is in it without old and new value: see Group.Configs.
	Diff []engine.PropertyChange `json:"diff"`

	extent string // which nodes or addresses come or go with it
	follow []bool // of Diff: it only follows from another change
}

// Input is what a plan is made from.
type Input struct {
	Stack    string
	Provider string
	Against  string
	Unknowns []string
	Events   []engine.Event // of a preview
	// Replicas is how many copies of its data Redis has beside the primary's.
	Replicas int
	// Secrets are all secret values of the stack, old and new: none of them gets into the plan.
	Secrets    []string
	Deployment *Deployment // nil: not looked at
}

// New makes the plan of a preview.
func New(in Input) Plan {
	p := Plan{
		Format: Format, Stack: in.Stack, Provider: in.Provider, Against: in.Against, Unknowns: append([]string{}, in.Unknowns...),
		Changes: []Change{}, Groups: []Group{}, Summary: counts(), Notice: NoticeNothing,
	}
	p.Summary[engine.OpSame] = 0
	b := newBuilder(in)
	for _, e := range in.Events {
		if e.Kind != engine.KindPlanned {
			continue
		}
		if _, counted := p.Summary[e.Op]; counted {
			p.Summary[e.Op]++
		}
		if slices.Contains(changing, e.Op) {
			p.Changes = append(p.Changes, b.change(e))
		}
	}
	slices.SortStableFunc(p.Changes, func(a, b Change) int {
		return cmp.Or(
			cmp.Compare(slices.Index(groups, a.Group), slices.Index(groups, b.Group)),
			cmp.Compare(a.Type, b.Type), byNumber(a.Name, b.Name),
		)
	})
	p.Losses = losses(p.Changes, in.Events)
	for _, name := range groups {
		g, changes := b.group(name, p.Changes)
		if name == groupDeployment {
			g, changes = in.Deployment.group(in.Replicas)
		}
		if !changes {
			continue
		}
		p.Groups = append(p.Groups, g)
		if g.Notice.worse(p.Notice) {
			p.Notice = g.Notice
		}
	}
	if d := in.Deployment; d != nil && d.Unknown != "" {
		p.Unknowns = append(p.Unknowns, "What the deployment changes on the nodes: "+d.Unknown+".")
	}
	relate(p.Groups)
	p.mask(newMasker(in.Secrets))
	return p
}

// changing are the operations that change something, in the order in which they are counted.
var changing = []engine.Op{engine.OpCreate, engine.OpUpdate, engine.OpReplace, engine.OpDelete}

func counts() map[engine.Op]int {
	m := map[engine.Op]int{}
	for _, op := range changing {
		m[op] = 0
	}
	return m
}

// Empty tells whether nothing would change.
func (p Plan) Empty() bool { return len(p.Changes) == 0 && len(p.Groups) == 0 }

// Line is the plan in one line.
func (p Plan) Line() string {
	parts := p.counted()
	same := p.Summary[engine.OpSame]
	switch {
	case p.Empty() && same == 0: // a deployment alone
		return fmt.Sprintf("No changes: the nodes of stack %s have to run what the spec deploys.", p.Stack)
	case len(parts) == 0 && same == 0:
		return fmt.Sprintf("Stack %s: the deployment changes.", p.Stack)
	case p.Empty():
		return fmt.Sprintf("No changes: all %s of stack %s are as the spec wants them.", number(same, "resource", "resources"), p.Stack)
	case len(parts) == 0:
		return fmt.Sprintf("Stack %s: only the deployment changes, %s unchanged.", p.Stack, number(same, "resource", "resources"))
	}
	if same > 0 {
		parts = append(parts, fmt.Sprintf("%d unchanged", same))
	}
	return fmt.Sprintf("Stack %s: %s.", p.Stack, strings.Join(parts, ", "))
}

func (p Plan) counted() []string {
	var parts []string
	for _, op := range changing {
		if n := p.Summary[op]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", n, op))
		}
	}
	return parts
}

// mask takes every secret out of every text of the plan.
func (p *Plan) mask(m masker) {
	for i := range p.Unknowns {
		p.Unknowns[i] = m.text(p.Unknowns[i])
	}
	for i := range p.Changes {
		c := &p.Changes[i]
		c.extent = m.text(c.extent)
		for j := range c.Diff {
			c.Diff[j].Old, c.Diff[j].New = m.text(c.Diff[j].Old), m.text(c.Diff[j].New)
		}
	}
	for i := range p.Groups {
		for _, c := range p.Groups[i].Configs {
			for j := range c.Parts {
				c.Parts[j].mask(m)
			}
		}
	}
}

func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
