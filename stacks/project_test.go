package stacks

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// writeProject makes a project folder with the given stacks and returns it.
func writeProject(t *testing.T, stacks map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{"Pulumi.yaml": "name: shop\ndescription: A shop\nruntime: go\nstackConfigDir: envs\n", "envs/README.md": "no stack"}
	for name, text := range stacks {
		files["envs/Pulumi."+name+".yaml"] = text
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func findProject(t *testing.T, dir string) *Project {
	t.Helper()
	p, err := FindProject(dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFindProjectUpwards(t *testing.T) {
	t.Parallel()
	root := writeProject(t, map[string]string{"dev": local, "prod": local})
	deep := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	p := findProject(t, deep)
	if p.Name != "shop" || p.Description != "A shop" || p.Root != root || p.StackDir != filepath.Join(root, "envs") {
		t.Errorf("got project %+v in %s", p, root)
	}
	names, err := p.Stacks()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"dev", "prod"}, names); diff != "" {
		t.Errorf("stacks (-want +got):\n%s", diff)
	}
	s, err := p.Load("dev")
	if err != nil {
		t.Fatal(err)
	}
	if s.Stack != "dev" || s.Domain != "dev.devctl.test" {
		t.Errorf("got spec %+v, want the stack dev", s)
	}
}

// TestShippedProject: this repository is a project, and finding it from a folder inside gives paths that people can use.
func TestShippedProject(t *testing.T) {
	t.Parallel()
	p := findProject(t, "testdata")
	if p.Name != "devctl" || p.StackDir != filepath.Join("..", "stacks") {
		t.Errorf("got project %+v, want devctl with stacks in ../stacks", p)
	}
	if _, err := p.Load("local"); err != nil {
		t.Error(err)
	}
}

func TestBuiltInProject(t *testing.T) {
	t.Parallel()
	built, shipped := findProject(t, t.TempDir()), findProject(t, ".")
	if built.Root != "" || built.Name != shipped.Name || built.Description != shipped.Description {
		t.Errorf("got %+v, want this repository's project without a folder", built)
	}
	got, err := built.Load("local")
	if err != nil {
		t.Fatal(err)
	}
	want, err := shipped.Load("local")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, ignorePlaces()); diff != "" {
		t.Errorf("spec (-shipped +built in):\n%s", diff)
	}
}

func TestLoadMissingStack(t *testing.T) {
	t.Parallel()
	const rule = "must be at most 20 lower-case letters, digits and hyphens, begin with a letter and not end with a hyphen, for example staging-2"
	const write = "or write the file (`devctl config schema` describes it)"
	two := findProject(t, writeProject(t, map[string]string{"prod": local, "dev": local}))
	for _, tt := range []struct {
		name    string
		project *Project
		stack   string
		want    string
	}{
		{"others", two, "staging", `stack "staging" does not exist: there is no ` + filepath.Join(two.StackDir, "Pulumi.staging.yaml") +
			"; the stacks are: dev, prod; choose one with --stack, " + write},
		{"bad name", two, "Sta_ging", `stack name "Sta_ging" ` + rule + "; the stacks are: dev, prod; choose one with --stack, " + write},
		{"way out of the folder", two, "x/../../secret", `stack name "x/../../secret" ` + rule + "; the stacks are: dev, prod; choose one with --stack, " + write},
		{"none", findProject(t, writeProject(t, nil)), "local", "the project has no stack yet: write the file (`devctl config schema` describes it)"},
		{"built in", findProject(t, t.TempDir()), "prod", `stack "prod" does not exist: there is no built-in stacks/Pulumi.prod.yaml; ` +
			"outside of a project (a folder with Pulumi.yaml) the stacks are: local; choose one with --stack"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := tt.project.Load(tt.stack)
			var missing *NotFoundError
			if !errors.As(err, &missing) {
				t.Fatalf("got error %v, want a *NotFoundError", err)
			}
			if !strings.HasSuffix(err.Error(), tt.want) {
				t.Errorf("got %s\nwant %s", err, tt.want)
			}
		})
	}
}

func TestLoadReportsTheFile(t *testing.T) {
	t.Parallel()
	p := findProject(t, writeProject(t, map[string]string{"dev": local + "  devctl:domian: a.test\n", "Bad": local}))
	file := filepath.Join(p.StackDir, "Pulumi.dev.yaml")
	_, err := p.Load("dev")
	if want := file + ":3:3: devctl:domian: is no key of devctl: did you mean devctl:domain?\n"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got error %v, want %s", err, want)
	}
	_, err = p.Load("Bad")
	if want := filepath.Join(p.StackDir, "Pulumi.Bad.yaml") + `: stack name "Bad" must be`; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got error %v, want %s", err, want)
	}
}

func TestFindProjectRefusesBadProjectFile(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"runtime: go\n": "read project file %s: it has no name; add one, for example `name: devctl`",
		"name: [\n":     "read project file %s: yaml: line 1: did not find expected node content",
	} {
		file := filepath.Join(t.TempDir(), "Pulumi.yaml")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := FindProject(filepath.Dir(file))
		if want = strings.Replace(want, "%s", file, 1); err == nil || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
}

func TestOverlaps(t *testing.T) {
	t.Parallel()
	network := func(cidr string) string { return local + "  devctl:network: {cidr: " + cidr + "}\n" }
	root := writeProject(t, map[string]string{
		"dev":    network("198.18.0.0/24"),
		"same":   local, // the default is the same
		"around": network("198.18.0.0/20"),
		"apart":  network("198.19.0.0/24"),
		"cloud":  awsSpec + "  devctl:network: {cidr: 198.18.0.0/16}\n",
		"broken": "config: [\n",
	})
	p := findProject(t, root)
	file := func(stack string) string { return filepath.Join(p.StackDir, "Pulumi."+stack+".yaml") }
	around := file("dev") + `:3:26: devctl:network.cidr: is "198.18.0.0/24", must not overlap 198.18.0.0/20 of stack "around" (` + file("around") + "); 198.18.16.0/24 is free"
	same := file("dev") + `:3:26: devctl:network.cidr: is "198.18.0.0/24", must not overlap 198.18.0.0/24 of stack "same" (` + file("same") + "); 198.18.16.0/24 is free"
	byDefault := file("same") + `:1:1: devctl:network.cidr: is "198.18.0.0/24", must not overlap 198.18.0.0/24 of stack "dev" (` + file("dev") + "); 198.18.16.0/24 is free"
	for stack, want := range map[string][]string{
		"dev":   {around, same},
		"same":  {strings.Replace(around, file("dev")+":3:26", file("same")+":1:1", 1), byDefault},
		"apart": nil,
		"cloud": nil,
	} {
		s, err := p.Load(stack)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, problem := range p.Overlaps(s) {
			got = append(got, problem.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("overlaps of %s (-want +got):\n%s", stack, diff)
		}
	}
}
