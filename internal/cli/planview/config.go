package planview

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"devctl/ignition/diff"
	"devctl/internal/api"
)

// Config is the difference inside of the configuration of some nodes, the same on all of them.
type Config struct {
	Nodes []string `json:"nodes"`
	// Parts are the files, units … that differ.
	Parts []Part `json:"parts"`
	// Unknown: only the update will know the new configuration.
	Unknown bool `json:"unknown,omitempty"`
	// SameAs are nodes of an earlier group whose configuration changes in the same way.
	SameAs string `json:"sameAs,omitempty"`
}

// Part is the difference in one file, unit, drop-in, directory …
type Part struct {
	diff.Change
	// Diff is a unified diff of the contents: hunks with their "@@" lines. It is empty when only attributes differ.
	Diff []string `json:"diff,omitempty"`
	// SameAs are nodes of an earlier group on which the part changes in the same way.
	SameAs string `json:"sameAs,omitempty"`
}

// newConfig makes a difference of configurations; of a machine's, what every other change brings with it is left out.
func newConfig(nodes []string, changes []diff.Change, machine bool) Config {
	c := Config{Nodes: nodes, Parts: []Part{}}
	for _, change := range changes {
		if machine && change.Name == api.NodeEnvFile {
			change.Before, change.After = withoutHash(change.Before), withoutHash(change.After)
			if change.Before == change.After && len(change.Attributes) == 0 {
				continue
			}
		}
		c.Parts = append(c.Parts, Part{Change: change, Diff: unified(change.Before, change.After)})
	}
	return c
}

// withoutHash is a node's environment file without the hash of all the rest.
func withoutHash(env string) string {
	return hashLine.ReplaceAllString(env, "")
}

var hashLine = regexp.MustCompile(`(?m)^DEVCTL_CONFIG=.*\n`)

// signature is the same for differences that are the same, whatever is around them.
func (p Part) signature() string {
	var b strings.Builder
	b.WriteString("\x00" + string(p.Op) + string(p.Kind) + p.Name)
	for _, a := range p.Attributes {
		b.WriteString("\x01" + a.Name + "\x01" + a.Old + "\x01" + a.New)
	}
	for _, line := range p.Diff {
		if line[0] == '+' || line[0] == '-' {
			b.WriteString("\x02" + line)
		}
	}
	return b.String()
}

func (c Config) signature() string {
	var b strings.Builder
	for _, p := range c.Parts {
		b.WriteString(p.signature())
	}
	return b.String()
}

// once shows every difference once, with all nodes that have it: those of most nodes first.
func once(configs []Config) []Config {
	var unknown []string
	having := map[string][]string{} // nodes by the part's signature
	parts := map[string]Part{}
	var order []string
	for _, c := range configs {
		if c.Unknown {
			unknown = append(unknown, c.Nodes...)
		}
		for _, p := range c.Parts {
			key := p.signature()
			if having[key] == nil {
				order = append(order, key)
				parts[key] = p
			}
			having[key] = append(having[key], c.Nodes...)
		}
	}
	var out []Config
	at := map[string]int{} // by the nodes
	for _, key := range order {
		nodes := sorted(having[key])
		i, seen := at[strings.Join(nodes, " ")]
		if !seen {
			i = len(out)
			at[strings.Join(nodes, " ")] = i
			out = append(out, Config{Nodes: nodes})
		}
		out[i].Parts = append(out[i].Parts, parts[key])
	}
	slices.SortStableFunc(out, func(a, b Config) int {
		return cmp.Or(cmp.Compare(len(b.Nodes), len(a.Nodes)), byNumber(a.Nodes[0], b.Nodes[0]))
	})
	if len(unknown) > 0 {
		out = append(out, Config{Nodes: sorted(unknown), Parts: []Part{}, Unknown: true})
	}
	return out
}

// sorted are names as people count, each once.
func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.SortFunc(names, byNumber)
	return slices.Compact(names)
}

// relate notes what changes as it does in an earlier group: a configuration as a whole, or parts of it.
func relate(groups []Group) {
	configs, parts := map[string]string{}, map[string]string{}
	for _, g := range groups {
		for i, c := range g.Configs {
			nodes, seen := configs[c.signature()]
			if seen && !c.Unknown {
				g.Configs[i].SameAs = nodes
				continue
			}
			configs[c.signature()] = strings.Join(c.Nodes, ", ")
			for j, p := range c.Parts {
				if nodes, seen := parts[p.signature()]; seen {
					c.Parts[j].SameAs = nodes
				} else {
					parts[p.signature()] = strings.Join(c.Nodes, ", ")
				}
			}
		}
	}
}

func (p *Part) mask(m masker) {
	p.Before, p.After = "", "" // their difference is in Diff
	for i := range p.Attributes {
		p.Attributes[i].Old, p.Attributes[i].New = m.text(p.Attributes[i].Old), m.text(p.Attributes[i].New)
	}
	for i, line := range p.Diff {
		if line[0] != '@' {
			p.Diff[i] = line[:1] + m.text(line[1:])
		}
	}
}
