package cli

import (
	"context"
	"slices"
	"time"

	"devctl/internal/engine"
	"devctl/stacks"
)

// stateStore is what the engine keeps of one stack: its state, and the secrets that were imported for it. Nothing here
// changes a machine.
type stateStore interface {
	Exists() bool
	Resources(ctx context.Context) ([]engine.Resource, error)
	Export(ctx context.Context) ([]byte, error)
	CheckState(data []byte) (resources int, err error)
	Import(ctx context.Context, data []byte, force bool) error
	Remove(ctx context.Context) error
	Forget() error
	Unlock(ctx context.Context) error
	SetSecret(ctx context.Context, key, value string, now time.Time) error
	RemoveSecret(ctx context.Context, key string) error
	Secrets() (map[string]time.Time, error)
}

// openState is deps.state.
func (d *deps) openState(ctx context.Context, stack string, moved bool) (stateStore, error) {
	return d.engine(ctx, engine.Options{Stack: stack, Moved: moved, PassphraseCreated: d.tellPassphrase})
}

func (d *deps) tellPassphrase(path string) {
	d.say("The secrets of your stacks are encrypted with the passphrase in %s: keep a copy of it.", path)
}

// backendOf completes options with where a stack's state is and what encrypts its secrets: as its spec says or, when that
// cannot be read, as it was when this machine worked on it last.
func backendOf(project *stacks.Project, o engine.Options) (engine.Options, error) {
	if o.Stack == "" {
		return o, nil
	}
	if spec, err := project.Load(o.Stack); err == nil {
		o.Backend, o.SecretsProvider = spec.State.Backend, spec.State.Secrets
		return o, nil
	}
	var err error
	o.Backend, _, err = engine.Backend(o.Home, o.Project, o.Stack)
	return o, err
}

// listStacks is deps.list: the stacks in every backend that a spec of the project names, and in the data folder. A backend
// that does not answer leaves the stacks that should be in it unknown.
func (d *deps) listStacks(ctx context.Context) ([]engine.StackInfo, error) {
	project, err := stacks.FindProject(d.global.dir)
	if err != nil {
		return nil, err
	}
	names, err := project.Stacks()
	if err != nil {
		return nil, err
	}
	backends, of := []string{""}, map[string]string{}
	for _, name := range names {
		if spec, err := project.Load(name); err == nil {
			of[name] = spec.State.Backend
			if !slices.Contains(backends, of[name]) {
				backends = append(backends, of[name])
			}
		}
	}
	var all []engine.StackInfo
	for _, backend := range backends {
		o, err := d.engineOptions(engine.Options{Backend: backend})
		if err != nil {
			return nil, err
		}
		infos, err := engine.List(ctx, o)
		if err != nil && backend == "" {
			return nil, err
		}
		for _, info := range infos {
			if where, known := of[info.Name]; !known || where == backend {
				all = append(all, info)
			}
		}
		for _, name := range names {
			if err != nil && of[name] == backend {
				all = append(all, engine.StackInfo{Name: name, Unknown: err})
			}
		}
	}
	return all, nil
}
