package stacks

import (
	"errors"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

var updateExample = flag.Bool("update-example", false, "rewrite secrets.example")

const secretsExample = "../secrets.example"

// TestSecretsExample: the file is what the list of secrets in the code says, so that no key can be missing in it.
func TestSecretsExample(t *testing.T) {
	t.Parallel()
	if *updateExample {
		if err := os.WriteFile(secretsExample, SecretsExample(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(secretsExample)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(SecretsExample()), string(have)); diff != "" {
		t.Errorf("secrets.example is stale: run `go test ./stacks -run TestSecretsExample -update-example` (-want +have):\n%s", diff)
	}
}

// TestSecretsAreComplete: what a deployment and the outputs need is in the list, with all that describes it.
func TestSecretsAreComplete(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../internal/api/types.go")
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	for _, match := range regexp.MustCompile(`(?m)^\s+Secret\w+\s+= "([^"]+)"`).FindAllStringSubmatch(string(source), -1) {
		declared = append(declared, match[1])
	}
	seen := map[string]bool{}
	for _, s := range Secrets() {
		if s.Doc == "" || s.want == "" || s.pattern == nil || !strings.Contains(s.Config, ":") || seen[s.Key] || seen[s.Config] {
			t.Errorf("secret %q is not described completely, or twice", s.Key)
		}
		seen[s.Key], seen[s.Config] = true, true
		if s.Generated == (len(s.Providers) > 0) {
			t.Errorf("%s: a generated secret is on every provider, a credential is on some", s.Key)
		}
	}
	for _, name := range declared {
		if !seen[name] {
			t.Errorf("a deployment has the secret %q, which the list of secrets lacks", name)
		}
	}
	for _, name := range secretNames() {
		if !slices.Contains(declared, name) {
			t.Errorf("the list has the password %q, which no deployment has", name)
		}
	}
	if len(declared) < 5 || !slices.Contains(declared, api.SecretRedisApp) {
		t.Errorf("found only %q in package api", declared)
	}
}

func specOn(t *testing.T, provider string) *Spec {
	t.Helper()
	s := defaults()
	s.Stack, s.Provider = "test", provider
	return &s
}

func TestParseSecrets(t *testing.T) {
	t.Parallel()
	const token = "dop_v1_0123456789abcdef"
	text := "\ufeff# mine\n\n redis-app = s3cret-s3cret-s3cret \r\nDIGITALOCEAN_TOKEN=" + token + "==\n"
	values, err := specOn(t, ProviderDigitalOcean).ParseSecrets("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, v := range values {
		got[v.Secret.Key] = v.Value
	}
	if diff := cmp.Diff(map[string]string{"redis-app": "s3cret-s3cret-s3cret", "DIGITALOCEAN_TOKEN": token + "=="}, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseSecretsProblems(t *testing.T) {
	t.Parallel()
	const value = "s3cret-s3cret-s3cret"
	for name, tc := range map[string]struct{ text, want string }{
		"empty file":       {"# nothing\n", "f: has no line KEY=VALUE; secrets.example shows every key"},
		"no key":           {value, "f:1: is no line KEY=VALUE"},
		"unknown":          {"redis-ap=" + value, `f:1: "redis-ap" is no secret: did you mean redis-app?`},
		"other provider":   {"DIGITALOCEAN_TOKEN=" + value, `f:1: DIGITALOCEAN_TOKEN is for stacks on digitalocean; "test" is on local`},
		"placeholder":      {"\nredis-app=" + Placeholder, "f:2: redis-app: is still the placeholder of secrets.example: give a value, or leave the line out and devctl generates one"},
		"part placeholder": {"redis-app=replace-me-with-16-letters", "f:1: redis-app: is still the placeholder"},
		"empty":            {"redis-app=", "f:1: redis-app: is empty"},
		"short":            {"redis-app=s3cret", "f:1: redis-app: must be 16 to 128 letters"},
		"quoted":           {`redis-app="` + value + `"`, "f:1: redis-app: must be 16 to 128 letters"},
		"twice":            {"redis-app=" + value + "\nredis-app=" + value, "f:2: redis-app: is given twice, first in line 1"},
		"all at once":      {"x\nredis-app=\n", "2 problems in the secrets, nothing was imported:\n  f:1: is no line KEY=VALUE\n  f:2: redis-app: is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values, err := specOn(t, ProviderLocal).ParseSecrets("f", []byte(tc.text))
			var wrong *SecretsError
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), tc.want) || values != nil {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error shows the value: %v", err)
			}
		})
	}
	// The example itself, as somebody who skipped the editing would import it.
	_, err := specOn(t, ProviderDigitalOcean).ParseSecrets("secrets.example", SecretsExample())
	var wrong *SecretsError
	if !errors.As(err, &wrong) || len(wrong.Problems) != len(Secrets()) {
		t.Errorf("the example: %v", err)
	}
}

func FuzzParseSecrets(f *testing.F) {
	f.Add(SecretsExample())
	f.Add([]byte("redis-app=s3cret-s3cret-s3cret\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		values, err := specOn(t, ProviderDigitalOcean).ParseSecrets("f", data)
		if (err == nil) != (len(values) > 0) {
			t.Errorf("%d values, %v", len(values), err)
		}
		for _, v := range values {
			if message := v.Secret.Check(v.Value); message != "" {
				t.Errorf("%s %s", v.Secret.Key, message)
			}
		}
	})
}
