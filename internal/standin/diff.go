package standin

import (
	"maps"
	"slices"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// differences collects how wanted inputs differ from those that a resource was made from, by property path.
type differences map[string]p.PropertyDiff

// diff compares wanted inputs with those of the last update. State decides about inputs that the cloud chose then and the
// program names now.
//
// Inputs may come from the state of the real provider. It fills in defaults, and lists them under defaultsKey beside them.
func (r *resourceType) diff(state, old, wanted property.Map) differences {
	was := old.AsMap()
	for name, rule := range r.Inputs {
		if _, given := was[name]; !given && rule.Computed {
			was[name] = state.Get(name)
		}
	}
	d := differences{}
	d.object("", r.Inputs, property.NewMap(was), wanted)
	return d
}

const defaultsKey = "__defaults"

func (d differences) object(path string, fields map[string]*field, old, wanted property.Map) {
	for _, name := range names(old, wanted) {
		if name == defaultsKey || filledIn(old, name) && wanted.Get(name).IsNull() {
			continue
		}
		rule := fields[name]
		if rule == nil {
			rule = anything
		}
		d.value(key(path, name), rule, old.Get(name), wanted.Get(name))
	}
}

// anything is the rule for what no schema looks into.
var anything = &field{}

// filledIn tells whether the real provider, not the program, gave an input.
func filledIn(old property.Map, name string) bool {
	defaults := old.Get(defaultsKey)
	return defaults.IsArray() && slices.ContainsFunc(defaults.AsArray().AsSlice(), func(v property.Value) bool {
		return v.IsString() && v.AsString() == name
	})
}

// value compares two values; either may be null, for not given.
func (d differences) value(path string, rule *field, old, wanted property.Value) {
	switch {
	case same(old, wanted):
	case wanted.IsNull():
		if !rule.Computed && !rule.usual(old) {
			d.note(path, rule.replacing(), p.Delete, p.DeleteReplace)
		}
	case old.IsNull():
		if !rule.usual(wanted) {
			d.note(path, rule.replacing(), p.Add, p.AddReplace)
		}
	case rule.Type == kindObject && old.IsMap() && wanted.IsMap():
		d.object(path, rule.Fields, old.AsMap(), wanted.AsMap())
	case rule.Type == kindMap && old.IsMap() && wanted.IsMap():
		for _, name := range names(old.AsMap(), wanted.AsMap()) {
			d.value(key(path, name), rule.element(), old.AsMap().Get(name), wanted.AsMap().Get(name))
		}
	case rule.Of != nil && old.IsArray() && wanted.IsArray():
		d.array(path, rule, old.AsArray().AsSlice(), wanted.AsArray().AsSlice())
	default:
		d.note(path, rule.replacing(), p.Update, p.UpdateReplace)
	}
}

// array compares element by element, but in sets only elements that the other one does not have.
func (d differences) array(path string, rule *field, old, wanted []property.Value) {
	if rule.Type == kindSet {
		old, wanted = without(old, wanted), without(wanted, old)
	}
	at := func(values []property.Value, i int) property.Value {
		if i < len(values) {
			return values[i]
		}
		return property.Value{}
	}
	for i := range max(len(old), len(wanted)) {
		was, is := at(old, i), at(wanted, i)
		switch path := index(path, i); {
		case was.IsNull() && !is.IsNull():
			d.note(path, rule.replacing(), p.Add, p.AddReplace)
		case is.IsNull() && !was.IsNull():
			d.note(path, rule.replacing(), p.Delete, p.DeleteReplace)
		default:
			d.value(path, rule.element(), was, is)
		}
	}
}

// without returns the values with null in place of those that are among the others, each of which counts once.
func without(values, others []property.Value) []property.Value {
	others = slices.Clone(others)
	left := make([]property.Value, len(values))
	for i, v := range values {
		if at := slices.IndexFunc(others, func(o property.Value) bool { return same(v, o) }); at >= 0 {
			others = slices.Delete(others, at, at+1)
			continue
		}
		left[i] = v
	}
	return left
}

func (d differences) note(path string, replaces bool, change, replace p.DiffKind) {
	if replaces {
		change = replace
	}
	d[path] = p.PropertyDiff{Kind: change, InputDiff: true}
}

// replaces tells whether any of the differences replaces the resource.
func (d differences) replaces() bool {
	for _, difference := range d {
		switch difference.Kind {
		case p.AddReplace, p.DeleteReplace, p.UpdateReplace:
			return true
		}
	}
	return false
}

// element is the rule for what is in a list, set or map. Where their own change replaces, that of a plain element does.
func (rule *field) element() *field {
	if rule.Of.Type == kindObject {
		return rule.Of
	}
	element := *rule.Of
	element.Replaces = element.Replaces || rule.Replaces
	return &element
}

// replacing tells whether a value's coming or going replaces the resource.
func (rule *field) replacing() bool {
	if rule.Replaces || rule.Of != nil && rule.Of.replacing() {
		return true
	}
	for _, f := range rule.Fields {
		if f.replacing() {
			return true
		}
	}
	return false
}

// usual tells whether a value is what there is without one.
func (rule *field) usual(v property.Value) bool {
	switch {
	case rule.Default != nil:
		usual, err := property.Any(rule.Default)
		return err == nil && same(usual, v)
	case v.IsString():
		return v.AsString() == ""
	case v.IsNumber():
		return v.AsNumber() == 0
	case v.IsBool():
		return !v.AsBool()
	case v.IsArray():
		return v.AsArray().Len() == 0
	case v.IsMap():
		return v.AsMap().Len() == 0
	}
	return false
}

// names are the keys of both, sorted.
func names(a, b property.Map) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a.AsMap())), maps.Keys(b.AsMap()))
	slices.Sort(all)
	return slices.Compact(all)
}

// same tells whether values are equal, whichever of them is secret. What is not known is the same as nothing else.
func same(a, b property.Value) bool {
	return !a.HasComputed() && !b.HasComputed() && bare(a).Equals(bare(b))
}

// bare is the value without what Pulumi notes beside values (what is secret, and what depends on what) and without what the
// real provider filled in.
func bare(v property.Value) property.Value {
	v = v.WithSecret(false).WithDependencies(nil)
	switch {
	case v.IsArray():
		elements := v.AsArray().AsSlice()
		for i := range elements {
			elements[i] = bare(elements[i])
		}
		return property.New(elements)
	case v.IsMap():
		values := map[string]property.Value{}
		for name, value := range v.AsMap().All {
			if name != defaultsKey && !filledIn(v.AsMap(), name) {
				values[name] = bare(value)
			}
		}
		return property.New(values)
	}
	return v
}
