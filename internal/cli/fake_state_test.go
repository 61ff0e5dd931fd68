package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"devctl/internal/engine"
)

// fakeState is what is kept of a stack. Its exported state is its name; "empty" is one without resources.
type fakeState struct {
	exists    bool
	resources []engine.Resource
	secrets   map[string]time.Time // by key of the configuration
	values    map[string]string
	refuse    error // of open
	calls     []string
	stack     string // that was opened last
}

func newFakeState() *fakeState {
	return &fakeState{secrets: map[string]time.Time{}, values: map[string]string{}}
}

func (s *fakeState) open(stack string, moved bool) (stateStore, error) {
	s.stack = stack
	if moved {
		s.calls = append(s.calls, "open moved "+stack)
	}
	return s, s.refuse
}

func (s *fakeState) note(call string) { s.calls = append(s.calls, call+" "+s.stack) }

func (s *fakeState) Exists() bool { return s.exists }

func (s *fakeState) Resources(context.Context) ([]engine.Resource, error) {
	if !s.exists {
		return nil, engine.ErrNoStack
	}
	return s.resources, nil
}

func (s *fakeState) Export(context.Context) ([]byte, error) {
	if !s.exists {
		return nil, fmt.Errorf("stack %q: %w", s.stack, engine.ErrNoStack)
	}
	return []byte(s.stack + "\n"), nil
}

func (s *fakeState) CheckState(data []byte) (int, error) {
	switch whose := strings.TrimSpace(string(data)); whose {
	case "":
		return 0, errors.New("it is no state as `devctl stack export` writes it")
	case s.stack:
		return 12, nil
	case "empty":
		return 0, nil
	default:
		return 0, &engine.ForeignStateError{Stack: whose, Project: "devctl"}
	}
}

func (s *fakeState) Import(_ context.Context, data []byte, force bool) error {
	s.note(fmt.Sprintf("import %s %v into", strings.TrimSpace(string(data)), force))
	s.exists = true
	return nil
}

func (s *fakeState) Remove(context.Context) error {
	s.note("remove")
	s.exists = false
	return nil
}

func (s *fakeState) Forget() error {
	s.note("forget")
	return nil
}

func (s *fakeState) Unlock(context.Context) error {
	s.note("unlock")
	return nil
}

func (s *fakeState) SetSecret(_ context.Context, key, value string, now time.Time) error {
	s.secrets[key], s.values[key] = now, value
	return nil
}

func (s *fakeState) RemoveSecret(_ context.Context, key string) error {
	delete(s.secrets, key)
	return nil
}

func (s *fakeState) Secrets() (map[string]time.Time, error) { return maps.Clone(s.secrets), nil }
