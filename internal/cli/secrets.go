package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"devctl/internal/cli/output"
	"devctl/internal/engine"
	"devctl/stacks"
)

// Where the value of a secret comes from.
const (
	fromGenerated   = "generated"   // devctl draws it, or has drawn it
	fromImported    = "imported"    // with import or set, here or by a colleague
	fromEnvironment = "environment" // the provider reads it from an environment variable
	fromNowhere     = "missing"
)

// passwordType is the resource that keeps a password.
const passwordType = "devctl:pki:Password"

// secretView is one secret in `devctl secrets ls`. Its value is never shown.
type secretView struct {
	Key  string     `json:"key"`
	From string     `json:"from"` // generated | imported | environment | missing
	Set  *time.Time `json:"set"`  // null when it is not set yet, or that is not known
	Doc  string     `json:"doc"`
}

func newSecretsCommand(d *deps) *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "secrets",
		Short: "Import passwords and credentials, and see which there are",
		Long: `A stack has passwords, which devctl generates unless you import them, and on some providers credentials, which only you
have. devctl keeps what you import encrypted, with what the spec says in devctl:state.secrets, and never shows it.`,
		Example: `  devctl secrets example > ~/local.secrets
  devctl secrets import ~/local.secrets
  devctl secrets ls`,
	}, newSecretsListCommand(d), newSecretsImportCommand(d), newSecretsSetCommand(d), newSecretsRemoveCommand(d), newSecretsExampleCommand(d))
}

func newSecretsListCommand(d *deps) *cobra.Command {
	var format output.Format
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the secrets of a stack, never their values",
		Long: `Lists every secret that the stack has: where its value comes from (generated, imported, environment), and when it was
set. One that is missing has to be there before "devctl up".`,
		Example: `  devctl secrets ls
  devctl secrets ls -s prod -o json | jq -r '.[] | select(.from == "missing") | .key'`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runSecretsList(cmd.Context(), d, format) },
	}
	addFormat(cmd, &format)
	return cmd
}

func runSecretsList(ctx context.Context, d *deps, format output.Format) error {
	_, spec, err := d.project()
	if err != nil {
		return err
	}
	state, err := d.state(ctx, spec.Stack, false)
	if err != nil {
		return err
	}
	return writeSecrets(ctx, d, spec, state, format)
}

// writeSecrets shows where every secret of the stack comes from.
func writeSecrets(ctx context.Context, d *deps, spec *stacks.Spec, state stateStore, format output.Format) error {
	views, err := secretViews(ctx, d, spec, state)
	if err != nil {
		return err
	}
	return output.Write(d.streams.Out, format, views, func(w io.Writer) error {
		s := d.outStyle()
		g := output.NewGrid("KEY", "FROM", "SET", "FOR")
		for _, v := range views {
			set := ""
			if v.Set != nil {
				set = v.Set.Local().Format(time.DateTime)
			}
			from := v.From
			if from == fromNowhere {
				from = s.Bad(from)
			}
			g.Row(v.Key, from, set, s.Faint(v.Doc))
		}
		return g.Write(w)
	})
}

func secretViews(ctx context.Context, d *deps, spec *stacks.Spec, state stateStore) ([]secretView, error) {
	set, err := state.Secrets()
	if err != nil {
		return nil, err
	}
	resources, err := state.Resources(ctx)
	if err != nil && !errors.Is(err, engine.ErrNoStack) {
		return nil, err
	}
	passwords := map[string]engine.Resource{}
	for _, r := range resources {
		if r.Type == passwordType {
			passwords[r.Name] = r
		}
	}
	views := []secretView{}
	for _, secret := range spec.Secrets() {
		v := secretView{Key: secret.Key, Doc: secret.Doc, From: fromNowhere}
		when := time.Time{}
		imported, isImported := set[secret.Config]
		password, isMade := passwords[secret.Key]
		_, wasGiven := password.Inputs["value"]
		switch {
		case isImported:
			v.From, when = fromImported, imported
		case isMade && wasGiven:
			v.From, when = fromImported, password.Modified
		case secret.Generated:
			v.From, when = fromGenerated, password.Created
		case d.inEnvironment(secret):
			v.From = fromEnvironment
		}
		if !when.IsZero() {
			when = when.UTC()
			v.Set = &when
		}
		views = append(views, v)
	}
	return views, nil
}

func (d *deps) inEnvironment(secret stacks.Secret) bool {
	for _, name := range secret.Env {
		if d.getenv(name) != "" {
			return true
		}
	}
	return false
}

// missingSecrets names every secret that has to be there before the stack can be changed, and is not.
func missingSecrets(ctx context.Context, d *deps, spec *stacks.Spec) error {
	all := slices.DeleteFunc(spec.Secrets(), func(secret stacks.Secret) bool { return secret.Generated || d.inEnvironment(secret) })
	if len(all) == 0 {
		return nil // without a look at the state
	}
	state, err := d.state(ctx, spec.Stack, false)
	if err != nil {
		return err
	}
	views, err := secretViews(ctx, d, spec, state)
	if err != nil {
		return err
	}
	var lines []string
	for _, v := range views {
		if v.From == fromNowhere {
			lines = append(lines, fmt.Sprintf("\n%s: %s", v.Key, v.Doc))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return fmt.Errorf("%s missing; set each with `%s`, or all with `%s`:%s", count(len(lines), "secret is", "secrets are"),
		d.command("secrets set KEY"), d.command("secrets import FILE"), strings.Join(lines, ""))
}

func newSecretsImportCommand(d *deps) *cobra.Command {
	var format output.Format
	cmd := &cobra.Command{
		Use:   "import [FILE|-]",
		Short: "Import secrets from a copy of secrets.example",
		Long: `Imports every line KEY=VALUE of a file, or of stdin. All problems are named at once, with their lines and without
values, and then nothing is imported: an unknown key, a placeholder that was not replaced, a value that cannot work.
Imported passwords come in place of generated ones at the next "devctl up".`,
		Example: `  devctl secrets import ~/prod.secrets -s prod
  pass show devctl/prod | devctl secrets import -s prod -`,
		Args: atMostOne("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runSecretsImport(cmd, d, append(args, "-")[0], format)
		},
	}
	addFormat(cmd, &format)
	return cmd
}

func runSecretsImport(cmd *cobra.Command, d *deps, file string, format output.Format) error {
	ctx := cmd.Context()
	_, spec, err := d.project()
	if err != nil {
		return err
	}
	if file == "-" && d.streams.InTerminal {
		return usagef(cmd, "FILE is missing, and stdin is a terminal: usage: %s", cmd.UseLine())
	}
	data, err := readInput(d, file)
	if err != nil {
		return &usageError{command: cmd.CommandPath(), err: fmt.Errorf("read secrets: %w", err)}
	}
	name := file
	if file == "-" {
		name = "stdin"
	} else if info, err := os.Stat(file); err == nil && info.Mode().Perm()&nobodyElse != 0 {
		d.say("%sothers can read %s (mode %04o): chmod 600 it, or remove it.", d.errStyle().Warn("warning: "), file, info.Mode().Perm())
	}
	values, err := spec.ParseSecrets(name, data)
	if err != nil {
		return withNext(&usageError{command: cmd.CommandPath(), err: err}, d.command("secrets example")+" shows every key")
	}
	return setSecrets(ctx, d, spec, values, format)
}

// setSecrets keeps the values for the stack, and shows what there is then.
func setSecrets(ctx context.Context, d *deps, spec *stacks.Spec, values []stacks.SecretValue, format output.Format) error {
	state, err := d.state(ctx, spec.Stack, false)
	if err != nil {
		return err
	}
	for i, value := range values {
		if err := state.SetSecret(ctx, value.Secret.Config, value.Value, d.now()); err != nil {
			return withNext(fmt.Errorf("%s set; then: %w", count(i, "secret was", "secrets were"), err), "run the command again")
		}
	}
	d.say("Set %s of stack %s; %s uses what is new.", count(len(values), "secret", "secrets"), spec.Stack, d.command("up"))
	return writeSecrets(ctx, d, spec, state, format)
}

func newSecretsSetCommand(d *deps) *cobra.Command {
	var format output.Format
	cmd := &cobra.Command{
		Use:   "set KEY",
		Short: "Set one secret, from stdin or a hidden prompt",
		Long: `Sets one secret of the stack. The value is read from stdin or, on a terminal, asked for without showing it: an argument
would be in the shell's history and in the list of processes.`,
		Example: `  devctl secrets set redis-app
  openssl rand -hex 32 | devctl secrets set redis-app
  devctl secrets set DIGITALOCEAN_TOKEN -s prod < token`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef(cmd, "a value cannot be an argument: others could read it; give it on stdin: usage: %s", cmd.UseLine())
			}
			return exactly("KEY")(cmd, args)
		},
		ValidArgsFunction: completeSecrets(d),
		RunE:              func(cmd *cobra.Command, args []string) error { return runSecretsSet(cmd, d, args[0], format) },
	}
	addFormat(cmd, &format)
	return cmd
}

func runSecretsSet(cmd *cobra.Command, d *deps, key string, format output.Format) error {
	_, spec, err := d.project()
	if err != nil {
		return err
	}
	secret, err := spec.FindSecret(key)
	if err != nil {
		return withNext(&usageError{command: cmd.CommandPath(), err: err}, d.command("secrets ls")+" lists the keys")
	}
	value, err := readSecret(cmd.Context(), d, key)
	if err != nil {
		return err
	}
	if message := secret.Check(value); message != "" {
		return &usageError{command: cmd.CommandPath(), err: fmt.Errorf("the value of %s %s; nothing was changed", key, message)}
	}
	return setSecrets(cmd.Context(), d, spec, []stacks.SecretValue{{Secret: secret, Value: value}}, format)
}

// readSecret reads a value from stdin; on a terminal, without showing it.
func readSecret(ctx context.Context, d *deps, key string) (string, error) {
	if d.streams.InTerminal {
		return askHidden(ctx, d, "Value of "+key+" (not shown): ")
	}
	data, err := io.ReadAll(d.streams.In)
	if err != nil {
		return "", fmt.Errorf("read the value of %s from stdin: %w", key, err)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

func newSecretsRemoveCommand(d *deps) *cobra.Command {
	var format output.Format
	cmd := &cobra.Command{
		Use:     "rm KEY",
		Aliases: []string{"remove"},
		Short:   "Forget an imported secret",
		Long: `Forgets a secret that was imported on this machine. A password that is in use stays in use: the stack's state keeps it
until another one is set.`,
		Example:           "  devctl secrets rm DIGITALOCEAN_TOKEN -s prod",
		Args:              exactly("KEY"),
		ValidArgsFunction: completeSecrets(d),
		RunE:              func(cmd *cobra.Command, args []string) error { return runSecretsRemove(cmd, d, args[0], format) },
	}
	addFormat(cmd, &format)
	return cmd
}

func runSecretsRemove(cmd *cobra.Command, d *deps, key string, format output.Format) error {
	ctx := cmd.Context()
	_, spec, err := d.project()
	if err != nil {
		return err
	}
	secret, err := spec.FindSecret(key)
	if err != nil {
		return withNext(&usageError{command: cmd.CommandPath(), err: err}, d.command("secrets ls")+" lists the keys")
	}
	state, err := d.state(ctx, spec.Stack, false)
	if err != nil {
		return err
	}
	set, err := state.Secrets()
	if err != nil {
		return err
	}
	if _, found := set[secret.Config]; found {
		if err := state.RemoveSecret(ctx, secret.Config); err != nil {
			return err
		}
		d.say("Forgot %s of stack %s.", key, spec.Stack)
	} else {
		d.say("%s was not imported for stack %s on this machine.", key, spec.Stack)
	}
	return writeSecrets(ctx, d, spec, state, format)
}

func newSecretsExampleCommand(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:   "example",
		Short: "Print secrets.example: every key, with a placeholder and a comment",
		Long: `Prints the file to fill in for "devctl secrets import": every secret that a stack can have on any provider. It is the
secrets.example of devctl's own repository.`,
		Example: "  devctl secrets example > ~/prod.secrets && chmod 600 ~/prod.secrets",
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			_, err := d.streams.Out.Write(stacks.SecretsExample())
			return err
		},
	}
}

// completeSecrets offers the secrets of the stack as the only argument.
func completeSecrets(d *deps) cobra.CompletionFunc {
	return completeSpec(d, func(spec *stacks.Spec, args []string) []string {
		var offers []string
		for _, secret := range spec.Secrets() {
			if len(args) == 0 {
				offers = append(offers, cobra.CompletionWithDesc(secret.Key, secret.Doc))
			}
		}
		return offers
	})
}
