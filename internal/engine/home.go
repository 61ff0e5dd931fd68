package engine

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"devctl/internal/atomicfile"
)

// home is devctl's data folder.
//
//	state/            the backend: checkpoints, history, locks
//	stacks/<stack>/   Pulumi.yaml, and Pulumi.<stack>.yaml with the salt of the stack's encryption
//	passphrase        what the secrets of all stacks are encrypted with
//	pulumi/           Pulumi's own folder
//	runs/<stack>/     the log of every run
type home string

func newHome(dir string) (home, error) {
	if dir == "" {
		return "", errors.New("open stack: no data folder given")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("open stack: %w", err)
	}
	return home(abs), nil
}

func (h home) state() string             { return filepath.Join(string(h), "state") }
func (h home) pulumi() string            { return filepath.Join(string(h), "pulumi") }
func (h home) passphrase() string        { return filepath.Join(string(h), "passphrase") }
func (h home) stack(stack string) string { return filepath.Join(string(h), "stacks", stack) }
func (h home) runs(stack string) string  { return filepath.Join(string(h), "runs", stack) }

// environment is everything that pulumi gets to know from its environment. What a person has set for other uses of
// Pulumi, a token, another backend or a passphrase in the open, must not reach it.
func (h home) environment(providers map[string]int) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "PULUMI_") })
	// Without attribute files beside the state: they are not written atomically, and one that a kill left empty makes the
	// state unreadable.
	backend := url.URL{Scheme: "file", Path: h.state(), RawQuery: "metadata=skip"}
	env = append(env,
		"PULUMI_BACKEND_URL="+backend.String(),
		"PULUMI_CONFIG_PASSPHRASE_FILE="+h.passphrase(),
		"PULUMI_SKIP_UPDATE_CHECK=true",
		"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION=true",
		"PULUMI_IGNORE_AMBIENT_PLUGINS=true",
		"PULUMI_SUPPRESS_NEO_LINK=true",
		"OTEL_SDK_DISABLED=true",
	)
	if len(providers) > 0 {
		var attached []string
		for name, port := range providers {
			attached = append(attached, name+":"+strconv.Itoa(port))
		}
		slices.Sort(attached)
		env = append(env, "PULUMI_DEBUG_PROVIDERS="+strings.Join(attached, ","))
	}
	return env
}

// prepare makes the folders, the passphrase and the project file of a stack, as far as they are missing.
func (h home) prepare(dir string, o Options) error {
	for _, dir := range []string{string(h), h.state(), h.pulumi(), dir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("prepare stack: %w", err)
		}
	}
	if err := h.createPassphrase(o.PassphraseCreated); err != nil {
		return fmt.Errorf("create passphrase: %w", err)
	}
	project, err := yaml.Marshal(struct {
		Name        string `yaml:"name"`
		Description string `yaml:"description,omitempty"`
		Runtime     string `yaml:"runtime"`
	}{o.Project, o.Description, "go"})
	if err != nil {
		return fmt.Errorf("prepare stack: %w", err)
	}
	path := filepath.Join(dir, "Pulumi.yaml")
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, project) {
		return nil
	}
	return atomicfile.Write(path, project, 0o600)
}

// createPassphrase generates the passphrase when there is none. Where a state exists already a new one would not
// open it, so a missing file is then an error.
func (h home) createPassphrase(created func(path string)) error {
	path := h.passphrase()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	states, err := filepath.Glob(filepath.Join(globQuoted(h.state()), ".pulumi", "stacks", "*", "*.json"))
	if err != nil {
		return err
	}
	if len(states) > 0 {
		return fmt.Errorf("%s is missing, and the secrets in %s cannot be read without it; restore it from a backup", path, h.state())
	}
	// Written aside and linked: of two that start at once, one wins and both use the same complete file.
	f, err := os.CreateTemp(string(h), ".passphrase.*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(rand.Text() + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	if created != nil {
		created(path)
	}
	return nil
}

// globQuoted takes the special meaning from the characters of a path.
func globQuoted(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
