package stacks

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/invopop/jsonschema"
)

// Schema returns the JSON Schema (draft 2020-12) of a stack file. It says of one key at a time what Parse says;
// what concerns several keys is in the descriptions only.
func Schema() []byte {
	config := mapping("Pulumi's configuration of the stack. Keys of other namespaces belong to Pulumi's providers.")
	config.AdditionalProperties = nil
	top := config.Properties
	mappings := map[string]*jsonschema.Schema{"": config}
	initial := defaults()
	for _, k := range keys() {
		in, name := parent(k.path)
		s := k.schema(&initial)
		mappings[k.path] = s
		mappings[in].Properties.Set(name, s)
		if k.required && (k.provider == "" || in != "") {
			mappings[in].Required = append(mappings[in].Required, name)
		}
	}
	var names []any
	for pair := top.Oldest(); pair != nil; pair = pair.Next() {
		names = append(names, pair.Key)
	}
	// A misspelt key of ours is an error, a key of another namespace is not.
	config.PropertyNames = &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		{Enum: names},
		{Pattern: "^[^:]+:", Not: &jsonschema.Schema{Pattern: "^" + namespace}},
	}}

	file := mapping("What an environment is made of. `devctl up` makes it so.")
	file.Version = jsonschema.Version
	file.Title = "A stack file of devctl"
	file.Required = []string{"config"}
	file.Properties.Set("config", config)
	for _, name := range pulumiKeys {
		file.Properties.Set(name, &jsonschema.Schema{Type: "string", Description: "Kept by Pulumi."})
	}

	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("encode the schema: %v", err)) // nothing in it comes from outside
	}
	return append(data, '\n')
}

func mapping(doc string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", Description: doc, Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema}
}

// schema of the key alone; the default is what field finds in initial.
func (k key) schema(initial *Spec) *jsonschema.Schema {
	if k.field == nil {
		return mapping(k.doc)
	}
	s := &jsonschema.Schema{Description: k.doc, Examples: []any{k.example}}
	text := s
	switch field := k.field(initial).(type) {
	case *int:
		s.Type, s.Minimum = "integer", number(k.min)
		if k.max > 0 {
			s.Maximum = number(k.max)
		}
		if k.odd {
			s.Not = &jsonschema.Schema{MultipleOf: number(2)}
		}
		if *field > 0 {
			s.Default = *field
		}
		return s
	case *[]string:
		s.Type, text = "array", &jsonschema.Schema{}
		s.Items = text
		if k.min > 0 {
			length := uint64(k.min)
			s.MinItems, s.UniqueItems = &length, true
		}
		if len(*field) > 0 {
			s.Default = *field
		}
	case *Size:
		text.Pattern = patternSize
		if *field > 0 {
			s.Default = field.String()
		}
	case *string:
		if *field != "" {
			s.Default = *field
		}
	}
	text.Type = "string"
	if k.pattern != "" {
		text.Pattern = k.pattern
	}
	for _, value := range k.enum {
		text.Enum = append(text.Enum, value)
	}
	return s
}

func number(n int) json.Number { return json.Number(strconv.Itoa(n)) }
