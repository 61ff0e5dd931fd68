package stacks

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	for _, provider := range Providers() {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			root := writeProject(t, nil)
			p := findProject(t, root)
			networks := map[string]bool{}
			for _, name := range []string{"one", "two", "three"} {
				c, err := p.Create(".", name, provider)
				if err != nil {
					t.Fatal(err)
				}
				spec, err := p.Load(name)
				if err != nil {
					t.Fatal(err)
				}
				if c.File != filepath.Join(root, "envs", "Pulumi."+name+".yaml") || c.Project != "" || spec.Provider != provider ||
					!strings.HasPrefix(spec.Domain, name+".") || c.Domain != spec.Domain || c.CIDR != spec.Network.CIDR {
					t.Errorf("created %+v, spec %+v", c, spec)
				}
				if overlaps := p.Overlaps(spec); len(overlaps) > 0 || networks[spec.Network.CIDR] {
					t.Errorf("network %s is taken: %v", spec.Network.CIDR, overlaps)
				}
				networks[spec.Network.CIDR] = true
				text, err := os.ReadFile(c.File)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(string(text), "# The stack "+name+", made by") || !strings.Contains(string(text), "# odd: etcd members") {
					t.Errorf("the file lost its comments, or tells of another one:\n%s", text)
				}
				lines := strings.Split(string(text), "\n")
				for _, edit := range c.Edit {
					_, key := parent(strings.TrimPrefix(edit.Key, "devctl:"))
					if edit.Doc == "" || !strings.Contains(strings.Join(lines[max(0, edit.Line-2):edit.Line], "\n"), key+":") {
						t.Errorf("%s is not in line %d", edit.Key, edit.Line)
					}
				}
				if (provider == ProviderLocal) != (len(c.Edit) == 0) {
					t.Errorf("to be edited: %v", c.Edit)
				}
			}
			before, err := os.ReadFile(p.file("one"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Create(".", "one", provider); !errors.Is(err, fs.ErrExist) {
				t.Errorf("create again: %v", err)
			}
			if after, err := os.ReadFile(p.file("one")); err != nil || string(after) != string(before) {
				t.Errorf("the file was touched: %v", err)
			}
		})
	}
}

func TestCreateOutsideOfAProject(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, err := defaultProject()
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Create(dir, "dev", ProviderLocal)
	if err != nil {
		t.Fatal(err)
	}
	if c.Project != filepath.Join(dir, "Pulumi.yaml") || c.CIDR != "198.18.0.0/24" {
		t.Errorf("created %+v", c)
	}
	made := findProject(t, dir)
	if names, err := made.Stacks(); err != nil || cmp.Diff([]string{"dev"}, names) != "" || made.Name != p.Name {
		t.Errorf("project %+v with %v, %v", made, names, err)
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	p := findProject(t, writeProject(t, nil))
	if _, err := p.Create(".", "Bad_Name", ProviderLocal); err == nil || !strings.Contains(err.Error(), `stack name "Bad_Name" must be`) {
		t.Errorf("bad name: %v", err)
	}
	if _, err := p.Create(".", "dev", "azure"); err == nil || !strings.Contains(err.Error(), `there is no example for "azure", only for local, aws, digitalocean`) {
		t.Errorf("no such example: %v", err)
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	parse := func(name, text string) *Spec {
		t.Helper()
		s, err := Parse(name, []byte(text), name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	left := parse("dev", "config: {devctl:provider: local}\n")
	right := parse("prod", "config:\n  devctl:provider: local\n  devctl:redis: {replicas: 0, maxmemory: 1GiB}\n  devctl:network: {zones: [a, b]}\n"+
		"  devctl:adminCidrs: [192.0.2.0/24]\n")
	want := []Difference{
		{"devctl:domain", "dev.devctl.test", "prod.devctl.test"},
		{"devctl:network.zones", []string{"a", "b", "c"}, []string{"a", "b"}},
		{"devctl:redis.replicas", 1, 0},
		{"devctl:redis.maxmemory", 64 * MiB, GiB},
		{"devctl:adminCidrs", nil, []string{"192.0.2.0/24"}},
	}
	if diff := cmp.Diff(want, Diff(left, right)); diff != "" {
		t.Errorf("difference (-want +got):\n%s", diff)
	}
	if same := Diff(left, left); len(same) != 0 {
		t.Errorf("a spec differs from itself: %v", same)
	}
}
