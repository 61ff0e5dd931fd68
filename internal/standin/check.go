package standin

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// findings are what is wrong with a resource's inputs, each beginning with the path of a property. No secret is in them.
type findings struct {
	failures []string // it cannot be
	doubts   []string // it may be newer than the schema
}

func (f *findings) fail(path, format string, args ...any) {
	f.failures = append(f.failures, path+": "+fmt.Sprintf(format, args...))
}

// check finds all that is wrong with a resource's inputs. What only an update will know is taken to be right.
func (r *resourceType) check(inputs property.Map) findings {
	var f findings
	f.object("", r.Inputs, inputs)
	return f
}

func (f *findings) object(path string, fields map[string]*field, values property.Map) {
	for name := range values.AllStable {
		if fields[name] == nil {
			f.fail(key(path, name), "unknown; valid are %s", list(slices.Sorted(maps.Keys(fields))))
		}
	}
	given := func(name string) bool { return !values.Get(name).IsNull() }
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		rule, at := fields[name], key(path, name)
		if given(name) {
			f.value(at, rule, values.Get(name))
			f.company(at, name, fields, given)
		} else if rule.Required {
			f.fail(at, "missing; needed is %s", rule.describe())
		}
		// Every member of the choice carries it: the first one reports.
		if choice := rule.ExactlyOne; len(choice) > 0 && choice[0] == name {
			if n := count(choice, given); n != 1 {
				f.fail(at, "%d of %s are given; give exactly one", n, list(choice))
			}
		}
	}
}

// company checks what an input asks of those beside it.
func (f *findings) company(at, name string, fields map[string]*field, given func(string) bool) {
	for _, other := range fields[name].Conflicts {
		said := other < name && slices.Contains(fields[other].Conflicts, name)
		if given(other) && !said {
			f.fail(at, "conflicts with %s; give one of the two", other)
		}
	}
	for _, other := range fields[name].With {
		if !given(other) {
			f.fail(at, "is valid only together with %s", other)
		}
	}
}

func (f *findings) value(at string, rule *field, v property.Value) {
	if v.IsComputed() {
		return
	}
	if !rule.fits(v) {
		f.fail(at, "is %s; needed is %s", kindOf(v), rule.describe())
		return
	}
	switch rule.Type {
	case kindString:
		f.word(at, rule, v)
	case kindList, kindSet:
		n := v.AsArray().Len()
		if n < rule.Min {
			f.fail(at, "has %d elements; at least %d are needed", n, rule.Min)
		}
		if rule.Max > 0 && n > rule.Max {
			f.fail(at, "has %d elements; at most %d are possible", n, rule.Max)
		}
		for i, element := range v.AsArray().All {
			f.value(index(at, i), rule.Of, element)
		}
	case kindMap:
		for name, element := range v.AsMap().AllStable {
			f.value(key(at, name), rule.Of, element)
		}
	case kindObject:
		if rule.Fields != nil {
			f.object(at, rule.Fields, v.AsMap())
		}
	}
}

// word checks a string that has only so many values.
func (f *findings) word(at string, rule *field, v property.Value) {
	said := fmt.Sprintf("%q", v.AsString())
	if v.Secret() {
		said = "[secret]"
	}
	if len(rule.Enum) > 0 && !slices.Contains(rule.Enum, v.AsString()) {
		f.fail(at, "%s is not valid; valid are %s", said, list(rule.Enum))
	}
	if len(rule.Known) > 0 && !slices.Contains(rule.Known, v.AsString()) {
		f.doubts = append(f.doubts, fmt.Sprintf("%s: %s is not among the values known here: %s", at, said, list(rule.Known)))
	}
}

// fits tells whether the value is of the rule's type.
func (rule *field) fits(v property.Value) bool {
	switch rule.Type {
	case kindString:
		return v.IsString()
	case kindInt:
		return v.IsNumber() && v.AsNumber() == math.Trunc(v.AsNumber())
	case kindNumber:
		return v.IsNumber()
	case kindBool:
		return v.IsBool()
	case kindList, kindSet:
		return v.IsArray()
	case kindMap, kindObject:
		return v.IsMap()
	case kindAsset:
		return v.IsAsset() || v.IsArchive()
	}
	return false
}

// describe says what is needed, for people.
func (rule *field) describe() string {
	switch rule.Type {
	case kindInt:
		return "a whole number"
	case kindAsset:
		return "a file"
	case kindObject:
		return "an object with " + list(slices.Sorted(maps.Keys(rule.Fields)))
	case kindList, kindSet:
		return "a list, each element " + rule.Of.describe()
	case kindMap:
		return "a map, each value " + rule.Of.describe()
	case kindString:
		if len(rule.Enum) > 0 {
			return "one of " + list(rule.Enum)
		}
	}
	return "a " + rule.Type
}

// kindOf says what a value is, for people, without saying the value.
func kindOf(v property.Value) string {
	switch {
	case v.IsString():
		return "a string"
	case v.IsNumber():
		return "a number"
	case v.IsBool():
		return "a bool"
	case v.IsArray():
		return "a list"
	case v.IsMap():
		return "an object"
	case v.IsNull():
		return "nothing"
	case v.IsAsset(), v.IsArchive():
		return "a file"
	}
	return "a resource"
}

func list(names []string) string { return strings.Join(names, ", ") }

func count(names []string, has func(string) bool) int {
	n := 0
	for _, name := range names {
		if has(name) {
			n++
		}
	}
	return n
}
