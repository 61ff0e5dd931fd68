package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"devctl/images"
	"devctl/internal/cli/output"
	"devctl/internal/cli/planview"
	"devctl/internal/engine"
	"devctl/stacks"
)

// These tests run the real Pulumi engine (bin/pulumi) over stand-ins for the providers: a stack is brought up on paper once,
// and each change previewed over a copy of its state. Their golden files are there to be read, in testdata/previews.

// change is a typical change of a stack.
type change struct {
	name string
	// spec changes the spec: a text of it, and what takes its place.
	spec [2]string
	// images changes what nodes run.
	images func(*images.Set)
	// secret is imported for the Redis user app.
	secret string
	// replaces is what --allow-replace names.
	replaces []string
	// first: there is no stack yet.
	first bool
	// on are the providers that have such a change; nil: all.
	on []string
}

var (
	onClouds = []string{stacks.ProviderAWS, stacks.ProviderDigitalOcean}
	onAWS    = []string{stacks.ProviderAWS} // the size of DigitalOcean's pool is not the program's
)

// changes are the same on all providers; the texts of their specs are in every one of them.
var changes = []change{
	{name: "first", first: true},
	{name: "nothing"},
	{name: "more-data-nodes", spec: [2]string{"data: {count: 4", "data: {count: 5"}},
	{name: "fewer-data-nodes", spec: [2]string{"data: {count: 4", "data: {count: 3"}},
	{name: "ssh-key", spec: [2]string{"example1 ada@example.com", "example2 grace@example.com"}},
	{name: "etcd-image", images: newEtcd},
	{name: "etcd-image-on-main-2", images: newEtcd, replaces: []string{"main-2"}, on: []string{stacks.ProviderDigitalOcean}},
	{name: "redis-image", images: func(set *images.Set) { set.Services[3].Ref = "localhost/devctl/redis:ba9876543210" }, on: onClouds},
	{name: "network", spec: [2]string{"cidr: 10.10.0.0/20", "cidr: 10.11.0.0/20"}},
	{name: "redis-password", secret: "Imported-correct-horse-battery"},
	{name: "daemon", images: func(set *images.Set) { set.Daemon.Data = []byte("another daemon") }, on: onClouds},
	{name: "machine-type", spec: [2]string{"main: {count: 3, machineType: c", "main: {count: 3, machineType: m"}, on: onClouds},
	{name: "coreos", spec: [2]string{"44.20260802.3.1", "44.20260901.3.0"}, on: onClouds},
	{name: "admins", spec: [2]string{"adminCidrs: [192.0.2.0/24]", "adminCidrs: [192.0.2.0/24, 198.51.100.7/32]"}, on: onClouds},
	{name: "more-workers", spec: [2]string{"max: 6", "max: 9"}, on: onAWS},
}

func newEtcd(set *images.Set) { set.Services[0].Ref = "localhost/devctl/etcd:ba9876543210" }

const nodesOfSpec = `  devctl:network: {cidr: 10.10.0.0/20}
  devctl:nodes:
    main: {count: 3}
    worker: {min: 2, max: 6}
    data: {count: 4}
  devctl:redis: {shards: 3, replicas: 1, maxmemory: 64MiB}
  devctl:sshKeys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBvTZPEJrTz2nUr9ZrCc8uE3o0rLq3DBk7gXqIhWb8Xn example1 ada@example.com"]
`

// exampleSpecs are the stacks that are changed, by provider.
var exampleSpecs = map[string]string{
	stacks.ProviderLocal: "config:\n  devctl:provider: local\n" + nodesOfSpec,
	stacks.ProviderAWS: strings.NewReplacer(
		"10.10.0.0/20}", "10.10.0.0/20, zones: [eu-central-1a, eu-central-1b, eu-central-1c]}",
		"main: {count: 3", "main: {count: 3, machineType: c5.large",
		"data: {count: 4", "data: {count: 4, machineType: t3.medium",
		"max: 6", "max: 6, machineType: t3.small",
	).Replace("config:\n  devctl:provider: aws\n"+nodesOfSpec) + `  devctl:domain: aws.example.com
  devctl:aws: {region: eu-central-1, coreos: {release: 44.20260802.3.1}, volumes: {root: 16GiB, data: 32GiB}}
  devctl:endpoint: {clientCidrs: [203.0.113.0/24]}
  devctl:adminCidrs: [192.0.2.0/24]
`,
	stacks.ProviderDigitalOcean: strings.NewReplacer(
		"main: {count: 3", "main: {count: 3, machineType: c-2vcpu-4gb",
		"data: {count: 4", "data: {count: 4, machineType: s-2vcpu-4gb",
		"max: 6", "max: 6, machineType: s-1vcpu-2gb",
	).Replace("config:\n  devctl:provider: digitalocean\n"+nodesOfSpec) + `  devctl:domain: do.example.com
  devctl:digitalocean: {region: fra1, coreos: {url: "https://example.com/fedora-coreos-44.20260802.3.1-digitalocean.x86_64.qcow2.gz"}}
  devctl:endpoint: {clientCidrs: [203.0.113.0/24]}
  devctl:adminCidrs: [192.0.2.0/24]
`,
}

func TestPreviewsOfTypicalChanges(t *testing.T) {
	t.Parallel()
	for provider, spec := range exampleSpecs {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			home := upOnPaper(t, provider, spec)
			for _, c := range changes {
				if c.on != nil && !slices.Contains(c.on, provider) {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					previewGolden(t, provider, spec, home, c)
				})
			}
		})
	}
}

// paperWorld is devctl with a project of one stack, and a data folder.
func paperWorld(t *testing.T, provider, spec, home string) *world {
	t.Helper()
	w := newWorld(t)
	w.write("stacks/Pulumi."+provider+".yaml", spec)
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	w.deps.images = func() (*images.Set, error) { return paperImages(), nil }
	w.environ["DEVCTL_BIN_DIR"], w.environ["DEVCTL_HOME"] = bin, home
	w.deps.global.dir, w.deps.global.stack = w.dir, provider
	return w
}

// spec is the spec of one of the world's stacks.
func (w *world) spec(stack string) *stacks.Spec {
	w.t.Helper()
	project, err := stacks.FindProject(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	spec, err := project.Load(stack)
	if err != nil {
		w.t.Fatal(err)
	}
	return spec
}

// paperImages are what nodes run, with names that no change of an image changes.
func paperImages() *images.Set {
	set := testImages()
	set.Node = images.Image{Name: "node", Ref: "localhost/devctl/node:0123456789ab"}
	set.Store = "devctl-store-0123456789ab"
	set.Daemon = images.File{Name: "devctld", Data: []byte("a daemon")}
	return set
}

// upOnPaper brings the stack up where nothing is made, and returns the data folder with its state.
func upOnPaper(t *testing.T, provider, text string) (home string) {
	t.Helper()
	home = t.TempDir()
	w := paperWorld(t, provider, text, home)
	s, err := w.deps.openOffline(t.Context(), w.spec(provider), w.spec(provider), "itself", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	copyTree(t, s.home, home)
	return home
}

// previewGolden previews one change in all formats.
func previewGolden(t *testing.T, provider, text, base string, c change) {
	t.Helper()
	if c.spec[0] != "" {
		if !strings.Contains(text, c.spec[0]) {
			t.Fatalf("the spec has no %q", c.spec[0])
		}
		text = strings.Replace(text, c.spec[0], c.spec[1], 1)
	}
	home := t.TempDir()
	if !c.first {
		copyTree(t, base, home)
	}
	w := paperWorld(t, provider, text, home)
	set := paperImages()
	if c.images != nil {
		c.images(set)
	}
	w.deps.images = func() (*images.Set, error) { return set, nil }
	if c.secret != "" {
		s, err := w.deps.engine(t.Context(), engine.Options{Stack: provider})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SetSecret(t.Context(), stacks.SecretNamespace+":redis-app", c.secret, testTime); err != nil {
			t.Fatal(err)
		}
	}
	s, err := w.deps.openOffline(t.Context(), w.spec(provider), nil, "", c.replaces)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	found, err := planOf(t.Context(), w.deps, s, s.input, s.unknowns, func(context.Context) redeployment { return s.deployment })
	if err != nil {
		t.Fatal(err)
	}
	plan := found.plan
	compareFormats(t, filepath.Join("previews", provider, c.name), plan)
	if plan.Empty() != (c.name == "nothing") {
		t.Errorf("empty is %v", plan.Empty())
	}
	data := fmt.Sprint(plan)
	values, err := s.SecretValues(t.Context())
	if err != nil || !c.first && len(values) == 0 {
		t.Fatalf("the stack has %d secrets, %v", len(values), err)
	}
	for _, value := range append(values, c.secret) {
		// Of a secret configuration every line but those of PEM's armour.
		for _, line := range strings.Fields(value) {
			if len(line) > 20 && !strings.HasPrefix(line, "{") && strings.Contains(data, line) {
				t.Errorf("the plan has a secret in it: %q", line)
			}
		}
	}
}

// compareFormats compares a plan in text, Markdown and JSON with golden files.
func compareFormats(t *testing.T, name string, plan planview.Plan) {
	t.Helper()
	golden(t, name+".txt", strings.Join(plan.Lines(output.Style{}), "\n")+"\n")
	golden(t, name+".md", plan.Markdown("devctl preview -s "+plan.Stack))
	var b bytes.Buffer
	if err := output.Write(&b, output.JSON, plan, func(io.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	golden(t, name+".json", b.String())
}

// copyTree copies all files below a folder.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPreviewAgainst compares two versions of a spec through the command line, on a machine on which there is nothing else.
func TestPreviewAgainst(t *testing.T) {
	t.Parallel()
	text, home := exampleSpecs[stacks.ProviderAWS], t.TempDir()
	base := paperWorld(t, "prod", text, home)
	w := paperWorld(t, "prod", strings.Replace(text, "data: {count: 4", "data: {count: 5", 1), home)
	for _, name := range []string{"HOME", "DOCKER_HOST", "AWS_ACCESS_KEY_ID"} {
		w.environ[name] = "/nonexistent"
	}
	r := w.run("-s", "prod", "preview", "--against", base.dir, "--detailed-exitcode").want(t, 2)
	for _, line := range []string{"  + data-5 is created\n", "Compared with the spec in " + base.dir + ".\n", "Stack prod: 3 to create, "} {
		if !strings.Contains(r.out, line) {
			t.Errorf("the preview does not say %q:\n%s", line, r.out)
		}
	}
	base.run("-s", "prod", "preview", "--against", base.dir, "--detailed-exitcode").want(t, 0)
	w.run("-s", "prod", "preview", "--against", base.dir, "--allow-replace", "data-12").want(t, 2, `--allow-replace does not take "data-12": stack "prod" has no such node`)
	w.run("-s", "prod", "preview", "--offline", "--save-plan", filepath.Join(w.dir, "nowhere", "plan.json")).want(t, 1, "write plan ", "next: give --save-plan a file in a folder that you may write to")
	moved := paperWorld(t, "prod", strings.Replace(text, "clientCidrs:", "port: 7011, clientCidrs:", 1), home)
	r = moved.run("-s", "prod", "preview", "--against", base.dir).want(t, 0)
	said := strings.Join(strings.Fields(r.out), " ")
	for _, words := range []string{
		"people notice an outage: clients need the endpoint's new port 7011: connections through port 7010 end, and nothing answers there any more ~ on 2 of the workers",
		"- bind :7010 + bind :7011",
	} {
		if !strings.Contains(said, words) {
			t.Errorf("the preview of another port does not say %q:\n%s", words, r.out)
		}
	}

	empty := newWorld(t)
	r = w.run("-s", "prod", "preview", "--against", empty.dir).want(t, 0)
	said = strings.Join(strings.Fields(r.out), " ")
	if want := "- What exists: there is no stack prod in " + empty.dir + ", so everything looks new."; !strings.Contains(said, want) {
		t.Errorf("the preview does not say %q:\n%s", want, r.out)
	}
	if left, err := os.ReadDir(home); err != nil || len(left) > 0 {
		t.Errorf("it left %v in the data folder, %v", left, err)
	}
}

// TestPreviewThatFails keeps the log that its error names.
func TestPreviewThatFails(t *testing.T) {
	t.Parallel()
	w := paperWorld(t, "prod", exampleSpecs[stacks.ProviderDigitalOcean], t.TempDir())
	w.deps.images = func() (*images.Set, error) {
		set := paperImages()
		set.Services[0].Ref = "" // the program refuses to run without etcd
		return set, nil
	}
	r := w.run("-s", "prod", "preview", "--offline").want(t, 1, "preview failed:", "the log is in")
	_, dir, _ := strings.Cut(r.err, "the log is in ")
	dir, _, _ = strings.Cut(strings.TrimSpace(dir), "\n")
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("there is no log in %q: %v", dir, err)
	}
	if i := strings.Index(dir, "/runs/"); i > 0 {
		if err := os.RemoveAll(dir[:i]); err != nil {
			t.Error(err)
		}
	}
}
