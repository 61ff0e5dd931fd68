package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"

	"devctl/images"
	"devctl/internal/cli/planview"
	"devctl/internal/engine"
	"devctl/internal/provider"
	"devctl/internal/standin"
	"devctl/stacks"
)

// standIns are the Pulumi packages that have to be stood in for, by the spec's provider. Devctl's own is always served.
var standIns = map[string][]string{stacks.ProviderAWS: {"aws"}, stacks.ProviderDigitalOcean: {"digitalocean"}}

// providerNames are what people call the providers.
var providerNames = map[string]string{stacks.ProviderLocal: "Docker", stacks.ProviderAWS: "AWS", stacks.ProviderDigitalOcean: "DigitalOcean"}

// offlineStack is a stack that can be previewed with what is on this machine: no credentials, no plugin, no Docker and no
// network.
type offlineStack struct {
	*engine.Stack
	served *standin.Served
	input  planview.Input // what is known about the preview before it runs
	home   string         // the data folder that it works in
	own    bool           // it is a folder for this preview only
	keep   bool           // also afterwards: a log in it is worth reading
	// deployment is compared with what the other spec deploys, or with nothing: no controller is asked.
	deployment redeployment
	stop       func()
}

// openOffline makes a stack ready for a preview without anybody to ask. It is compared with its last state; with base,
// another version of its spec, with what up would have made of that. Whatever it writes is in a folder of its own, unless
// there is a state to compare with.
func (d *deps) openOffline(ctx context.Context, spec, base *stacks.Spec, against string, allowed []string) (_ *offlineStack, err error) {
	o, err := d.engineOptions(engine.Options{Stack: spec.Stack, Kill: d.hard.Done(), Backend: spec.State.Backend, SecretsProvider: spec.State.Secrets})
	if err != nil {
		return nil, err
	}
	set, err := d.images()
	if err != nil {
		return nil, err
	}
	serving, stop := context.WithCancel(d.hard)
	s := &offlineStack{input: inputOf(spec), stop: stop}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	missing := fmt.Sprintf("there is no stack %s in %s", spec.Stack, against)
	if against == "" {
		if missing, err = noState(ctx, o); err != nil {
			return nil, err
		}
	}
	if base != nil {
		s.input.Against = against
	} else {
		s.input.Unknowns = append(s.input.Unknowns, unknownOf(spec.Provider, missing))
	}
	if s.own = base != nil || missing != ""; s.own {
		if o.Home, err = os.MkdirTemp("", "devctl-preview-"); err != nil {
			return nil, fmt.Errorf("make a folder for the preview: %w", err)
		}
		o.Backend, o.SecretsProvider = "", ""
	}
	s.home = o.Home
	s.deployment = offlineDeployment(spec, base, missing == "", set.Deployed())
	if o.Providers, err = s.serve(ctx, serving, o, set, base != nil); err != nil {
		return nil, err
	}
	program := func(spec *stacks.Spec) engine.Options {
		o.Program = stacks.Program(spec, d.cloudOf(spec, set, allowed), set.Etcd(), nil)
		return o
	}
	if base != nil {
		if err := makeBase(ctx, program(base)); err != nil {
			return nil, err
		}
	}
	s.Stack, err = engine.Open(ctx, program(spec))
	return s, err
}

// serve serves stand-ins and devctl's own provider until serving ends, and returns their ports. With a world, resources can be
// made in it.
func (s *offlineStack) serve(ctx, serving context.Context, o engine.Options, set *images.Set, world bool) (map[string]int, error) {
	known, err := lookups(ctx, o)
	if err != nil {
		return nil, err
	}
	options := standin.Options{Packages: standIns[s.input.Provider], Known: known}
	if world {
		options.World = standin.NewWorld()
	}
	if s.served, err = standin.Serve(serving, options); err != nil {
		return nil, err
	}
	port, _, err := provider.Serve(serving, provider.Options{Cloud: provider.Paper{}, Images: set, Bundles: provider.Paper{}})
	if err != nil {
		return nil, err
	}
	ports := maps.Clone(s.served.Ports)
	ports[provider.Name] = port
	return ports, nil
}

// Close ends the stand-ins, and removes what the preview wrote.
func (s *offlineStack) Close() {
	s.stop()
	if s.served != nil {
		s.served.Wait()
	}
	if s.own && !s.keep {
		_ = os.RemoveAll(s.home) // in the folder for temporary files, which somebody empties
	}
}

// makeBase writes a state as if the stack were up.
func makeBase(ctx context.Context, o engine.Options) error {
	stack, err := engine.Open(ctx, o)
	if err != nil {
		return err
	}
	if _, err = stack.Up(ctx, nil); err != nil {
		return fmt.Errorf("work out what the spec compared with makes: %w", err)
	}
	return nil
}

// noState says why there is no state to compare with; empty when there is one.
func noState(ctx context.Context, o engine.Options) (string, error) {
	switch {
	case o.Backend != "" && !strings.HasPrefix(o.Backend, "file://"):
		return "the stack's state is not on this machine", nil
	case o.SecretsProvider != "" && o.SecretsProvider != "passphrase":
		return "the secrets in the stack's state can only be read online", nil
	}
	stack, err := engine.Open(ctx, o)
	var moved *engine.MovedError
	switch {
	case errors.As(err, &moved):
		return "the stack's state is not where the spec says", nil
	case err != nil:
		return "", err
	case !stack.Exists():
		return "the stack has no state on this machine", nil
	}
	return "", nil
}

// lookups are the answers of the cloud that the last update kept.
func lookups(ctx context.Context, o engine.Options) (map[string]string, error) {
	known := map[string]string{}
	stack, err := engine.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	outputs, err := stack.LastOutputs()
	if err != nil {
		return nil, err
	}
	answers, _ := outputs["images"].(map[string]any)
	for question, answer := range answers {
		known[question], _ = answer.(string)
	}
	return known, nil
}

// unknownOf says what nobody was asked; missing is why there is no state, if so.
func unknownOf(name, missing string) string {
	if missing != "" {
		return fmt.Sprintf("What exists: %s, so everything looks new.", missing)
	}
	return fmt.Sprintf("What changed since the last up without devctl: %s was not asked.", providerNames[name])
}

// unknowns are what an offline preview that has run cannot know.
func (s *offlineStack) unknowns() []string {
	var all []string
	for _, question := range s.served.Unknown() {
		all = append(all, fmt.Sprintf("What %s is at %s: nobody has looked it up yet. It stands as %q.", question, providerNames[s.input.Provider], standin.Placeholder(question)))
	}
	if s.input.Provider != stacks.ProviderLocal {
		all = append(all, fmt.Sprintf("What %s refuses for reasons that are in no schema: quotas, permissions, names that are taken.", providerNames[s.input.Provider]))
	}
	return all
}

// placeholders are the texts that stand for what nobody has looked up.
func (s *offlineStack) placeholders() []string {
	var all []string
	for _, question := range s.served.Unknown() {
		all = append(all, standin.Placeholder(question))
	}
	return all
}

func inputOf(spec *stacks.Spec) planview.Input {
	return planview.Input{Stack: spec.Stack, Provider: spec.Provider, Replicas: spec.Redis.Replicas}
}

// baseSpec is the spec of the stack in another folder; nil when none is given, or when the stack is not there yet.
func baseSpec(dir, stack string) (*stacks.Spec, error) {
	if dir == "" {
		return nil, nil
	}
	project, err := stacks.FindProject(dir)
	if err != nil {
		return nil, err
	}
	spec, err := project.Load(stack)
	var missing *stacks.NotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	}
	return spec, err
}
