package cli

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"devctl/internal/engine"
)

const alphaSpec = `config:
  devctl:provider: local
  devctl:network: {cidr: 198.18.7.0/24}
  devctl:redis: {replicas: 0}
`

func TestStackInit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run("stack", "init", "alpha", "--from", "local").want(t, 0)
	golden(t, "stack-init-local.txt", r.out)
	w.run("config", "check", "-s", "alpha").want(t, 0, "the spec of stack alpha is valid")
	w.run("stack", "init", "alpha", "--from", "local").want(t, 1, "error: DIR/stacks/Pulumi.alpha.yaml is there already, nothing was written", "next: choose another name")

	golden(t, "stack-init-digitalocean.txt", w.run("stack", "init", "prod", "--from", "digitalocean").want(t, 0).out)
	var created struct {
		Stack, File, CIDR string
		Edit              []struct{ Key string }
	}
	out := w.run("stack", "init", "prod-2", "--from", "digitalocean", "-o", "json").want(t, 0).out
	if err := json.Unmarshal([]byte(out), &created); err != nil || created.Stack != "prod-2" || created.CIDR == "10.20.0.0/20" || len(created.Edit) < 3 {
		t.Errorf("created %+v, %v", created, err)
	}
	w.run("stack", "init", "beta").want(t, 2, "--from is missing: use local, aws, digitalocean", "next: devctl stack init --help")
	w.run("stack", "init", "beta", "--from", "azure").want(t, 2, `there is no example for "azure"`)
	w.run("stack", "init", "Beta!", "--from", "local").want(t, 2, `stack name "Beta!" must be`)
}

func TestStackSelect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("stacks/Pulumi.alpha.yaml", alphaSpec)
	checked := func(stack string, args ...string) {
		t.Helper()
		w.run(append(args, "config", "check")...).want(t, 0, "the spec of stack "+stack+" is valid")
	}
	checked("local")
	w.run("stack", "select", "alhpa").want(t, 2, `stack "alhpa" does not exist`, "next: devctl stack ls lists the stacks")
	w.run("stack", "select", "alpha").want(t, 0, "work on stack alpha now")
	checked("alpha")
	checked("local", "-s", "local")
	w.environ["DEVCTL_STACK"] = "local"
	checked("local")
	checked("alpha", "-s", "alpha")
	delete(w.environ, "DEVCTL_STACK")

	// A command to paste names the stack when it is not the selected one.
	w.env.outputs = nil
	w.run("outputs").want(t, 1, `stack "alpha" is not up`+"\nnext: devctl up\n")
	w.run("outputs", "-s", "local").want(t, 1, "next: devctl -s local up\n")
	if out := w.run("stack", "ls").want(t, 0).out; !strings.Contains(out, "alpha *") || strings.Contains(out, "local *") {
		t.Errorf("stack ls:\n%s", out)
	}
	if out := w.run("__complete", "logs", "redis-1").want(t, 0).out; !strings.Contains(out, "redis-1.service") {
		t.Errorf("completion: %s", out)
	}

	other := newWorld(t)
	other.environ["DEVCTL_HOME"] = w.environ["DEVCTL_HOME"]
	other.run("config", "check").want(t, 0, "the spec of stack local is valid") // another project

	if err := os.Remove(filepath.Join(w.dir, "stacks", "Pulumi.alpha.yaml")); err != nil {
		t.Fatal(err)
	}
	w.run("config", "check").want(t, 2, `stack "alpha" does not exist`, "next: the stack was selected with `devctl stack select`")
	w.run("stack", "select", "local").want(t, 0)
	checked("local")

	if err := os.WriteFile(filepath.Join(w.environ["DEVCTL_HOME"], "selected.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run("config", "check").want(t, 1, "read which stack is selected: unexpected end of JSON input; remove ")
}

func TestStackRemove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("stacks/Pulumi.alpha.yaml", alphaSpec)
	w.run("stack", "select", "alpha").want(t, 0)
	w.state.exists, w.state.resources = true, []engine.Resource{{Name: "network"}, {Name: "main"}}
	w.run("stack", "rm", "alpha", "--yes").want(t, 1, `stack "alpha" has 2 resources, nothing was removed`, "next: devctl destroy removes them")
	w.state.resources = nil
	w.env.leftover = []string{"container devctl-alpha-data-1"}
	w.run("stack", "rm", "alpha", "--yes").want(t, 1, "there is still 1 container of stack alpha, nothing was removed")
	w.env.leftover = nil
	leftovers := w.deps.leftovers
	w.deps.leftovers = func(context.Context, string) ([]string, error) { return nil, errors.New("no Docker answers") }
	w.run("stack", "rm", "alpha", "--yes").want(t, 1, "nothing was removed: no Docker answers", "next: devctl doctor")
	w.deps.leftovers = leftovers
	w.terminal("alhpa").run("stack", "rm", "alpha").want(t, 130, `"alhpa" is not "alpha": nothing was changed`)
	if len(w.state.calls) > 0 {
		t.Errorf("something was removed: %q", w.state.calls)
	}
	w.run("stack", "rm", "alpha", "--yes", "--keep-spec").want(t, 0, "Stack alpha is forgotten.")
	w.run("config", "check", "-s", "alpha").want(t, 0)
	w.run("stack", "select", "alpha").want(t, 0)
	w.terminal("alpha").run("stack", "rm", "alpha").want(t, 0, "Removed DIR/stacks/Pulumi.alpha.yaml.", "work on stack local again", "Stack alpha is forgotten.")
	if want := []string{"remove alpha", "forget alpha", "forget alpha"}; !slices.Equal(w.state.calls, want) {
		t.Errorf("calls %q, want %q", w.state.calls, want)
	}
	w.run("stack", "rm", "alpha", "--yes").want(t, 2, `stack "alpha" does not exist`)
}

func TestStackExportAndImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("stack", "export").want(t, 1, `stack "local": there is no such stack; `+"`devctl up` makes it")
	w.state.exists = true
	if out := w.run("stack", "export").want(t, 0).out; out != "local\n" {
		t.Errorf("exported %q", out)
	}
	file := filepath.Join(t.TempDir(), "backup.json")
	w.run("stack", "export", file).want(t, 0, "Wrote the state of stack local to "+file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}

	w.run("stack", "import", file).want(t, 2, "give --yes or set DEVCTL_YES=true")
	w.run("stack", "import", filepath.Join(t.TempDir(), "none"), "--yes").want(t, 2, "read state: open ")
	w.run("stack", "import", file, "--yes", "-s", "prod").want(t, 1, `import into stack "prod": it is the state of stack "local" of project "devctl"; nothing was changed`,
		"next: -s chooses the stack, --force imports it all the same")
	if slices.ContainsFunc(w.state.calls, func(call string) bool { return strings.HasPrefix(call, "import") }) {
		t.Errorf("something was imported: %q", w.state.calls)
	}
	nothing := filepath.Join(t.TempDir(), "nothing.json")
	if err := os.WriteFile(nothing, []byte("empty"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.state.resources = []engine.Resource{{Name: "network"}}
	w.run("stack", "import", nothing, "--yes").want(t, 1,
		`import into stack "local": it is a state without resources, and the one that it would replace has 1; nothing was changed`,
		"next: devctl destroy removes what there is, --force makes devctl forget it")
	if slices.ContainsFunc(w.state.calls, func(call string) bool { return strings.HasPrefix(call, "import") }) {
		t.Errorf("an empty state was imported: %q", w.state.calls)
	}
	w.state.calls = nil
	out := w.run("stack", "import", file, "--yes", "-o", "json").want(t, 0).out
	if want := "{\n  \"stack\": \"local\",\n  \"resources\": 12\n}\n"; out != want {
		t.Errorf("got %s", out)
	}
	w.run("stack", "import", file, "--yes", "--force", "-s", "prod").want(t, 0, "warning: it is the state of stack \"local\"", "removes everything in it")
	w.deps.streams.In = strings.NewReader("local\n")
	w.run("stack", "import", "--yes", "-").want(t, 0)
	w.terminal("n").run("stack", "import", file).want(t, 130, "Replace what devctl knows of stack local by "+file)
	if want := []string{"open moved local", "import local false into local", "open moved prod", "import local true into prod"}; !slices.Equal(w.state.calls[:4], want) {
		t.Errorf("calls %q, want %q", w.state.calls, want)
	}
}

func TestStackUnlock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("stack", "unlock", "local", "--yes").want(t, 1, "there is no such stack")
	w.state.exists = true
	w.run("stack", "unlock", "local").want(t, 2, "give --yes")
	w.terminal("no").run("stack", "unlock", "local").want(t, 130, "Only when nobody works on it.")
	w.terminal("yes").run("stack", "unlock", "local").want(t, 0, "Stack local is not locked.")
	if want := []string{"unlock local"}; !slices.Equal(w.state.calls, want) {
		t.Errorf("calls %q", w.state.calls)
	}
}

func TestStackOfABackendThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deps.list = func(context.Context) ([]engine.StackInfo, error) {
		return []engine.StackInfo{{Name: "local", Unknown: errors.New("ask s3://states: no credentials")}}, nil
	}
	out := w.run("stack", "ls").want(t, 0, "warning: stack local is unknown: ask s3://states: no credentials").out
	if !strings.Contains(out, "unknown") {
		t.Errorf("stack ls:\n%s", out)
	}
}

func TestConfigDiff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("stacks/Pulumi.alpha.yaml", alphaSpec)
	golden(t, "config-diff.txt", w.run("config", "diff", "local", "alpha").want(t, 0).out)
	golden(t, "config-diff.json", w.run("config", "diff", "local", "alpha", "-o", "json").want(t, 0).out)
	if out := w.run("config", "diff", "local", "local").want(t, 0).out; out != "The specs of local and local say the same.\n" {
		t.Errorf("same: %s", out)
	}
	w.run("config", "diff", "local").want(t, 2, "STACK is missing")
	w.run("config", "diff", "local", "beta").want(t, 2, `stack "beta" does not exist`)
}
