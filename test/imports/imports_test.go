// Package imports checks that arrows between packages point one way: cmd → internal/cli → engine, stacks →
// components → ignition → units, and that what must stay pure or small does.
package imports

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "devctl"

// reach rules: what a package must not link, however indirectly. A trailing /... stands for all below, and the
// package itself.
var reach = []struct{ from, never, why string }{
	{"cmd/devctld", "github.com/pulumi/...", "the daemon runs on every node in 20 MB; it never provisions"},
	{"cmd/devctld", "github.com/docker/...", "a node is a machine, not somebody's Docker host"},
	{"cmd/devctld", "github.com/spf13/...", "the daemon has a handful of fixed arguments"},
	{"cmd/devctld", "github.com/coreos/butane/...", "Ignition is rendered before there is a node"},
	{"cmd/devctld", "devctl/stacks", "a node gets a deployment, never the spec"},
	{"cmd/devctld", "devctl/components/...", "a node does not know which cloud it is on"},
	{"cmd/devctld", "devctl/internal/localcloud/...", "a node does not know which cloud it is on"},
	{"cmd/devctld", "github.com/aws/aws-sdk-go-v2/service/...", "a node makes two calls of AWS"},
	{"cmd/devctl-supervisor", "github.com/pulumi/...", "a supervisor keeps what was provisioned; it never provisions"},
	{"cmd/devctl-supervisor", "github.com/spf13/...", "the supervisor has two fixed arguments"},
	{"cmd/devctl-supervisor", "devctl/stacks", "a supervisor gets groups, never the spec"},
	{"internal/controller", "devctl/internal/agent", "they talk through etcd; what they share is in internal/api and internal/discovery"},
	{"internal/agent", "devctl/internal/controller", "they talk through etcd; what they share is in internal/api and internal/discovery"},
	{"internal/agent", "devctl/internal/plan", "agents carry out assignments, the leader alone makes them"},
	{"stacks", "devctl/internal/engine", "the program is run by the engine and does not know it"},
	{"stacks", "devctl/internal/localcloud/...", "the program knows the Cloud interface, no cloud"},
	{"stacks", "devctl/components/local", "the program knows the Cloud interface, no cloud"},
	{"stacks", "devctl/components/aws", "the program knows the Cloud interface, no cloud"},
	{"stacks", "devctl/components/digitalocean", "the program knows the Cloud interface, no cloud"},
	{"components/local", "devctl/internal/localcloud/...", "resources say what there is; the provider, in the engine's hands, makes it"},
	{"internal/engine", "devctl/stacks", "the engine runs any program"},
	{"internal/engine", "devctl/internal/localcloud/...", "the engine runs over any provider"},
	{"ignition", "devctl/stacks", "arrows point from the spec to what is rendered"},
	{"units", "devctl/ignition", "Ignition carries units, and the deploy stage does so without it"},
	{"internal/api", "go.etcd.io/...", "the wire types do not depend on how they are stored"},
	{"internal/standin", "devctl/stacks", "stand-ins know schemas, no stack"},
	{"internal/standin", "devctl/components/...", "stand-ins know schemas, no stack"},
	{"internal/plugin", "devctl/...", "it is a leaf"},
	{"internal/version", "devctl/...", "the version is a leaf"},
	{"internal/atomicfile", "devctl/...", "it is a leaf"},
	{"internal/backoff", "devctl/...", "it is a leaf"},
}

// only rules: who alone may import a package itself.
var only = []struct {
	imported string
	by       []string
	why      string
}{
	{"github.com/spf13/...", []string{"internal/cli/...", "cmd/..."}, "commands, flags and exit codes are the command line's"},
	{"golang.org/x/term", []string{"internal/cli/...", "cmd/..."}, "nothing below the command line knows terminals"},
	{"github.com/pulumi/pulumi/sdk/v3/go/auto/...", []string{"internal/engine"}, "one wrapper of the Automation API"},
	{"github.com/pulumi/pulumi-go-provider/...", []string{"internal/provider", "internal/plugin", "internal/standin"}, "providers are ours, or stand in for others"},
	{"github.com/pulumi/...", []string{"internal/engine", "internal/provider", "internal/plugin", "internal/standin", "stacks", "components/...", "cmd/stack"}, "provisioning is Pulumi's, the rest must work without it"},
	{"github.com/pulumi/pulumi-aws/...", []string{"components/aws"}, "one folder is one cloud"},
	{"github.com/pulumi/pulumi-digitalocean/...", []string{"components/digitalocean"}, "one folder is one cloud"},
	{"github.com/aws/aws-sdk-go-v2/service/...", []string{"internal/bundle"}, "everything else on AWS is Pulumi's, or a call that a node makes by itself"},
	{"github.com/docker/...", []string{"internal/localcloud/..."}, "one place knows Docker"},
	{"go.etcd.io/...", []string{"internal/discovery/...", "internal/agent", "internal/controller", "internal/etcdmember"}, "the rest goes through discovery or the controller's API"},
	{"github.com/coreos/butane/...", []string{"ignition"}, "one place knows Butane"},
	{"devctl/internal/cli/...", []string{"internal/cli/...", "cmd/devctl"}, "the command line is the top"},
	{"devctl/internal/engine", []string{"internal/cli/..."}, "the command line alone starts runs"},
	{"devctl/internal/daemon", []string{"cmd/devctld"}, "the daemon's main is the top"},
}

// pure names the packages, or the single files, whose output depends on nothing but their input.
var pure = []struct{ place, why string }{
	{"ignition", "the same spec is the same bytes: else machines are replaced for nothing"},
	{"units", "the same arguments are the same unit: else services restart for nothing"},
	{"internal/plan", "the same state is the same plan, on whichever controller leads"},
	{"internal/keepalived", "renders configuration"},
	{"internal/haproxy/config.go", "renders configuration"},
	{"internal/redis/config.go", "renders configuration"},
	{"internal/redis/plan.go", "decides from a picture of the cluster"},
	{"internal/redis/placement.go", "decides from a picture of the cluster"},
}

// impure is what pure code must not import, and the one call that needs none of it.
var (
	impure = []string{"os", "os/exec", "os/user", "math/rand", "math/rand/v2", "crypto/rand", "net/http", "syscall", "log", "log/slog"}
	clocks = []string{"time.Now", "time.Since", "time.Until", "net.Dial", "net.DialTimeout", "net.Listen", "net.LookupHost"}
)

type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

func packages(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,Deps", module+"/...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	all := map[string]pkg{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all[strings.TrimPrefix(p.ImportPath, module+"/")] = p
	}
}

// matches tells whether the path is what the pattern names.
func matches(pattern, path string) bool {
	prefix, tree := strings.CutSuffix(pattern, "/...")
	return path == prefix || tree && strings.HasPrefix(path, prefix+"/")
}

func TestReach(t *testing.T) {
	t.Parallel()
	all := packages(t)
	for _, rule := range reach {
		p, ok := all[rule.from]
		if !ok {
			t.Errorf("the rule for %s is about a package that does not exist", rule.from)
			continue
		}
		for _, dep := range p.Deps {
			if matches(rule.never, dep) {
				t.Errorf("%s links %s: %s (`go mod why -m`, `go list -deps ./%s` show how)", rule.from, dep, rule.why, rule.from)
			}
		}
	}
}

func TestOnly(t *testing.T) {
	t.Parallel()
	for name, p := range packages(t) {
		if strings.HasPrefix(name, "test/") || strings.HasSuffix(name, "test") { // test programs and test harnesses see everything
			continue
		}
		for _, rule := range only {
			if slices.ContainsFunc(rule.by, func(by string) bool { return matches(by, name) }) {
				continue
			}
			for _, imported := range p.Imports {
				if matches(rule.imported, imported) {
					t.Errorf("%s imports %s, which is for %s alone: %s", name, imported, strings.Join(rule.by, ", "), rule.why)
				}
			}
		}
	}
}

func TestPure(t *testing.T) {
	t.Parallel()
	all := packages(t)
	for _, rule := range pure {
		name, file := rule.place, ""
		if strings.HasSuffix(name, ".go") {
			name, file = filepath.Dir(rule.place), filepath.Base(rule.place)
		}
		p, ok := all[name]
		if !ok || file != "" && !slices.Contains(p.GoFiles, file) {
			t.Errorf("the rule for %s is about code that does not exist", rule.place)
			continue
		}
		for _, f := range p.GoFiles {
			if file == "" || f == file {
				checkPure(t, filepath.Join(p.Dir, f), rule.place, rule.why)
			}
		}
	}
}

func checkPure(t *testing.T, path, place, why string) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return
	}
	for _, spec := range f.Imports {
		if imported := strings.Trim(spec.Path.Value, `"`); slices.Contains(impure, imported) {
			t.Errorf("%s: %s imports %s and must be pure: %s", fset.Position(spec.Pos()), place, imported, why)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(clocks, x.Name+"."+sel.Sel.Name) {
				t.Errorf("%s: %s calls %s.%s and must be pure: %s", fset.Position(n.Pos()), place, x.Name, sel.Sel.Name, why)
			}
		}
		return true
	})
}

// TestArchitectureNamesEveryFolder: a package that is not in the table of docs/architecture.md is one that nobody can find.
func TestArchitectureNamesEveryFolder(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "list", module+"/...").Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	for _, path := range strings.Fields(string(out)) {
		folder := strings.TrimPrefix(path, module+"/")
		if path == module { // the embedded files of the default project
			continue
		}
		inside := filepath.Base(folder) // of a folder that is named: `localcloudtest`
		if !strings.Contains(string(text), "`"+folder+"`") && !(strings.HasSuffix(inside, "test") && strings.Contains(string(text), "`"+inside+"`")) {
			t.Errorf("docs/architecture.md does not say what %s is for", folder)
		}
	}
}
