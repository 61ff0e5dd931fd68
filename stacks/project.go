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

	"go.yaml.in/yaml/v3"

	"devctl"
)

const projectFile = "Pulumi.yaml"

// Project is a folder with a Pulumi.yaml and stack files, or the one that is built into devctl.
type Project struct {
	Name        string
	Description string
	Root        string // folder of Pulumi.yaml, as a path for people; empty: the built-in project
	StackDir    string // folder of the stack files, as a path for people

	files fs.FS // of StackDir
}

// FindProject looks for Pulumi.yaml in dir and upwards. Where there is none, the project is the built-in one.
func FindProject(dir string) (*Project, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the project of %s: %w", dir, err)
	}
	for at, root := absolute, dir; ; at, root = filepath.Dir(at), filepath.Join(root, "..") {
		data, err := os.ReadFile(filepath.Join(at, projectFile))
		switch {
		case err == nil:
			return openProject(root, data)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("find the project of %s: %w", dir, err)
		case at == filepath.Dir(at):
			return defaultProject()
		}
	}
}

func openProject(root string, data []byte) (*Project, error) {
	p, stackDir, err := parseProject(filepath.Join(root, projectFile), data)
	if err != nil {
		return nil, err
	}
	p.Root, p.StackDir = root, stackDir
	if !filepath.IsAbs(stackDir) {
		p.StackDir = filepath.Join(root, stackDir)
	}
	p.files = os.DirFS(p.StackDir)
	return p, nil
}

func defaultProject() (*Project, error) {
	data, err := devctl.DefaultProject.ReadFile(projectFile)
	if err != nil {
		return nil, fmt.Errorf("open the built-in project: %w", err)
	}
	p, stackDir, err := parseProject(projectFile, data)
	if err != nil {
		return nil, fmt.Errorf("open the built-in project: %w", err)
	}
	p.StackDir = "built-in " + stackDir
	if p.files, err = fs.Sub(devctl.DefaultProject, stackDir); err != nil {
		return nil, fmt.Errorf("open the built-in project: %w", err)
	}
	return p, nil
}

// parseProject reads of Pulumi.yaml what devctl needs. The rest of the file is Pulumi's.
func parseProject(file string, data []byte) (p *Project, stackDir string, err error) {
	var content struct {
		Name           string `yaml:"name"`
		Description    string `yaml:"description"`
		StackConfigDir string `yaml:"stackConfigDir"`
	}
	if err := yaml.Unmarshal(data, &content); err != nil {
		return nil, "", fmt.Errorf("read project file %s: %w", file, err)
	}
	if content.Name == "" {
		return nil, "", fmt.Errorf("read project file %s: it has no name; add one, for example `name: devctl`", file)
	}
	return &Project{Name: content.Name, Description: content.Description}, content.StackConfigDir, nil
}

// NotFoundError says that a project has no such stack.
type NotFoundError struct {
	Stack    string
	Project  *Project
	Existing []string
}

func (e *NotFoundError) Error() string {
	if message := checkStackName(e.Stack); message != "" {
		return message + "; " + e.choice()
	}
	return fmt.Sprintf("stack %q does not exist: there is no %s; %s", e.Stack, e.Project.file(e.Stack), e.choice())
}

func (e *NotFoundError) choice() string {
	stacks := strings.Join(e.Existing, ", ")
	switch {
	case len(e.Existing) == 0:
		return "the project has no stack yet: write the file (`devctl config schema` describes it)"
	case e.Project.Root == "":
		return fmt.Sprintf("outside of a project (a folder with %s) the stacks are: %s; choose one with --stack", projectFile, stacks)
	default:
		return fmt.Sprintf("the stacks are: %s; choose one with --stack, or write the file (`devctl config schema` describes it)", stacks)
	}
}

func fileName(stack string) string { return "Pulumi." + stack + ".yaml" }

// file is where a stack's file is, for people.
func (p *Project) file(stack string) string { return filepath.Join(p.StackDir, fileName(stack)) }

// Stacks lists the names of the stacks that have a file, sorted.
func (p *Project) Stacks() ([]string, error) {
	entries, err := fs.ReadDir(p.files, ".")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the stacks in %s: %w", p.StackDir, err)
	}
	var names []string
	for _, entry := range entries {
		rest, isStack := strings.CutPrefix(entry.Name(), "Pulumi.")
		name, isYAML := strings.CutSuffix(rest, ".yaml")
		if isStack && isYAML && name != "" && !entry.IsDir() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Load reads the spec of a stack. The error is a *NotFoundError or a *SpecError where people are to mend it.
func (p *Project) Load(stack string) (*Spec, error) {
	data, err := fs.ReadFile(p.files, fileName(stack))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrInvalid):
		existing, err := p.Stacks()
		if err != nil {
			return nil, err
		}
		return nil, &NotFoundError{Stack: stack, Project: p, Existing: existing}
	case err != nil:
		return nil, fmt.Errorf("read stack %q: %w", stack, err)
	}
	return Parse(p.file(stack), data, stack)
}

// Overlaps reports which other local stacks of the project want addresses of this one. A neighbour whose file
// cannot be loaded is passed over: it cannot be brought up either.
func (p *Project) Overlaps(s *Spec) []Problem {
	if s.Provider != ProviderLocal {
		return nil
	}
	names, err := p.Stacks()
	if err != nil {
		return []Problem{{File: p.StackDir, Message: err.Error()}}
	}
	own := s.plan().Prefix
	taken := []netip.Prefix{own}
	var overlapping []*Spec
	for _, name := range names {
		if name == s.Stack {
			continue
		}
		other, err := p.Load(name)
		if err != nil || other.Provider != ProviderLocal {
			continue
		}
		taken = append(taken, other.plan().Prefix)
		if own.Overlaps(other.plan().Prefix) {
			overlapping = append(overlapping, other)
		}
	}
	var problems []Problem
	for _, other := range overlapping {
		message := fmt.Sprintf("is %q, must not overlap %s of stack %q (%s)", own, other.Network.CIDR, other.Stack, other.source.file)
		if free, found := freeRange(localRanges, own.Bits(), taken); found {
			message += fmt.Sprintf("; %s is free", free)
		}
		problems = append(problems, s.source.problem("devctl:network.cidr", s.Network.CIDR, message))
	}
	return problems
}

// localRanges is where local stacks should have their networks: RFC 2544's range collides with nobody's office.
var localRanges = netip.MustParsePrefix("198.18.0.0/15")

// freeRange finds the first range of the given size within a pool.
func freeRange(pool netip.Prefix, bits int, taken []netip.Prefix) (netip.Prefix, bool) {
	all := addressPlan{Prefix: pool}
	size := 1 << (32 - bits)
	for offset := 0; offset < 1<<(32-all.Bits()); offset += size {
		candidate := netip.PrefixFrom(netip.MustParseAddr(all.at(offset)), bits)
		if !slices.ContainsFunc(taken, candidate.Overlaps) {
			return candidate, true
		}
	}
	return netip.Prefix{}, false
}
