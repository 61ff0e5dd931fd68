package standin

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// The schemas hold what the providers' own schemas say of the resource types that devctl uses, by Pulumi's names. Each
// file names the provider and the versions that its facts were taken from.
//
//go:embed schemas/*.json
var schemaFiles embed.FS

// schema is what is known of one provider.
type schema struct {
	Provider  string                   `json:"provider"`
	Version   string                   `json:"version"` // of its Go SDK
	Source    string                   `json:"source"`
	Resources map[string]*resourceType `json:"resources"` // by type token
}

// resourceType is what is known of one type of resource.
type resourceType struct {
	// ID is what ids look like: see expand.
	ID string `json:"id"`
	// DeleteFirst is the input that, when it is given, lets a replacement be created only after what it replaces is gone:
	// a name that the provider would otherwise make up. It is "always" where there is no such input.
	DeleteFirst string `json:"deleteFirst"`
	// Unique are inputs that no two resources of the type may have in common.
	Unique []string `json:"unique"`
	// Loose resources can be deleted while others still refer to them.
	Loose bool `json:"loose"`
	// Inputs are all inputs but deprecated ones.
	Inputs map[string]*field `json:"inputs"`
	// Outputs are those that are no inputs too.
	Outputs map[string]*output `json:"outputs"`
}

// field is what is known of an input, or of what is in one.
type field struct {
	Type   string            `json:"type"`   // one of the kinds below
	Of     *field            `json:"of"`     // elements of a list, set or map
	Fields map[string]*field `json:"fields"` // of an object; without, it is not looked into

	Required bool   `json:"required"`
	Replaces bool   `json:"replaces"` // a change replaces the resource
	Computed bool   `json:"computed"` // the cloud decides when the program does not
	Default  any    `json:"default"`  // of the provider, unless it is the type's zero value
	Value    string `json:"value"`    // what the world decides: see expand

	Enum  []string `json:"enum"`  // all values there are
	Known []string `json:"known"` // values there were when the schema was made
	Min   int      `json:"min"`   // elements of a list or set
	Max   int      `json:"max"`

	// Names of inputs beside this one.
	Conflicts  []string `json:"conflicts"`  // not together with any of these
	ExactlyOne []string `json:"exactlyOne"` // one of these, itself included
	With       []string `json:"with"`       // only together with all of these
}

// output is what is known of an output.
type output struct {
	Type  string `json:"type"`
	Value string `json:"value"` // what the world makes of it: see expand
	// Moves: an update of anything but tags may change it.
	Moves bool `json:"moves"`
}

// Kinds of properties.
const (
	kindString = "string"
	kindInt    = "int"
	kindNumber = "number"
	kindBool   = "bool"
	kindList   = "list"
	kindSet    = "set"
	kindMap    = "map"
	kindObject = "object"
	kindAsset  = "asset"
)

// loadSchemas reads all schemas, by package name.
var loadSchemas = sync.OnceValues(func() (map[string]*schema, error) {
	entries, err := schemaFiles.ReadDir("schemas")
	if err != nil {
		return nil, fmt.Errorf("read provider schemas: %w", err)
	}
	all := map[string]*schema{}
	for _, e := range entries {
		data, err := schemaFiles.ReadFile("schemas/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read provider schemas: %w", err)
		}
		s := &schema{}
		if err := json.Unmarshal(data, s); err != nil {
			return nil, fmt.Errorf("read provider schema %s: %w", e.Name(), err)
		}
		all[strings.TrimSuffix(e.Name(), ".json")] = s
	}
	return all, nil
})

// schemaOf finds the schema of a package.
func schemaOf(name string) (*schema, error) {
	all, err := loadSchemas()
	if err != nil {
		return nil, err
	}
	s := all[name]
	if s == nil {
		return nil, fmt.Errorf("there is no stand-in for the provider %q, only for %s", name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	return s, nil
}

// resourceType finds what is known of a type.
func (s *schema) resourceType(token string) (*resourceType, error) {
	r := s.Resources[token]
	if r == nil {
		return nil, fmt.Errorf("the stand-in for %s does not know %s: add it to internal/standin/schemas", s.Provider, token)
	}
	return r, nil
}

// Types are the type tokens of all resources that the stand-in of a package knows, sorted.
func Types(pkg string) ([]string, error) {
	s, err := schemaOf(pkg)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(s.Resources)), nil
}

// Inputs are all inputs of a type of resource that the stand-in of a package knows, and what is in them: types by path.
// Elements of lists, sets and maps are called []: "tags[]" is a string.
func Inputs(pkg, token string) (map[string]string, error) {
	s, err := schemaOf(pkg)
	if err != nil {
		return nil, err
	}
	r, err := s.resourceType(token)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	var add func(path string, rule *field)
	add = func(path string, rule *field) {
		all[path] = rule.Type
		if rule.Of != nil {
			add(path+"[]", rule.Of)
		}
		for name, f := range rule.Fields {
			add(key(path, name), f)
		}
	}
	for name, rule := range r.Inputs {
		add(name, rule)
	}
	return all, nil
}
