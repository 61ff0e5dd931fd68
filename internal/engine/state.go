package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// Output is one output of a stack.
type Output struct {
	Value  any // as encoding/json decodes it
	Secret bool
}

// Outputs returns the outputs of the last update, in plain text. It is ErrNoStack without a stack, and empty when no
// update got as far as the outputs.
func (s *Stack) Outputs(ctx context.Context) (map[string]Output, error) {
	stack, err := s.workspace(ctx, false)
	if err != nil {
		return nil, err
	}
	// The state has value and secrecy at once; `pulumi stack output` would have to be asked twice.
	limited, cancel := s.limit(ctx)
	defer cancel()
	state, err := s.plainState(limited, stack)
	if err != nil && limited.Err() != nil {
		return nil, fmt.Errorf("read outputs of stack %q: no answer: %w", s.options.Stack, context.Cause(limited))
	}
	if err != nil {
		return nil, fmt.Errorf("read outputs of stack %q: %w", s.options.Stack, plain(err))
	}
	var deployment struct {
		Resources []struct {
			Type    string         `json:"type"`
			Outputs map[string]any `json:"outputs"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(state.Deployment, &deployment); err != nil {
		return nil, fmt.Errorf("read outputs of stack %q: %w", s.options.Stack, err)
	}
	outputs := map[string]Output{}
	for _, r := range deployment.Resources {
		if r.Type != string(resource.RootStackType) {
			continue
		}
		for name, value := range r.Outputs {
			plain, secret, err := reveal(value)
			if err != nil {
				return nil, fmt.Errorf("read output %q of stack %q: %w", name, s.options.Stack, err)
			}
			outputs[name] = Output{Value: plain, Secret: secret}
		}
	}
	return outputs, nil
}

// plainState is the state with its secrets in plain text. Reading it takes a process of the CLI, and what a command wants of it
// several of its parts want: so it is read once for as long as the state is the same, which only a file can tell.
func (s *Stack) plainState(ctx context.Context, stack *auto.Stack) (apitype.UntypedDeployment, error) {
	own, isFiles := s.backend.(files)
	if !isFiles {
		return stack.Export(ctx)
	}
	path := own.checkpoint(s.options.Stack)
	plainStates.Lock()
	defer plainStates.Unlock()
	info, err := os.Stat(path)
	if err != nil {
		return stack.Export(ctx) // which says what is the matter
	}
	key := fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size())
	if known := plainStates.of[path]; known.key == key {
		return known.state, nil
	}
	state, err := stack.Export(ctx)
	if err == nil {
		plainStates.of[path] = plainState{key, state}
	}
	return state, err
}

// plainStates are those that this process has read, by their file.
var plainStates = struct {
	sync.Mutex
	of map[string]plainState
}{of: map[string]plainState{}}

type plainState struct {
	key   string // when the file was written, and how large it is
	state apitype.UntypedDeployment
}

// reveal takes the wrapping off the secrets in a value.
func reveal(v any) (plain any, secret bool, err error) {
	switch v := v.(type) {
	case []any:
		for i := range v {
			p, s, err := reveal(v[i])
			if err != nil {
				return nil, false, err
			}
			v[i], secret = p, secret || s
		}
	case map[string]any:
		if v[resource.SigKey] == resource.SecretSig {
			text, _ := v["plaintext"].(string)
			if err := json.Unmarshal([]byte(text), &plain); err != nil {
				return nil, false, fmt.Errorf("decode secret: %w", err)
			}
			plain, _, err = reveal(plain)
			return plain, true, err
		}
		for key := range v {
			p, s, err := reveal(v[key])
			if err != nil {
				return nil, false, err
			}
			v[key], secret = p, secret || s
		}
	}
	return v, secret, nil
}

func (s *Stack) existing(ctx context.Context) (auto.Workspace, error) {
	stack, err := s.workspace(ctx, false)
	if err != nil {
		return nil, err
	}
	return stack.Workspace(), nil
}

// recover makes the state ready for a run whatever happened to the one before: it takes the locks of dead processes
// away and forgets the operations that were under way when a run was killed. The providers find what such an
// operation made by its labels, so doing it again is safe, while the engine would warn of it for ever.
func (s *Stack) recover(ctx context.Context) error {
	if err := s.backend.unlock(s.options.Stack); err != nil {
		return err
	}
	pending, err := s.backend.pending(ctx, s.options.Stack)
	if err != nil || !pending {
		return err
	}
	w, err := s.existing(ctx)
	if err != nil {
		return err
	}
	data, err := s.Export(ctx)
	if err != nil {
		return err
	}
	var state apitype.UntypedDeployment
	if err := json.Unmarshal(data, &state); err != nil {
		return fmt.Errorf("clear interrupted operations: %w", err)
	}
	var deployment map[string]json.RawMessage
	if err := json.Unmarshal(state.Deployment, &deployment); err != nil {
		return fmt.Errorf("clear interrupted operations: %w", err)
	}
	delete(deployment, "pending_operations")
	if state.Deployment, err = json.Marshal(deployment); err != nil {
		return fmt.Errorf("clear interrupted operations: %w", err)
	}
	cleared, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("clear interrupted operations: %w", err)
	}
	if _, err := s.pulumi(ctx, w, bytes.NewReader(cleared), "stack", "import", "--stack", s.options.Stack); err != nil {
		return fmt.Errorf("clear interrupted operations: %w", err)
	}
	return nil
}

// StackInfo is one stack of the backend.
type StackInfo struct {
	Name       string
	LastUpdate time.Time // zero when there was none
	Resources  int       // those of Pulumi itself included: the stack, and one per provider
	Updating   bool      // a run works on it now, or was killed
	Unknown    error     // why nothing is known of it: its backend does not answer; List itself never says so
}

// List returns the stacks of the project in one backend, sorted by name. Of the options it needs Project, Home, BinDir and
// Backend.
func List(ctx context.Context, o Options) ([]StackInfo, error) {
	s, err := open(o)
	if err != nil {
		return nil, err
	}
	if own, isFiles := s.backend.(files); isFiles {
		if _, err := os.Stat(filepath.Join(own.dir, ".pulumi")); os.IsNotExist(err) {
			return nil, nil
		}
	}
	dir := s.home.project(o.Project)
	if err := s.home.prepare(dir, o); err != nil {
		return nil, err
	}
	w, err := auto.NewLocalWorkspace(ctx, auto.WorkDir(dir), auto.PulumiHome(s.home.pulumi()), auto.Pulumi(s.command))
	if err != nil {
		return nil, fmt.Errorf("list stacks: %w", err)
	}
	limited, cancel := s.limit(ctx)
	defer cancel()
	found, err := w.ListStacks(limited)
	if err != nil && limited.Err() != nil {
		return nil, fmt.Errorf("list stacks: no answer: %w", context.Cause(limited))
	}
	if err != nil {
		return nil, fmt.Errorf("list stacks: %w", plain(err))
	}
	infos := []StackInfo{}
	for _, f := range found {
		info := StackInfo{Name: f.Name, Updating: f.UpdateInProgress}
		if f.ResourceCount != nil {
			info.Resources = *f.ResourceCount
		}
		if f.LastUpdate != "" {
			if info.LastUpdate, err = time.Parse(time.RFC3339, f.LastUpdate); err != nil {
				return nil, fmt.Errorf("list stacks: last update of %q: %w", f.Name, err)
			}
		}
		infos = append(infos, info)
	}
	return infos, nil
}
