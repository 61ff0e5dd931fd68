package engine_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"

	"devctl/internal/engine"
)

func TestImport(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open(t, declare(thingNamed("a")))
	run(t, s.Up)
	state, err := s.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.CheckState(state); n < 2 || err != nil {
		t.Errorf("check its own state: %d resources, %v", n, err)
	}

	// A newer state is replaced by the older one.
	run(t, b.open(t, declare(thingNamed("a"), thingNamed("b"))).Up)
	if err := s.Import(t.Context(), state, false); err != nil {
		t.Fatal(err)
	}
	plan, _ := run(t, b.open(t, declare(thingNamed("a"), thingNamed("b"))).Preview)
	want(t, "plan with the older state", plan.Changes, changes(engine.OpSame, 1, engine.OpCreate, 1))

	other := b.open(t, nil, func(o *engine.Options) { o.Stack = "beta" })
	err = other.Import(t.Context(), state, false)
	var foreign *engine.ForeignStateError
	if !errors.As(err, &foreign) || err.Error() != `import stack "beta": it is the state of stack "alpha" of project "test"` || other.Exists() {
		t.Errorf("import of another stack's state: %v, exists: %v", err, other.Exists())
	}
	if err := other.Import(t.Context(), state, true); err != nil {
		t.Fatal(err)
	}
	resources, err := other.Resources(t.Context())
	if err != nil || len(resources) != 1 || resources[0].Name != "a" || time.Since(resources[0].Created) > time.Hour {
		t.Errorf("resources after a forced import: %+v, %v", resources, err)
	}
	if err := s.Import(t.Context(), []byte(`{"stack": "alpha"}`), true); err == nil || !strings.Contains(err.Error(), "it is no state as `devctl stack export` writes it") {
		t.Errorf("import of something else: %v", err)
	}
}

// reading is a program that uses an imported password.
func reading(got *[]string) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		secret, err := config.New(ctx, "devctl-secrets").TrySecret("redis-app")
		if err != nil {
			*got = append(*got, "none")
			return nil
		}
		ctx.Export("password", secret)
		return nil
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var got []string
	s := b.open(t, reading(&got))
	if keys, err := s.Secrets(); err != nil || len(keys) != 0 {
		t.Errorf("secrets of no stack: %v, %v", keys, err)
	}
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	if err := s.SetSecret(t.Context(), "devctl-secrets:redis-app", password, now); err != nil {
		t.Fatal(err)
	}
	if err := s.SetSecret(t.Context(), "digitalocean:token", password+"-token", now); err != nil {
		t.Fatal(err)
	}
	keys, err := b.open(t, nil).Secrets()
	if err != nil {
		t.Fatal(err)
	}
	want(t, "secrets", keys, map[string]time.Time{"devctl-secrets:redis-app": now, "digitalocean:token": now})
	for key, value := range map[string]string{"digitalocean:token": password + "-token", "digitalocean:spacesAccessId": ""} {
		if got, err := s.Secret(t.Context(), key); err != nil || got != value {
			t.Errorf("secret %s: %q, %v", key, got, err)
		}
	}
	file := filepath.Join(b.options.Home, "stacks", "test", "alpha", "Pulumi.alpha.yaml")
	for _, name := range []string{file, filepath.Join(filepath.Dir(file), "secrets.json")} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}

	run(t, s.Up)
	want(t, "times that the program found none", len(got), 0)
	outputs, err := s.Outputs(t.Context())
	if err != nil || outputs["password"] != (engine.Output{Value: password, Secret: true}) {
		t.Errorf("outputs: %v, %v", outputs, err)
	}
	b.noSecrets(t)

	// They outlive a destroy, as the spec does.
	run(t, b.open(t, nil).Destroy)
	if err := s.Remove(t.Context()); err != nil || s.Exists() {
		t.Fatalf("remove: %v", err)
	}
	if keys, err := s.Secrets(); err != nil || len(keys) != 2 {
		t.Errorf("secrets after remove: %v, %v", keys, err)
	}
	run(t, s.Up)
	if outputs, err := s.Outputs(t.Context()); err != nil || outputs["password"].Value != password {
		t.Errorf("outputs of the stack made again: %v, %v", outputs, err)
	}

	if err := s.RemoveSecret(t.Context(), "devctl-secrets:redis-app"); err != nil {
		t.Fatal(err)
	}
	run(t, s.Up)
	want(t, "what the program found", got, []string{"none"})
	if keys, err := s.Secrets(); err != nil || len(keys) != 1 {
		t.Errorf("secrets after one is removed: %v, %v", keys, err)
	}
}

// TestSecretIsNoArgument: a secret reaches pulumi on stdin. The processes of this machine are looked through while it runs.
func TestSecretIsNoArgument(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open(t, nil)
	const marker = "s3cret-in-no-argument-of-anybody"
	result := make(chan error, 1)
	go func() { result <- s.SetSecret(t.Context(), "devctl-secrets:redis-app", marker, time.Now()) }()
	for looked := 0; ; looked++ {
		for _, pattern := range []string{"/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ"} {
			processes, err := filepath.Glob(pattern)
			if err != nil {
				t.Fatal(err)
			}
			for _, process := range processes {
				if data, err := os.ReadFile(process); err == nil && bytes.Contains(data, []byte(marker)) {
					t.Errorf("%s has the secret: %q", process, data)
				}
			}
		}
		select {
		case err := <-result:
			if err != nil || looked == 0 {
				t.Errorf("set: %v, looked %d times", err, looked)
			}
			return
		default:
		}
	}
}
