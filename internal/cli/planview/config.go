package planview

import (
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
}

// newConfig makes a difference of configurations; of a machine's, what every other change brings with it is left out.
func newConfig(nodes []string, changes []diff.Change, machine bool) Config {
	c := Config{Nodes: nodes, Parts: []Part{}}
	for _, change := range changes {
		p := Part{Change: change, Diff: unified(change.Before, change.After)}
		if machine && change.Name == api.NodeEnvFile && onlyHash(p) {
			continue
		}
		c.Parts = append(c.Parts, p)
	}
	return c
}

// onlyHash tells whether nothing differs but the configuration's own hash.
func onlyHash(p Part) bool {
	return len(p.Attributes) == 0 && !slices.ContainsFunc(p.Diff, func(line string) bool {
		return line[0] != ' ' && line[0] != '@' && !strings.HasPrefix(line[1:], "DEVCTL_CONFIG=")
	})
}

// signature is the same for differences that are the same, whatever is around them.
func (c Config) signature() string {
	var b strings.Builder
	for _, p := range c.Parts {
		b.WriteString("\x00" + string(p.Op) + string(p.Kind) + p.Name)
		for _, a := range p.Attributes {
			b.WriteString("\x01" + a.Name + "\x01" + a.Old + "\x01" + a.New)
		}
		for _, line := range p.Diff {
			if line[0] == '+' || line[0] == '-' {
				b.WriteString("\x02" + line)
			}
		}
	}
	return b.String()
}

// once puts together those that are the same.
func once(all []Config) []Config {
	var out []Config
	at := map[string]int{}
	for _, c := range all {
		if len(c.Parts) == 0 && !c.Unknown {
			continue
		}
		key := c.signature()
		i, seen := at[key]
		if !seen {
			at[key] = len(out)
			out = append(out, c)
			continue
		}
		out[i].Nodes = append(slices.Clone(out[i].Nodes), c.Nodes...)
	}
	for i := range out {
		slices.SortFunc(out[i].Nodes, byNumber)
		out[i].Nodes = slices.Compact(out[i].Nodes)
	}
	return out
}

// relate notes which configurations change as one of an earlier group does.
func relate(groups []Group) {
	first := map[string]string{}
	for _, g := range groups {
		for i, c := range g.Configs {
			key := c.signature()
			if nodes, seen := first[key]; seen && !c.Unknown {
				g.Configs[i].SameAs = nodes
			} else {
				first[key] = strings.Join(c.Nodes, ", ")
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
