// Package diff says what is different between two Ignition configs, in terms of what they put on a machine: files, units,
// drop-ins, directories, users. How a config is packed makes no difference: user data in base64, gzip in a data: URL,
// layers that are merged, and the order and the default values of its entries.
//
// It reads any version of Ignition's spec 3, and is pure.
package diff

import (
	"cmp"
	"slices"
)

// Kind is what a part of a config is.
type Kind string

// Kinds, in the order in which differences are listed.
const (
	Unit       Kind = "unit"
	DropIn     Kind = "drop-in"
	File       Kind = "file"
	Directory  Kind = "directory"
	Link       Kind = "link"
	User       Kind = "user"
	Group      Kind = "group"
	Kernel     Kind = "kernel arguments"
	Disk       Kind = "disk" // and what is on it: partitions, file systems, encryption
	Layer      Kind = "layer"
	Setting    Kind = "setting"
	secretText      = "[secret]"
)

var kinds = []Kind{Unit, DropIn, File, Directory, Link, User, Group, Kernel, Disk, Layer, Setting}

// Part is one thing that a config puts on a machine.
type Part struct {
	Kind Kind
	// Name is unique in its kind: of a unit the name, of a drop-in "unit/drop-in", of files, directories and links the path,
	// of a layer that the machine fetches its source.
	Name string
	// Attributes are all but the content, sorted by name.
	Attributes []Attribute
	// Text is the content: of units and files; of a user the SSH keys, one a line.
	Text string
}

// Attribute is a property of a part, for example the mode of a file.
type Attribute struct {
	Name, Value string
	// Secret is a value that may be compared and not shown.
	Secret bool
}

// Op is what happens to a part.
type Op string

// Operations.
const (
	Added   Op = "added"
	Removed Op = "removed"
	Changed Op = "changed"
)

// Change is the difference in one part.
type Change struct {
	Op   Op     `json:"op"`
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
	// Attributes are those that differ, sorted by name. Of a part that is added or removed they are all it has.
	Attributes []AttributeChange `json:"attributes,omitempty"`
	// Before and After are the contents, equal when only attributes differ.
	Before string `json:"-"`
	After  string `json:"-"`
}

// AttributeChange is the difference in one attribute; a value that is not there is empty. A secret is "[secret]".
type AttributeChange struct {
	Name string `json:"name"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// Compare lists what is different, by kind and then by name.
func Compare(before, after Config) []Change {
	old := map[string]Part{}
	for _, p := range before.Parts {
		old[p.key()] = p
	}
	var changes []Change
	for _, p := range after.Parts {
		was, existed := old[p.key()]
		delete(old, p.key())
		c := Change{Op: Changed, Kind: p.Kind, Name: p.Name, Before: was.Text, After: p.Text, Attributes: compareAttributes(was, p)}
		if !existed {
			c.Op = Added
		} else if c.Before == c.After && len(c.Attributes) == 0 {
			continue
		}
		changes = append(changes, c)
	}
	for _, p := range before.Parts {
		if _, gone := old[p.key()]; gone {
			changes = append(changes, Change{Op: Removed, Kind: p.Kind, Name: p.Name, Before: p.Text, Attributes: compareAttributes(p, Part{})})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), cmp.Compare(a.Name, b.Name))
	})
	return changes
}

func (p Part) key() string { return string(p.Kind) + " " + p.Name }

func compareAttributes(before, after Part) []AttributeChange {
	var changes []AttributeChange
	for _, a := range before.Attributes {
		i := slices.IndexFunc(after.Attributes, func(b Attribute) bool { return b.Name == a.Name })
		switch {
		case i < 0:
			changes = append(changes, AttributeChange{Name: a.Name, Old: a.shown()})
		case after.Attributes[i].Value != a.Value:
			changes = append(changes, AttributeChange{Name: a.Name, Old: a.shown(), New: after.Attributes[i].shown()})
		}
	}
	for _, b := range after.Attributes {
		if !slices.ContainsFunc(before.Attributes, func(a Attribute) bool { return a.Name == b.Name }) {
			changes = append(changes, AttributeChange{Name: b.Name, New: b.shown()})
		}
	}
	slices.SortFunc(changes, func(a, b AttributeChange) int { return cmp.Compare(a.Name, b.Name) })
	return changes
}

func (a Attribute) shown() string {
	if a.Secret {
		return secretText
	}
	return a.Value
}
