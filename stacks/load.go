package stacks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/agext/levenshtein"
	"go.yaml.in/yaml/v3"
)

// pulumiKeys are the keys beside config that Pulumi itself keeps in a stack file.
var pulumiKeys = []string{"secretsprovider", "encryptedkey", "encryptionsalt"}

// Parse reads the spec of a stack. File is only the name that problems are reported under.
// Any error is a *SpecError with all problems there are.
func Parse(file string, data []byte, stack string) (*Spec, error) {
	spec := defaults()
	spec.Stack = stack
	spec.source = source{file: file, positions: map[string]position{}}
	l := loader{spec: &spec, keys: map[string]key{}, unsound: map[string]bool{}}
	for _, k := range keys() {
		l.keys[k.path] = k
	}
	if message := checkStackName(stack); message != "" {
		l.problems = append(l.problems, Problem{File: file, Value: shorten(stack), Message: message})
	}
	if root := l.document(data); root != nil {
		l.file(root)
		spec.fillIn()
		l.validate()
	}
	if len(l.problems) > 0 {
		return nil, newSpecError(l.problems)
	}
	return &spec, nil
}

// loader fills in a spec from YAML nodes and collects what is wrong.
type loader struct {
	spec     *Spec
	keys     map[string]key
	problems []Problem
	// unsound are the paths with a problem of their own: what depends on them is not checked, because its
	// outcome would mean nothing.
	unsound map[string]bool
}

// document returns the content of the only YAML document in data, or nil after reporting why there is none.
func (l *loader) document(data []byte) *yaml.Node {
	report := func(line int, message string) {
		l.problems = append(l.problems, Problem{File: l.spec.source.file, Line: line, Message: message})
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	err := decoder.Decode(&first)
	if errors.Is(err, io.EOF) {
		report(1, "is empty, must be a mapping with the key config")
		return nil
	}
	if err == nil {
		if err = decoder.Decode(&second); errors.Is(err, io.EOF) {
			return first.Content[0]
		}
	}
	if err == nil {
		report(second.Line, "is a second YAML document, must be the only one")
		return nil
	}
	report(syntaxError(err))
	return nil
}

var yamlErrorLine = regexp.MustCompile(`^yaml: line (\d+): `)

// syntaxError takes apart the text of the parser's error: it says where only there, and not when it is line 1.
func syntaxError(err error) (line int, message string) {
	line, reason := 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if match := yamlErrorLine.FindStringSubmatch(err.Error()); match != nil {
		line, _ = strconv.Atoi(match[1]) // digits, by the pattern
		reason = strings.TrimPrefix(err.Error(), match[0])
	}
	return line, "is no YAML: " + reason
}

// file reads the top of a stack file: Pulumi's own keys, and config.
func (l *loader) file(root *yaml.Node) {
	const want = "a mapping with the key config"
	if root = resolve(root); root.Kind != yaml.MappingNode {
		l.report(root, "", root.Value, fmt.Sprintf("is %s, must be %s", describe(root), want))
		return
	}
	l.spec.source.positions[""] = position{root.Line, root.Column}
	known := append([]string{"config"}, pulumiKeys...)
	config := false
	l.eachKey(root, "", want, func(name, value *yaml.Node) {
		switch {
		case name.Value == "config":
			config = true
			l.spec.source.positions[""] = position{name.Line, name.Column}
			l.config(value)
		case !slices.Contains(known, name.Value):
			message := "is no key of a stack file" + hint(name.Value, known)
			if strings.HasPrefix(name.Value, namespace) {
				message = "is at the top of the file, must be under config"
			}
			l.report(name, name.Value, name.Value, message)
		}
	})
	if !config {
		l.report(root, "config", "", "is missing, must be a mapping with at least the key devctl:provider")
	}
}

// config reads the devctl: keys under config and leaves those of other namespaces alone.
func (l *loader) config(n *yaml.Node) {
	const want = "a mapping with at least the key devctl:provider"
	if n = resolve(n); n.Kind != yaml.MappingNode {
		l.report(n, "config", n.Value, fmt.Sprintf("is %s, must be %s", describe(n), want))
		return
	}
	l.eachKey(n, "", want, func(name, value *yaml.Node) {
		space, rest, found := strings.Cut(name.Value, ":")
		switch _, known := l.keys[name.Value]; {
		case known:
			l.key(name.Value, name, value)
		case !found:
			l.report(name, name.Value, name.Value, "has no namespace"+hint(namespace+name.Value, l.children("")))
		case space+":" == namespace || levenshtein.Distance(space, "devctl", nil) <= 2:
			l.report(name, name.Value, name.Value, "is no key of devctl"+hint(namespace+rest, l.children("")))
		}
	})
	for _, k := range keys() {
		if k.required && k.provider == "" && !l.spec.source.has(k.path) {
			l.report(n, k.path, "", "is missing, must be "+k.want)
		}
	}
}

// key reads the value of a known key, and all that is in it.
func (l *loader) key(path string, name, n *yaml.Node) {
	k := l.keys[path]
	if k.field != nil {
		l.spec.source.positions[path] = position{n.Line, n.Column}
		l.value(k, n)
		return
	}
	l.spec.source.positions[path] = position{name.Line, name.Column}
	l.eachKey(n, path, k.want, func(name, value *yaml.Node) {
		full := child(path, name.Value)
		if _, known := l.keys[full]; known && !strings.Contains(name.Value, ".") {
			l.key(full, name, value)
			return
		}
		l.report(name, full, name.Value, fmt.Sprintf("is no key of %s", path)+hint(name.Value, l.children(path)))
	})
}

// value reads a scalar or a list into its field.
func (l *loader) value(k key, n *yaml.Node) {
	n = resolve(n)
	switch field := k.field(l.spec).(type) {
	case *int:
		l.number(k, n, field)
	case *string:
		l.text(k, n, k.path, field)
	case *Size:
		var size Size
		if n.Kind != yaml.ScalarNode || size.UnmarshalText([]byte(n.Value)) != nil || size < Size(k.min) || k.wholeGiB && size%GiB != 0 {
			l.report(n, k.path, n.Value, fmt.Sprintf("is %s, must be %s", describe(n), k.want))
			return
		}
		*field = size
	case *[]string:
		if n.Kind != yaml.SequenceNode || len(n.Content) < k.min {
			l.report(n, k.path, n.Value, fmt.Sprintf("is %s, must be %s", describe(n), k.want))
			return
		}
		items := make([]string, len(n.Content))
		for i, item := range n.Content {
			path := fmt.Sprintf("%s[%d]", k.path, i)
			l.spec.source.positions[path] = position{item.Line, item.Column}
			if !l.text(k, resolve(item), path, &items[i]) {
				l.unsound[k.path] = true
			}
		}
		*field = items
	}
}

func (l *loader) number(k key, n *yaml.Node, field *int) {
	wrong := func(end string) { l.report(n, k.path, n.Value, fmt.Sprintf("is %s, must be %s", describe(n), end)) }
	var number int
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!str" && wholeNumber.MatchString(n.Value):
		wrong("a number: write it without quotes")
	case n.Kind != yaml.ScalarNode || n.Tag != "!!int" || n.Decode(&number) != nil,
		number < k.min, k.max > 0 && number > k.max, k.odd && number%2 == 0:
		wrong(k.want)
	default:
		*field = number
	}
}

var wholeNumber = regexp.MustCompile(`^[0-9]+$`)

// text reads a string that stands alone or in a list, and tells whether it is valid.
func (l *loader) text(k key, n *yaml.Node, path string, field *string) bool {
	wrong := func(message string) bool {
		l.report(n, path, n.Value, message)
		return false
	}
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag != "!!str" && n.Tag != "!!null":
		return wrong(fmt.Sprintf("is %s, must be a string: write it in quotes", describe(n)))
	case n.Kind != yaml.ScalarNode || n.Tag != "!!str":
		return wrong(fmt.Sprintf("is %s, must be %s", describe(n), k.want))
	}
	if k.check != nil {
		if message := k.check(n.Value); message != "" {
			return wrong(fmt.Sprintf("is %s, %s", describe(n), message))
		}
	}
	if len(k.enum) > 0 && !slices.Contains(k.enum, n.Value) || !regexp.MustCompile(k.pattern).MatchString(n.Value) {
		return wrong(fmt.Sprintf("is %s, must be %s", describe(n), k.want))
	}
	*field = n.Value
	return true
}

// eachKey visits the keys of a mapping, and reports what is no mapping, no plain key, or a key given before.
func (l *loader) eachKey(n *yaml.Node, path, want string, visit func(name, value *yaml.Node)) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		l.report(n, path, n.Value, fmt.Sprintf("is %s, must be %s", describe(n), want))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := resolve(n.Content[i])
		if name.Kind != yaml.ScalarNode {
			l.report(name, path, "", fmt.Sprintf("has %s as a key, must be %s", describe(name), want))
			continue
		}
		if line, found := seen[name.Value]; found {
			l.report(name, child(path, name.Value), name.Value, fmt.Sprintf("is given twice, first in line %d: keep one of them", line))
			continue
		}
		seen[name.Value] = name.Line
		visit(name, n.Content[i+1])
	}
}

func (l *loader) report(n *yaml.Node, path, value, message string) {
	l.unsound[path] = true
	l.problems = append(l.problems, Problem{File: l.spec.source.file, Line: n.Line, Column: n.Column, Path: path, Value: shorten(value), Message: message})
}

// children lists the names of the keys in a mapping, in the order of the table.
func (l *loader) children(mapping string) []string {
	var names []string
	for _, k := range keys() {
		if in, name := parent(k.path); in == mapping {
			names = append(names, name)
		}
	}
	return names
}

// hint ends a message about a name that is none of the valid ones.
func hint(name string, valid []string) string {
	best, distance := "", 1+max(2, len(name)/4)
	for _, v := range valid {
		if d := levenshtein.Distance(strings.ToLower(name), strings.ToLower(v), nil); d < distance {
			best, distance = v, d
		}
	}
	if best != "" {
		return fmt.Sprintf(": did you mean %s?", best)
	}
	return "; valid: " + strings.Join(valid, ", ")
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// describe says what a node is, in words that fit behind "is".
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		return "an empty list"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "empty"
	case n.Tag == "!!str":
		return strconv.Quote(shorten(n.Value))
	default:
		return shorten(n.Value)
	}
}

// shorten keeps messages readable, and a private key that was pasted in place of a public one out of them.
func shorten(value string) string {
	const limit = 32
	if runes := []rune(value); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return value
}
