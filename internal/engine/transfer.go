package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// Export returns the stack's state as the backend has it: JSON, with its secrets encrypted.
func (s *Stack) Export(ctx context.Context) ([]byte, error) {
	if !s.Exists() {
		return nil, fmt.Errorf("stack %q: %w", s.options.Stack, ErrNoStack)
	}
	data, err := s.exportRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("export stack %q: %w", s.options.Stack, err)
	}
	return data, nil
}

// exportRaw is the API's method without its --show-secrets, and without a look at whether there is a stack.
func (s *Stack) exportRaw(ctx context.Context) ([]byte, error) {
	dir := s.home.stack(s.options.Project, s.options.Stack)
	return s.pulumiIn(ctx, dir, nil, "stack", "export", "--stack", s.options.Stack)
}

// pulumi runs a command of the CLI that the Automation API has not, or not as we need it. Its error is what the command
// complained about.
func (s *Stack) pulumi(ctx context.Context, w auto.Workspace, stdin io.Reader, args ...string) ([]byte, error) {
	return s.pulumiIn(ctx, w.WorkDir(), stdin, args...)
}

func (s *Stack) pulumiIn(ctx context.Context, dir string, stdin io.Reader, args ...string) ([]byte, error) {
	ctx, cancel := s.limit(ctx)
	defer cancel()
	stdout, stderr, _, err := s.command.Run(ctx, dir, stdin, nil, nil, []string{"PULUMI_HOME=" + s.home.pulumi()}, args...)
	switch {
	case err == nil:
		return []byte(stdout), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("no answer: %w", context.Cause(ctx))
	}
	if held := heldLock(s.options.Stack, stderr); held != nil {
		return nil, held
	}
	return nil, plain(fmt.Errorf("%w\nstderr: %s", err, stderr))
}

// backendTimeout is how long a backend on a network may take for anything but a run.
const backendTimeout = time.Minute

// limit bounds a question to the backend; a folder needs no bound.
func (s *Stack) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, isRemote := s.backend.(*remote); !isRemote {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, backendTimeout, fmt.Errorf("none within %v", backendTimeout))
}

// ForeignStateError is a state that belongs to another stack.
type ForeignStateError struct {
	Stack, Project string // whose it is
}

func (e *ForeignStateError) Error() string {
	return fmt.Sprintf("it is the state of stack %q of project %q", e.Stack, e.Project)
}

// CheckState tells how many resources an exported state has: a *ForeignStateError when they are another stack's.
func (s *Stack) CheckState(data []byte) (resources int, err error) {
	var untyped struct {
		Version    int             `json:"version"`
		Deployment json.RawMessage `json:"deployment"`
	}
	const none = "it is no state as `devctl stack export` writes it"
	if err := json.Unmarshal(data, &untyped); err != nil {
		return 0, fmt.Errorf("%s: %w", none, err)
	}
	if untyped.Version == 0 || len(untyped.Deployment) == 0 {
		return 0, errors.New(none)
	}
	state, err := decodeState(data)
	if err != nil {
		return 0, err
	}
	for _, r := range state.Deployment.Resources {
		urn := resource.URN(r.URN)
		if !urn.IsValid() {
			return 0, fmt.Errorf("it has a resource without a valid URN: %q", r.URN)
		}
		if stack, project := urn.Stack().String(), string(urn.Project()); stack != s.options.Stack || project != s.options.Project {
			return 0, &ForeignStateError{Stack: stack, Project: project}
		}
	}
	return len(state.Deployment.Resources), nil
}

// Import replaces the state of the stack, which is made when there is none, by an exported one. Force takes another
// stack's too.
func (s *Stack) Import(ctx context.Context, data []byte, force bool) error {
	_, err := s.CheckState(data)
	var foreign *ForeignStateError
	if err != nil && !(force && errors.As(err, &foreign)) {
		return fmt.Errorf("import stack %q: %w", s.options.Stack, err)
	}
	if err := s.backend.unlock(s.options.Stack); err != nil {
		return err
	}
	stack, err := s.workspace(ctx, true)
	if err != nil {
		return err
	}
	args := []string{"stack", "import", "--stack", s.options.Stack}
	if force {
		args = append(args, "--force")
	}
	if _, err := s.pulumi(ctx, stack.Workspace(), bytes.NewReader(data), args...); err != nil {
		return fmt.Errorf("import stack %q: %w", s.options.Stack, err)
	}
	return nil
}

// Unlock takes all locks off the stack, whoever holds them. It is for locks of processes that are gone and that only a
// person can know to be.
func (s *Stack) Unlock(ctx context.Context) error {
	w, err := s.existing(ctx)
	if err != nil {
		return err
	}
	if _, err := s.pulumi(ctx, w, nil, "cancel", "--yes", "--stack", s.options.Stack); err != nil {
		return fmt.Errorf("unlock stack %q: %w", s.options.Stack, err)
	}
	return nil
}
