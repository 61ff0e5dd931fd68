package cli

import (
	"context"
	"errors"
	"fmt"

	"devctl/internal/api"
	"devctl/internal/engine"
	"devctl/stacks"
)

// fakeEnvironment is a stack in the engine. Its events are those of a whole run; what a run leaves is its outputs.
type fakeEnvironment struct {
	exists  bool
	outputs map[string]engine.Output // of Outputs; nil: the stack was never up
	preview []engine.Event
	made    *stacks.Outputs // what the program says that the outputs are; nil: only a finished run knows
	secrets []string        // of SecretValues
	basis   engine.Basis
	allowed []string // that open was given
	up      []engine.Event
	refresh []engine.Event
	destroy []engine.Event
	fail    error // of any run, after its events
	// failCancelled is what did not get to its end when a run was cancelled.
	failCancelled error
	onRun         func(ctx context.Context)
	calls         []string
	leftover      []string
	unsupervised  error // of Supervise
	stubborn      bool  // the leftovers cannot be removed
}

func newFakeEnvironment() *fakeEnvironment {
	return &fakeEnvironment{exists: true, outputs: engineOutputs(testOutputs())}
}

// engineOutputs is how the engine gives outputs back.
func engineOutputs(o *stacks.Outputs) map[string]engine.Output {
	secrets := map[string]any{}
	for name, value := range o.Secrets {
		secrets[name] = value
	}
	controllers := []any{}
	for _, c := range o.Controllers {
		controllers = append(controllers, c)
	}
	return map[string]engine.Output{
		"controllers": {Value: controllers},
		"caCert":      {Value: o.CACert},
		"adminCert":   {Value: o.AdminCert},
		"adminKey":    {Value: o.AdminKey, Secret: true},
		"secrets":     {Value: secrets, Secret: true},
		"redis":       {Value: map[string]any{"address": o.Redis.Address, "port": float64(o.Redis.Port), "username": api.RedisUserApp}},
		"statsUrl":    {Value: o.StatsURL},
	}
}

// event is one about a resource of the program.
func event(kind engine.Kind, op engine.Op, resourceType, name string) engine.Event {
	return engine.Event{Time: testTime, Kind: kind, Op: op, URN: "urn:" + resourceType + ":" + name, Type: "devctl:" + resourceType, Name: name}
}

// creation is a run that makes two resources.
func creation() []engine.Event {
	done := event(engine.KindFinished, engine.OpCreate, "local:NodeGroup", "main")
	done.Elapsed = 2_500_000_000
	return []engine.Event{
		event(engine.KindStarted, engine.OpCreate, "local:Network", "network"),
		event(engine.KindFinished, engine.OpCreate, "local:Network", "network"),
		event(engine.KindStarted, engine.OpCreate, "local:NodeGroup", "main"),
		{Time: testTime, Kind: engine.KindDiagnostic, Severity: engine.SeverityInfo, Message: "main-1: ready in 1.2s"},
		done,
		{Time: testTime, Kind: engine.KindSummary},
	}
}

func (e *fakeEnvironment) run(ctx context.Context, op string, events []engine.Event, each func(engine.Event)) (engine.Summary, error) {
	e.calls = append(e.calls, op)
	s := engine.Summary{Op: op, Changes: map[engine.Op]int{engine.OpSame: 7}, Dir: "/runs/1"}
	for _, ev := range events {
		if ev.Kind == engine.KindFinished || ev.Kind == engine.KindPlanned {
			s.Changes[ev.Op]++
		}
		each(ev)
	}
	if e.onRun != nil {
		e.onRun(ctx)
	}
	if ctx.Err() != nil {
		err := fmt.Errorf("%s of stack %q: %w", op, "local", engine.ErrCancelled)
		return s, errors.Join(err, e.failCancelled)
	}
	return s, e.fail
}

func (e *fakeEnvironment) Preview(ctx context.Context, each func(engine.Event)) (engine.Summary, error) {
	return e.run(ctx, "preview", e.preview, each)
}

func (e *fakeEnvironment) SecretValues(context.Context) ([]string, error) { return e.secrets, nil }
func (e *fakeEnvironment) Basis(_ context.Context, keyOutput string) (engine.Basis, error) {
	if keyOutput != "adminKey" {
		return engine.Basis{}, fmt.Errorf("digests are keyed by the output %q", keyOutput)
	}
	return e.basis, nil
}

func (e *fakeEnvironment) Up(ctx context.Context, each func(engine.Event)) (engine.Summary, error) {
	return e.run(ctx, "up", e.up, each)
}

func (e *fakeEnvironment) Supervise(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e.calls = append(e.calls, "supervise")
	return e.unsupervised
}

func (e *fakeEnvironment) Refresh(ctx context.Context, each func(engine.Event)) (engine.Summary, error) {
	return e.run(ctx, "refresh", e.refresh, each)
}

func (e *fakeEnvironment) Destroy(ctx context.Context, each func(engine.Event)) (engine.Summary, error) {
	return e.run(ctx, "destroy", e.destroy, each)
}

func (e *fakeEnvironment) Remove(context.Context) error {
	e.calls = append(e.calls, "remove")
	return nil
}

func (e *fakeEnvironment) Made() <-chan *stacks.Outputs {
	made := make(chan *stacks.Outputs, 1)
	if e.made != nil {
		made <- e.made
	}
	return made
}

func (e *fakeEnvironment) Exists() bool { return e.exists }
func (e *fakeEnvironment) Close()       {}

// wire puts the fake environment behind the dependencies.
func (w *world) wire() {
	w.deps.open = func(_ context.Context, _ string, _ *stacks.Spec, allowed []string) (environment, error) {
		w.env.allowed = allowed
		w.env.calls = append(w.env.calls, "open")
		return w.env, nil
	}
	w.deps.read = func(context.Context, string) (map[string]engine.Output, error) {
		if w.env.outputs == nil {
			return nil, engine.ErrNoStack
		}
		return w.env.outputs, nil
	}
	w.deps.exists = func(string) bool { return w.env.exists }
	w.deps.state = func(_ context.Context, stack string, moved bool) (stateStore, error) {
		return w.state.open(stack, moved)
	}
	w.deps.list = func(context.Context) ([]engine.StackInfo, error) {
		return []engine.StackInfo{{Name: "local", LastUpdate: testTime, Resources: 12}}, nil
	}
	w.deps.leftovers = func(context.Context, string) ([]string, error) { return w.env.leftover, nil }
	w.deps.sweep = func(context.Context, string) error {
		w.env.calls = append(w.env.calls, "sweep")
		if !w.env.stubborn {
			w.env.leftover = nil
		}
		return nil
	}
	w.deps.purge = func(context.Context) error {
		w.env.calls = append(w.env.calls, "purge")
		return nil
	}
}

// touched tells whether the engine or the cluster was asked to change anything.
func (w *world) touched() bool { return len(w.env.calls) > 0 || len(w.cluster.deploys) > 0 }
