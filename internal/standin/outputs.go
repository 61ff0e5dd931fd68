package standin

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// planned are the outputs of a resource that is yet to be created: its inputs, and what only the creation will tell.
func (r *resourceType) planned(inputs property.Map) property.Map {
	return r.outputs(inputs, func(string, string, string) property.Value { return property.New(property.Computed) })
}

// updated are the outputs of a resource after an update that is yet to be done: what no update changes stays known.
func (r *resourceType) updated(state, old, inputs property.Map) property.Map {
	moved := moves(r.diff(state, old, inputs))
	out := r.outputs(inputs, func(name, _, _ string) property.Value {
		before, known := state.GetOk(name)
		if !known {
			return property.New(property.Computed)
		}
		return before
	})
	for name, o := range r.Outputs {
		if o.Moves && moved {
			out = out.Set(name, property.New(property.Computed))
		}
	}
	return out
}

// moves tells whether an update does more than tag.
func moves(d differences) bool {
	for path := range d {
		if path != "tags" && !strings.HasPrefix(path, "tags.") && !strings.HasPrefix(path, "tags[") {
			return true
		}
	}
	return false
}

// outputs are the inputs and all that is none. fill makes what the cloud decides: the output of that name and kind, like
// value if that is not empty.
func (r *resourceType) outputs(inputs property.Map, fill func(name, kind, value string) property.Value) property.Map {
	out := inputs
	for name, rule := range r.Inputs {
		if !inputs.Get(name).IsNull() {
			continue
		}
		if rule.Computed {
			out = out.Set(name, fill(name, rule.Type, rule.Value))
		} else if v, err := property.Any(rule.Default); err == nil && rule.Default != nil {
			out = out.Set(name, v)
		}
	}
	for name, o := range r.Outputs {
		out = out.Set(name, fill(name, o.Type, o.Value))
	}
	return out
}

// made are the outputs of a resource that exists, in its version-th version, made from inputs.
func (r *resourceType) made(id string, version int, inputs property.Map) property.Map {
	return r.outputs(inputs, func(name, kind, value string) property.Value {
		switch kind {
		case kindInt, kindNumber:
			if value == "{version}" {
				return property.New(float64(version))
			}
			if n, err := strconv.ParseFloat(expand(value, id, id, inputs), 64); err == nil {
				return property.New(n)
			}
			return property.New(0.0)
		case kindBool:
			return property.New(false)
		case kindList, kindSet:
			return property.New([]property.Value{})
		case kindMap, kindObject:
			return property.New(map[string]property.Value{})
		}
		if value == "" {
			value = fmt.Sprintf("%s of %s", name, id)
		}
		return property.New(expand(value, id, id, inputs))
	})
}

var placeholder = regexp.MustCompile(`\{\w+\}`)

// expand makes a value from its pattern. In braces are inputs by name; {id}; and {hex}, {number}, {uuid}, {address} and
// {private}, which are different for different seeds.
func expand(pattern, seed, id string, inputs property.Map) string {
	hash := sha256.Sum256([]byte(seed))
	return placeholder.ReplaceAllStringFunc(pattern, func(name string) string {
		text := hex.EncodeToString(hash[:])
		switch name {
		case "{id}":
			return id
		case "{hex}":
			return text[:17]
		case "{number}":
			return strconv.FormatUint(100_000_000+uint64(binary.BigEndian.Uint32(hash[:]))%900_000_000, 10)
		case "{uuid}":
			return text[:8] + "-" + text[8:12] + "-4" + text[13:16] + "-8" + text[17:20] + "-" + text[20:32]
		case "{address}":
			return fmt.Sprintf("198.19.%d.%d", hash[0], hash[1])
		case "{private}":
			return fmt.Sprintf("10.%d.%d.%d", hash[2], hash[3], hash[4])
		}
		if v := inputs.Get(name[1 : len(name)-1]); v.IsString() {
			return v.AsString()
		}
		return "auto-" + text[:7] // a name that the provider makes up when the program gives none
	})
}
