package stacks

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"devctl"
)

// Providers lists the providers that there is an example stack for.
func Providers() []string { return []string{ProviderLocal, ProviderAWS, ProviderDigitalOcean} }

// Created is a stack file that Create has written.
type Created struct {
	Stack   string       `json:"stack"`
	File    string       `json:"file"`
	From    string       `json:"from"`              // provider whose example it was made from
	Project string       `json:"project,omitempty"` // the project file, when it was made too
	CIDR    string       `json:"cidr"`
	Domain  string       `json:"domain"`
	Edit    []EditedNext `json:"edit"` // what only the owner of a stack on a cloud can know
}

// EditedNext is a value of an example that is to be replaced by one's own.
type EditedNext struct {
	Key  string `json:"key"`
	Line int    `json:"line"` // of the file, from 1
	Doc  string `json:"doc"`
}

// Create writes the file of a new stack from the example of a provider, with a name, a domain and a network of its own.
// Outside of a project it makes one in dir. It never overwrites: the error is an *fs.PathError with fs.ErrExist then.
func (p *Project) Create(dir, stack, from string) (*Created, error) {
	if message := checkStackName(stack); message != "" {
		return nil, errors.New(message)
	}
	root, stackDir := p.Root, p.StackDir
	if root == "" {
		root, stackDir = dir, filepath.Join(dir, "stacks")
	}
	created := &Created{Stack: stack, From: from, File: filepath.Join(stackDir, fileName(stack)), Edit: []EditedNext{}}
	text, err := p.adapt(created)
	if err != nil {
		return nil, err
	}
	if p.Root == "" {
		created.Project = filepath.Join(root, projectFile)
		project := fmt.Sprintf("name: %s\ndescription: %s\nruntime: go\nstackConfigDir: stacks\n", p.Name, p.Description)
		if err := writeNew(created.Project, []byte(project)); err != nil {
			return nil, err
		}
	}
	if err := writeNew(created.File, text); err != nil {
		return nil, err
	}
	return created, nil
}

// writeNew writes a file that must not be there yet.
func writeNew(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// adapt makes the file's text out of the example.
func (p *Project) adapt(c *Created) ([]byte, error) {
	example, err := fs.ReadFile(devctl.Examples, "stacks/"+fileName(c.From))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no example for %q, only for %s", c.From, strings.Join(Providers(), ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("read the example for %s: %w", c.From, err)
	}
	spec, err := Parse("example for "+c.From, example, c.From)
	if err != nil {
		return nil, fmt.Errorf("read the example for %s: %w", c.From, err)
	}
	network, err := p.freeNetwork(spec)
	if err != nil {
		return nil, err
	}
	c.CIDR = network.String()
	_, rest, _ := strings.Cut(spec.Domain, ".")
	c.Domain = c.Stack + "." + rest
	lines := strings.Split(string(example), "\n")
	spec.source.replace(lines, "devctl:network.cidr", spec.Network.CIDR, c.CIDR)
	spec.source.replace(lines, "devctl:domain", spec.Domain, c.Domain)
	for len(lines) > 0 && strings.HasPrefix(lines[0], "#") { // it is about the example
		lines = lines[1:]
	}
	text := fmt.Sprintf("# The stack %s, made by `devctl stack init` from the example for %s.\n"+
		"# `devctl config schema` describes every key, `devctl config check` checks this file.\n%s", c.Stack, c.From, strings.Join(lines, "\n"))
	made, err := Parse(c.File, []byte(text), c.Stack)
	if err != nil {
		return nil, fmt.Errorf("adapt the example for %s: %w", c.From, err)
	}
	if made.Network.CIDR != c.CIDR || made.Domain != c.Domain {
		return nil, fmt.Errorf("adapt the example for %s: it must say its network and its domain", c.From)
	}
	for _, k := range keys() {
		if place, given := made.source.positions[k.path]; given && c.From != ProviderLocal && slices.Contains(ownersKeys, k.path) {
			c.Edit = append(c.Edit, EditedNext{Key: k.path, Line: place.line, Doc: k.doc})
		}
	}
	return []byte(text), nil
}

// ownersKeys are the keys whose values in the examples for clouds are nobody's.
var ownersKeys = []string{"devctl:domain", "devctl:adminCidrs", "devctl:sshKeys", "devctl:endpoint.clientCidrs", "devctl:state.backend",
	"devctl:aws.region", "devctl:aws.coreos.release", "devctl:aws.hostedZone", "devctl:digitalocean.region", "devctl:digitalocean.coreos.url"}

// replace puts another value in the place of the one at path, in the lines that the source was read from.
func (s source) replace(lines []string, path, old, value string) {
	place, found := s.positions[path]
	if !found {
		return
	}
	line := lines[place.line-1]
	lines[place.line-1] = line[:place.column-1] + strings.Replace(line[place.column-1:], old, value, 1)
}

// freeNetwork is the network of the example, or the next one like it that no stack of the project has.
func (p *Project) freeNetwork(example *Spec) (netip.Prefix, error) {
	names, err := p.Stacks()
	if err != nil {
		return netip.Prefix{}, err
	}
	var taken []netip.Prefix
	for _, name := range names {
		if other, err := p.Load(name); err == nil && p.Root != "" {
			taken = append(taken, other.plan().Prefix)
		}
	}
	own := example.plan().Prefix
	if !slices.ContainsFunc(taken, own.Overlaps) {
		return own, nil
	}
	pool := localRanges
	if example.Provider != ProviderLocal {
		pool = netip.MustParsePrefix("10.0.0.0/8")
	}
	free, found := freeRange(pool, own.Bits(), taken)
	if !found {
		return netip.Prefix{}, fmt.Errorf("the stacks of this project have taken all of %s: there is no network left like %s", pool, own)
	}
	return free, nil
}

// Delete removes the file of a stack, and returns its name.
func (p *Project) Delete(stack string) (file string, err error) {
	if p.Root == "" {
		return "", fmt.Errorf("stack %q is built into devctl", stack)
	}
	if err := os.Remove(p.file(stack)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("remove the spec of stack %q: %w", stack, err)
	}
	return p.file(stack), nil
}
