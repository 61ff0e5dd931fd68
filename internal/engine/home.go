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
//	state/                      the backend, unless a stack has another one: checkpoints, history, locks
//	stacks/<project>/<stack>/   Pulumi.yaml, which says where the state is; Pulumi.<stack>.yaml with imported secrets and
//	                            what they are encrypted with; secrets.json, which says when they were set
//	passphrase                  what the secrets of all stacks without a key of their own are encrypted with
//	pulumi/                     Pulumi's own folder
//	runs/<stack>/               the log of every run
//	locks/<project>/<stack>     is locked while a command works on the stack, and says which: see Hold
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

func (h home) state() string                 { return filepath.Join(string(h), "state") }
func (h home) pulumi() string                { return filepath.Join(string(h), "pulumi") }
func (h home) passphrase() string            { return filepath.Join(string(h), "passphrase") }
func (h home) project(project string) string { return filepath.Join(string(h), "stacks", project) }
func (h home) stack(project, stack string) string {
	return filepath.Join(h.project(project), stack)
}
func (h home) runs(stack string) string { return filepath.Join(string(h), "runs", stack) }
func (h home) lock(project, stack string) string {
	return filepath.Join(string(h), "locks", project, stack)
}

const fileScheme = "file://"

// stateDir is the folder of a backend of files; "" is ours.
func (h home) stateDir(backend string) (dir string, isFiles bool) {
	if backend == "" {
		return h.state(), true
	}
	path, isFiles := strings.CutPrefix(backend, fileScheme)
	return filepath.Clean(path), isFiles
}

// environment is everything that pulumi gets to know from its environment. What a person has set for other uses of
// Pulumi, a token, another backend or a passphrase in the open, must not reach it.
func (h home) environment(o Options) []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "PULUMI_") })
	backend := o.Backend
	if dir, isFiles := h.stateDir(backend); isFiles {
		// Without attribute files beside the state: they are not written atomically, and one that a kill left empty makes the
		// state unreadable.
		files := url.URL{Scheme: "file", Path: dir, RawQuery: "metadata=skip"}
		backend = files.String()
	}
	env = append(env,
		"PULUMI_BACKEND_URL="+backend,
		"PULUMI_CONFIG_PASSPHRASE_FILE="+h.passphrase(),
		// A machine that sees a stack for the first time takes what its secrets are encrypted with from the state.
		"PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER=true",
		"PULUMI_SKIP_UPDATE_CHECK=true",
		"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION="+strconv.FormatBool(!o.Download),
		"PULUMI_IGNORE_AMBIENT_PLUGINS=true",
		"PULUMI_SUPPRESS_NEO_LINK=true",
		"OTEL_SDK_DISABLED=true",
	)
	if len(o.Providers) > 0 {
		var attached []string
		for name, port := range o.Providers {
			attached = append(attached, name+":"+strconv.Itoa(port))
		}
		slices.Sort(attached)
		env = append(env, "PULUMI_DEBUG_PROVIDERS="+strings.Join(attached, ","))
	}
	return env
}

// projectFile is a stack's Pulumi.yaml.
type projectFile struct {
	Name        string     `yaml:"name"`
	Description string     `yaml:"description,omitempty"`
	Runtime     string     `yaml:"runtime"`
	Backend     backendURL `yaml:"backend,omitempty"`
}

// backendURL is where the state is: "" is our own folder.
type backendURL struct {
	URL string `yaml:"url,omitempty"`
}

// Backend tells where the state of a stack was when this machine worked on it last: Options.Backend of then. known is false
// when it never did.
func Backend(dir, project, stack string) (backend string, known bool, err error) {
	h, err := newHome(dir)
	if err != nil {
		return "", false, err
	}
	data, err := os.ReadFile(filepath.Join(h.stack(project, stack), "Pulumi.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	var file projectFile
	if err == nil {
		err = yaml.Unmarshal(data, &file)
	}
	if err != nil {
		return "", false, fmt.Errorf("look where the state of stack %q is: %w", stack, err)
	}
	return file.Backend.URL, true, nil
}

// prepare makes the folders, the passphrase and the project file of a stack, as far as they are missing.
func (h home) prepare(dir string, o Options) error {
	folders := []string{string(h), h.pulumi(), dir}
	if state, isFiles := h.stateDir(o.Backend); isFiles {
		folders = append(folders, state)
	}
	for _, dir := range folders {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("prepare stack: %w", err)
		}
	}
	if o.secretsProvider() == passphraseProvider {
		if err := h.createPassphrase(o.Backend, o.PassphraseCreated); err != nil {
			return fmt.Errorf("create passphrase: %w", err)
		}
	}
	project, err := yaml.Marshal(projectFile{Name: o.Project, Description: o.Description, Runtime: "go", Backend: backendURL{o.Backend}})
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
func (h home) createPassphrase(backend string, created func(path string)) error {
	path := h.passphrase()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	folders := []string{h.state()}
	if dir, isFiles := h.stateDir(backend); isFiles && dir != h.state() {
		folders = append(folders, dir)
	}
	for _, dir := range folders {
		states, err := filepath.Glob(filepath.Join(globQuoted(dir), ".pulumi", "stacks", "*", "*.json"))
		if err != nil {
			return err
		}
		if len(states) > 0 {
			return fmt.Errorf("%s is missing, and the secrets in %s cannot be read without it; restore it from a backup", path, dir)
		}
	}
	// Of two that start at once, both use the same.
	err := atomicfile.Create(path, string(h), []byte(rand.Text()+"\n"), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
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
