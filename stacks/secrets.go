package stacks

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"

	"devctl/internal/api"
)

// SecretNamespace is where in Pulumi's configuration the program finds passwords that were imported.
const SecretNamespace = "devctl-secrets"

// Placeholder is what every value begins with in a secrets file that nobody has filled in.
const Placeholder = "REPLACE-ME"

// Secret describes one secret of a stack. Its value is nowhere in this package.
type Secret struct {
	Key string // in secrets files and on the command line
	Doc string // what it is for; one sentence or two
	// Config is where Pulumi's configuration of the stack holds the value: the program reads it there, and so does the
	// provider whose namespace it is in.
	Config string
	// Providers need the secret; empty: all do.
	Providers []string
	// Env are environment variables that give it as well. The provider reads them itself.
	Env []string
	// Generated secrets need not be imported: devctl draws a password.
	Generated bool

	want    string // completes the sentence "must be …"
	pattern *regexp.Regexp
}

// What a value must be like. No password may need quoting in an access list of Redis, a configuration file of HAProxy, an
// environment file or a URL.
var (
	passwordPattern = regexp.MustCompile(`^[A-Za-z0-9._~-]{16,128}$`)
	tokenPattern    = regexp.MustCompile(`^[A-Za-z0-9._~+/=-]{16,512}$`)
)

const (
	wantPassword = "16 to 128 letters, digits, dots, hyphens, underscores and tildes"
	wantToken    = "16 to 512 letters, digits and . _ ~ + / = -, without quotes"
)

// Secrets describes every secret that a stack can have, on whichever provider.
func Secrets() []Secret {
	password := func(name, doc string) Secret {
		return Secret{Key: name, Doc: doc, Config: SecretNamespace + ":" + name, Generated: true, want: wantPassword, pattern: passwordPattern}
	}
	digitalocean := func(key, config, doc string, env ...string) Secret {
		return Secret{Key: key, Doc: doc, Config: config, Env: env, Providers: []string{ProviderDigitalOcean}, want: wantToken, pattern: tokenPattern}
	}
	return []Secret{
		password(api.SecretRedisAdmin, "Redis user admin: the controllers form and heal the cluster with it."),
		password(api.SecretRedisReplication, "Redis user replication: replicas read from their primary with it."),
		password(api.SecretRedisCheck, "Redis user check: the load balancers ask with it whether an instance is a primary."),
		password(api.SecretRedisApp, "Redis user app: what your own clients connect with."),
		password(api.SecretStats, "User stats of the load balancers' stats page."),
		digitalocean("DIGITALOCEAN_TOKEN", "digitalocean:token", "API token that makes and removes everything of the stack.", "DIGITALOCEAN_TOKEN"),
		digitalocean("SPACES_ACCESS_KEY_ID", "digitalocean:spacesAccessId", "Access key of Spaces, where the stack keeps what its machines fetch.", "SPACES_ACCESS_KEY_ID"),
		digitalocean("SPACES_SECRET_ACCESS_KEY", "digitalocean:spacesSecretKey", "Secret key that belongs to SPACES_ACCESS_KEY_ID.", "SPACES_SECRET_ACCESS_KEY"),
		digitalocean(api.SecretDigitalOcean, SecretNamespace+":"+api.SecretDigitalOcean,
			"API token that the load balancers move the reserved IP with: give it the scope reserved_ip:update and no other."),
	}
}

// imported is the password that somebody imported for the stack; nil when nobody did.
func imported(ctx *pulumi.Context, name string) pulumi.StringInput {
	value, err := config.New(ctx, SecretNamespace).TrySecret(name)
	if err != nil { // there is none
		return nil
	}
	return value
}

// InDeployment tells whether the value reaches nodes, with the deployment.
func (s Secret) InDeployment() bool { return strings.HasPrefix(s.Config, SecretNamespace+":") }

// secretNames are the passwords of every deployment.
func secretNames() []string {
	var names []string
	for _, s := range Secrets() {
		if s.Generated {
			names = append(names, s.Key)
		}
	}
	return names
}

// Secrets describes the secrets that this stack has.
func (s *Spec) Secrets() []Secret {
	return slices.DeleteFunc(Secrets(), func(secret Secret) bool { return !secret.on(s.Provider) })
}

func (s Secret) on(provider string) bool {
	return len(s.Providers) == 0 || slices.Contains(s.Providers, provider)
}

// Check says what is wrong with a value, without repeating it; empty: nothing is.
func (s Secret) Check(value string) string {
	switch {
	case value == "":
		return "is empty" + s.orWithout()
	case len(value) >= len(Placeholder) && strings.EqualFold(value[:len(Placeholder)], Placeholder):
		return "is still the placeholder of secrets.example" + s.orWithout()
	case !s.pattern.MatchString(value):
		return "must be " + s.want
	}
	return ""
}

// orWithout says how to do without a value.
func (s Secret) orWithout() string {
	if s.Generated {
		return ": give a value, or leave the line out and devctl generates one"
	}
	return ": give a value, or leave the line out"
}

// FindSecret returns the secret of the stack with the given key. The error says which keys there are.
func (s *Spec) FindSecret(key string) (Secret, error) {
	var keys []string
	for _, secret := range s.Secrets() {
		if secret.Key == key {
			return secret, nil
		}
		keys = append(keys, secret.Key)
	}
	for _, secret := range Secrets() {
		if secret.Key == key {
			return Secret{}, fmt.Errorf("%s is for stacks on %s; %q is on %s", key, strings.Join(secret.Providers, ", "), s.Stack, s.Provider)
		}
	}
	return Secret{}, fmt.Errorf("%q is no secret%s", shorten(key), hint(key, keys))
}

// SecretValue is a value of a secrets file.
type SecretValue struct {
	Secret Secret
	Value  string
}

// SecretsError holds every problem of a secrets file, in the order of its lines. No value is in it.
type SecretsError struct{ Problems []Problem }

func (e *SecretsError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = "\n  " + p.String()
	}
	what := fmt.Sprintf("%d problems in the secrets", len(lines))
	if len(lines) == 1 {
		what = "1 problem in the secrets"
	}
	return what + ", nothing was imported:" + strings.Join(lines, "")
}

// ParseSecrets reads a secrets file for this stack: a copy of secrets.example with lines KEY=VALUE, comments and empty
// lines. File is only the name that problems are reported under. The error is a *SecretsError with all problems there are.
func (s *Spec) ParseSecrets(file string, data []byte) ([]SecretValue, error) {
	var values []SecretValue
	var problems []Problem
	first := map[string]int{}
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		report := func(path, message string) {
			problems = append(problems, Problem{File: file, Line: number, Path: path, Message: message})
		}
		key, value, found := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !found {
			report("", "is no line KEY=VALUE") // it may be the value alone: not repeated
			continue
		}
		secret, err := s.FindSecret(key)
		if err != nil {
			report("", err.Error())
			continue
		}
		if before := first[key]; before > 0 {
			report(key, fmt.Sprintf("is given twice, first in line %d: keep one of them", before))
			continue
		}
		first[key] = number
		if message := secret.Check(value); message != "" {
			report(key, message)
			continue
		}
		values = append(values, SecretValue{Secret: secret, Value: value})
	}
	if len(values) == 0 && len(problems) == 0 {
		problems = append(problems, Problem{File: file, Message: "has no line KEY=VALUE; secrets.example shows every key"})
	}
	if len(problems) > 0 {
		return nil, &SecretsError{Problems: problems}
	}
	return values, nil
}

// SecretsExample is the file secrets.example: every key with a comment and a placeholder.
func SecretsExample() []byte {
	var b strings.Builder
	b.WriteString(`# Every secret that a stack can have. Copy this file to a place outside of the repository, fill in what you want to
# set, remove the other lines, and import it:
#
#   cp secrets.example ~/local.secrets && chmod 600 ~/local.secrets
#   devctl secrets import ~/local.secrets     # then the copy can go
#
# devctl keeps the values encrypted, shows them nowhere, and refuses a placeholder. "devctl secrets ls" says what is set.
`)
	section := ""
	for _, s := range Secrets() {
		heading := "Passwords, on every provider. Left out, devctl generates them."
		if !s.Generated {
			heading = "Credentials for stacks on " + strings.Join(s.Providers, ", ") + ". The names in capitals may be environment variables instead."
		}
		if heading != section {
			fmt.Fprintf(&b, "\n# --- %s\n", heading)
			section = heading
		}
		fmt.Fprintf(&b, "\n# %s\n# %s.\n%s=%s\n", s.Doc, strings.ToUpper(s.want[:1])+s.want[1:], s.Key, Placeholder)
	}
	b.WriteString("\n# --- AWS: nothing to import. devctl uses the AWS credentials that the AWS CLI would (profile, environment, SSO, role).\n")
	return []byte(b.String())
}
