// Package engine runs the stack's Pulumi program: it is the only place that knows Pulumi's Automation API, its CLI
// and its backends. It turns the engine's events into typed ones, its wall of text into short errors, and keeps a
// log of every run.
//
// A stack survives whatever happens to a run: locks of dead processes and operations that a killed run left pending
// are cleared before the next one, and cancelling lets the steps that are running finish.
package engine

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/pulumi/pulumi/sdk/v3"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Options say which stack to work on, and how.
type Options struct {
	Project     string // name of the Pulumi project
	Description string
	Stack       string
	Home        string // devctl's data folder: state, passphrase, logs of runs
	BinDir      string // where the pinned pulumi is

	// Backend is the URL of where states are: file:///folder, s3://bucket?region=…; "" is the state folder in Home. A stack
	// whose state is in another one is a *MovedError, unless Moved is set.
	Backend string
	Moved   bool
	// SecretsProvider is what the secrets of a new stack are encrypted with: a URL such as awskms://alias/devctl, or "" for
	// the passphrase in Home.
	SecretsProvider string

	// Program is what Preview and Up run; the other methods do without.
	Program pulumi.RunFunc
	// Providers are the in-process providers the program uses: package name → port on 127.0.0.1.
	Providers map[string]int
	// Download lets pulumi fetch the plugins of all other providers, once, into Home. Without it there are only those above.
	Download bool
	// Parallel bounds how many resources are worked on at a time; 0 is the engine's default.
	Parallel int
	// Only bounds Up to the resources whose URN has this pattern (** stands for anything); "" is all of them.
	Only string
	// Refresh makes Preview, Up and Destroy look first at what really exists.
	Refresh bool
	// Kill ends a run at once when it is closed. To end one gracefully, cancel its context.
	Kill <-chan struct{}
	// PassphraseCreated is told, once in the life of Home, where the generated passphrase is.
	PassphraseCreated func(path string)
}

// Stack is one stack of a project. Its methods may be used from several goroutines and processes; two runs that
// change the same stack exclude one another (LockedError).
type Stack struct {
	options Options
	home    home
	backend backend
	command *command
}

// secretsProvider is SecretsProvider with its default.
func (o Options) secretsProvider() string { return cmp.Or(o.SecretsProvider, passphraseProvider) }

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}$`)

// checkNames refuses names that are no names of files.
func (o Options) checkNames() error {
	for what, name := range map[string]string{"project": o.Project, "stack": o.Stack} {
		if !validName.MatchString(name) {
			return fmt.Errorf("open stack: %q is no name for a %s: use letters, digits, '-', '_' and '.'", name, what)
		}
	}
	return nil
}

// Version is the version of Pulumi, the CLI's and the SDK's.
func Version() string { return sdk.Version.String() }

// Open checks the options and that the pinned pulumi is there. On a backend of files it starts no process and writes
// nothing; another one is asked about the stack, so that an error of Open, and not of Exists, is that nobody answers.
func Open(ctx context.Context, o Options) (*Stack, error) {
	if err := o.checkNames(); err != nil {
		return nil, err
	}
	s, err := open(o)
	if err != nil {
		return nil, err
	}
	if err := s.checkMoved(); err != nil {
		return nil, err
	}
	if r, isRemote := s.backend.(*remote); isRemote {
		if err := s.ask(ctx, r); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// open is Open for what concerns no single stack.
func open(o Options) (*Stack, error) {
	h, err := newHome(o.Home)
	if err != nil {
		return nil, err
	}
	path, err := findPulumi(o.BinDir)
	if err != nil {
		return nil, err
	}
	s := &Stack{options: o, home: h}
	env := h.environment(o)
	s.command = &command{path: path, env: env, kill: o.Kill, exists: func(stack string) bool { return s.backend.exists(stack) }}
	if dir, isFiles := h.stateDir(o.Backend); isFiles {
		s.backend = files{dir: dir, project: o.Project}
	} else {
		s.backend = &remote{url: o.Backend, export: s.exportRaw}
	}
	return s, nil
}

// findPulumi finds the pinned CLI. Its version is read from the file, which costs no process.
func findPulumi(dir string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, "pulumi"))
	if err != nil {
		return "", fmt.Errorf("find pulumi: %w", err)
	}
	info, err := buildinfo.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("find pulumi: there is no %s; run `make build`", path)
	}
	if err != nil {
		return "", fmt.Errorf("find pulumi: %w; run `make build`", err)
	}
	version := info.Main.Version
	for _, dep := range info.Deps {
		if dep.Path == "github.com/pulumi/pulumi/pkg/v3" {
			version = dep.Version
		}
	}
	if want := "v" + Version(); version != want {
		return "", fmt.Errorf("find pulumi: %s is %s, this devctl needs %s; run `make build`", path, version, want)
	}
	return path, nil
}

// workspace makes the stack's folder ready. create makes the stack too when it does not exist.
func (s *Stack) workspace(ctx context.Context, create bool) (*auto.Stack, error) {
	if !create && !s.Exists() {
		return nil, fmt.Errorf("stack %q: %w", s.options.Stack, ErrNoStack)
	}
	w, err := s.localWorkspace(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.checkSecretsProvider(); err != nil {
		return nil, err
	}
	// Only pulumi can ask another secrets provider for a key.
	if own, isFiles := s.backend.(files); isFiles && !s.Exists() && s.options.secretsProvider() == passphraseProvider {
		if err := own.create(s.options.Stack, w.WorkDir()); err != nil {
			return nil, err
		}
	}
	enter := auto.NewStack
	if s.Exists() {
		enter = auto.SelectStack
	}
	stack, err := enter(ctx, s.options.Stack, w)
	if err != nil {
		return nil, fmt.Errorf("open stack %q: %w", s.options.Stack, plain(err))
	}
	s.backend.learn(true)
	return &stack, nil
}

// localWorkspace is the Automation API on our folders and our way to run the CLI.
func (s *Stack) localWorkspace(ctx context.Context) (auto.Workspace, error) {
	dir := s.home.stack(s.options.Project, s.options.Stack)
	if err := s.home.prepare(dir, s.options); err != nil {
		return nil, err
	}
	program := s.options.Program
	if program == nil {
		program = func(*pulumi.Context) error { return errors.New("this devctl command has no program to run") }
	}
	w, err := auto.NewLocalWorkspace(ctx, auto.WorkDir(dir), auto.PulumiHome(s.home.pulumi()), auto.Pulumi(s.command),
		auto.SecretsProvider(s.options.secretsProvider()), auto.Program(program))
	if err != nil {
		return nil, fmt.Errorf("open folder %s: %w", dir, err)
	}
	return w, nil
}

// Exists tells whether the stack has a state, even an empty one.
func (s *Stack) Exists() bool { return s.backend.exists(s.options.Stack) }

// Remove takes a stack that has no resources any more out of the state. What was set with SetSecret stays for the next
// time, and so do the logs of its runs.
func (s *Stack) Remove(ctx context.Context) error {
	w, err := s.existing(ctx)
	if err != nil {
		return err
	}
	if err := s.backend.unlock(s.options.Stack); err != nil {
		return err
	}
	if _, err := s.pulumi(ctx, w, nil, "stack", "rm", "--yes", "--preserve-config", "--stack", s.options.Stack); err != nil {
		return fmt.Errorf("remove stack %q: %w", s.options.Stack, err)
	}
	s.backend.learn(false)
	if kept, err := s.Secrets(); err != nil || len(kept) > 0 {
		return err
	}
	return s.Forget()
}

// Forget removes what this machine keeps of a stack that is in no state any more: its imported secrets, and where its
// state was. The logs of its runs stay.
func (s *Stack) Forget() error {
	if err := os.RemoveAll(s.home.stack(s.options.Project, s.options.Stack)); err != nil {
		return fmt.Errorf("forget stack %q: %w", s.options.Stack, err)
	}
	return nil
}
