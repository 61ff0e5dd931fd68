// Package output writes the data of a command in the format that the user asked for: a table for people, JSON or
// YAML for programs. The format is a flag value, so a bad one is refused before a command does anything.
package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Format is how data is written. It is a pflag.Value.
type Format string

// The formats.
const (
	Table Format = "table"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// Formats lists every format, the default first.
func Formats() []string { return []string{string(Table), string(JSON), string(YAML)} }

// String returns the format's name.
func (f *Format) String() string { return string(*f) }

// Type names the kind of value in help texts.
func (f *Format) Type() string { return "format" }

// Set takes the name of a format and refuses anything else.
func (f *Format) Set(name string) error {
	for _, known := range Formats() {
		if name == known {
			*f = Format(name)
			return nil
		}
	}
	return fmt.Errorf("use %s", strings.Join(Formats(), ", "))
}

// Write writes v in the given format; table writes it for people. JSON and YAML have the same shape: the one that
// the JSON tags of v describe, with keys in the same order.
func Write(w io.Writer, f Format, v any, table func(io.Writer) error) error {
	switch f {
	case JSON:
		data, err := encodeJSON(v)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	case YAML:
		return writeYAML(w, v)
	default:
		return table(w)
	}
}

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode output: %w", err)
	}
	return b.Bytes(), nil
}

func writeYAML(w io.Writer, v any) error {
	data, err := encodeJSON(v)
	if err != nil {
		return err
	}
	// JSON is YAML in flow style; only the style has to change.
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	blockStyle(&doc)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	return enc.Close()
}

func blockStyle(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && strings.Contains(n.Value, "\n") {
		n.Style = yaml.LiteralStyle
	}
	for _, child := range n.Content {
		blockStyle(child)
	}
}
