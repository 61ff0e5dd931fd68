package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"devctl/internal/engine"
	"devctl/stacks"
)

const (
	secretValue = "s3cret-s3cret-s3cret"
	doSpec      = `config:
  devctl:provider: digitalocean
  devctl:domain: do.example.com
  devctl:digitalocean:
    region: fra1
    coreos: {imageId: "123456789"}
  devctl:network: {cidr: 10.20.0.0/20}
  devctl:nodes: {data: {count: 6}}
  devctl:adminCidrs: [192.0.2.0/24]
  devctl:sshKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1eYvX8bXhbmLpkXVb3tnWpaVkE2xZkq2bJm7wqWJ7y admin@example.com]
`
)

func (w *world) onDigitalOcean() *world {
	w.write("stacks/Pulumi.prod.yaml", doSpec)
	w.environ["DEVCTL_STACK"] = "prod"
	return w
}

func TestSecretsList(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onDigitalOcean()
	w.environ["TZ"] = "UTC"
	w.state.exists = true
	w.state.resources = []engine.Resource{
		{Type: passwordType, Name: "redis-admin", Created: testTime.Add(-time.Hour), Modified: testTime},
		{Type: passwordType, Name: "redis-check", Created: testTime.Add(-time.Hour), Modified: testTime, Inputs: map[string]any{"value": "[encrypted]"}},
		{Type: "devctl:local:Network", Name: "redis-app", Created: testTime},
	}
	w.state.secrets["digitalocean:token"] = testTime
	w.environ["SPACES_ACCESS_KEY_ID"] = secretValue
	golden(t, "secrets.json", w.run("secrets", "ls", "-o", "json").want(t, 0).out)
	out := w.run("secrets", "ls").want(t, 0).out
	for _, row := range []string{"redis-admin ", "generated", "imported", "environment", "SPACES_SECRET_ACCESS_KEY  missing"} {
		if !strings.Contains(out, row) {
			t.Errorf("no %q in:\n%s", row, out)
		}
	}
	if strings.Contains(out, secretValue) {
		t.Errorf("a value is shown:\n%s", out)
	}
}

func TestSecretsImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "mine.secrets")
	if err := os.WriteFile(file, []byte("redis-app="+secretValue+"\nhaproxy-stats="+secretValue+"2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := w.run("secrets", "import", file).want(t, 0, "warning: others can read "+file+" (mode 0644)", "Set 2 secrets of stack local; devctl up uses what is new.")
	if strings.Contains(r.out+r.err, secretValue) {
		t.Errorf("a value is shown:\n%s%s", r.out, r.err)
	}
	if got := w.state.values["devctl-secrets:redis-app"]; got != secretValue || len(w.state.values) != 2 || !w.state.secrets["devctl-secrets:haproxy-stats"].Equal(testTime) {
		t.Errorf("kept %v", w.state.values)
	}

	w = newWorld(t)
	w.deps.streams.In = strings.NewReader(string(stacks.SecretsExample()))
	w.run("secrets", "import").want(t, 2, "problems in the secrets, nothing was imported:", "stdin:", "redis-app: is still the placeholder of secrets.example",
		"DIGITALOCEAN_TOKEN is for stacks on digitalocean", "next: devctl secrets example shows every key")
	w.run("secrets", "import", filepath.Join(t.TempDir(), "none")).want(t, 2, "read secrets: open ")
	w.terminal().run("secrets", "import").want(t, 2, "FILE is missing, and stdin is a terminal")
	if len(w.state.values) > 0 {
		t.Errorf("something was kept: %v", w.state.values)
	}
}

func TestSecretsSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("secrets", "set", "redis-ap").want(t, 2, `"redis-ap" is no secret: did you mean redis-app?`, "next: devctl secrets ls lists the keys")
	w.run("secrets", "set", "redis-app", secretValue).want(t, 2, "a value cannot be an argument: others could read it")
	w.deps.streams.In = strings.NewReader("REPLACE-ME\n")
	w.run("secrets", "set", "redis-app").want(t, 2, "the value of redis-app is still the placeholder of secrets.example")
	w.deps.streams.In = strings.NewReader("short\n")
	if r := w.run("secrets", "set", "redis-app").want(t, 2, "the value of redis-app must be 16 to 128 letters"); strings.Contains(r.err, "short") {
		t.Errorf("the value is shown: %s", r.err)
	}
	if len(w.state.values) > 0 {
		t.Errorf("something was kept: %v", w.state.values)
	}
	w.deps.streams.In = strings.NewReader(secretValue + "\n")
	w.run("secrets", "set", "redis-app").want(t, 0, "Set 1 secret of stack local")
	if w.state.values["devctl-secrets:redis-app"] != secretValue {
		t.Errorf("kept %v", w.state.values)
	}

	w.terminal()
	restored := 0
	w.deps.streams.Hidden = func() (func() (string, error), func(), error) {
		return func() (string, error) { return secretValue + "-typed", nil }, func() { restored++ }, nil
	}
	if r := w.run("secrets", "set", "redis-app").want(t, 0, "Value of redis-app (not shown): "); strings.Contains(r.err+r.out, "-typed") {
		t.Errorf("the value is shown: %s", r.err)
	}
	if w.state.values["devctl-secrets:redis-app"] != secretValue+"-typed" || restored != 1 {
		t.Errorf("kept %v, restored %d times", w.state.values, restored)
	}
	w.run("secrets", "rm", "redis-app").want(t, 0, "Forgot redis-app of stack local.")
	w.run("secrets", "rm", "redis-app").want(t, 0, "redis-app was not imported for stack local on this machine.")
}

// Missing secrets are all named before anything starts.
func TestMissingSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t).onDigitalOcean()
	w.environ["SPACES_SECRET_ACCESS_KEY"] = secretValue
	w.deps.global.stack = "prod"
	spec, err := stacks.Parse("Pulumi.prod.yaml", []byte(doSpec), "prod")
	if err != nil {
		t.Fatal(err)
	}
	err = missingSecrets(t.Context(), w.deps, spec)
	want := "3 secrets are missing; set each with `devctl -s prod secrets set KEY`, or all with `devctl -s prod secrets import FILE`:\n" +
		"DIGITALOCEAN_TOKEN: API token that makes and removes everything of the stack.\n" +
		"SPACES_ACCESS_KEY_ID: Access key of Spaces, where the stack keeps what its machines fetch.\n" +
		"digitalocean-token: API token that the load balancers move the reserved IP with: give it the scope reserved_ip:update and no other."
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	w.state.secrets["digitalocean:token"] = testTime
	w.state.secrets["digitalocean:spacesAccessId"] = testTime
	// A colleague has imported it: it is in the state that all share.
	w.state.exists = true
	w.state.resources = []engine.Resource{{Type: passwordType, Name: "digitalocean-token", Inputs: map[string]any{"value": "[encrypted]"}}}
	if err := missingSecrets(t.Context(), w.deps, spec); err != nil {
		t.Error(err)
	}
	delete(w.state.secrets, "digitalocean:token")
	w.state.refuse = errors.New("no answer")
	if err := missingSecrets(t.Context(), w.deps, spec); err == nil || err.Error() != "no answer" {
		t.Errorf("without an answer: %v", err)
	}
}

func TestSecretsExample(t *testing.T) {
	t.Parallel()
	if out := newWorld(t).run("secrets", "example").want(t, 0).out; out != string(stacks.SecretsExample()) {
		t.Errorf("got %s", out)
	}
}
