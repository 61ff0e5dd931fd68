package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// SecretValues returns every text that is secret in the stack's state or was set for its program, in plain text: it is for
// keeping them out of what is shown. It is empty for a stack that is not there.
func (s *Stack) SecretValues(ctx context.Context) ([]string, error) {
	if !s.Exists() {
		return nil, nil
	}
	stack, err := s.workspace(ctx, false)
	if err != nil {
		return nil, err
	}
	imported, err := s.imported(ctx, stack)
	if err != nil {
		return nil, err
	}
	state, err := s.plainState(ctx, stack)
	if err != nil {
		return nil, fmt.Errorf("read the secrets of stack %q: %w", s.options.Stack, plain(err))
	}
	var deployment any
	if err := json.Unmarshal(state.Deployment, &deployment); err != nil {
		return nil, fmt.Errorf("read the secrets of stack %q: %w", s.options.Stack, err)
	}
	return secretTexts(deployment, false, slices.Collect(maps.Values(imported)))
}

// secretTexts adds all texts in v that are marked as secret, or are within what is.
func secretTexts(v any, secret bool, to []string) ([]string, error) {
	var err error
	switch v := v.(type) {
	case string:
		if secret && v != "" {
			to = append(to, v)
		}
	case []any:
		for _, item := range v {
			if to, err = secretTexts(item, secret, to); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		if v[resource.SigKey] == resource.SecretSig {
			plain, _, err := reveal(v)
			if err != nil {
				return nil, err
			}
			return secretTexts(plain, true, to)
		}
		for _, item := range v {
			if to, err = secretTexts(item, secret, to); err != nil {
				return nil, err
			}
		}
	}
	return to, nil
}

// LastOutputs are the outputs of the last update that have no secret in them. It reads a file and starts no process: it is empty
// where the state is no file.
func (s *Stack) LastOutputs() (map[string]any, error) {
	own, isFiles := s.backend.(files)
	if !isFiles {
		return nil, nil
	}
	data, err := os.ReadFile(own.checkpoint(s.options.Stack))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var file struct {
		Checkpoint struct {
			Latest struct {
				Resources []struct {
					Type    string         `json:"type"`
					Outputs map[string]any `json:"outputs"`
				} `json:"resources"`
			} `json:"latest"`
		} `json:"checkpoint"`
	}
	if err == nil {
		err = json.Unmarshal(data, &file)
	}
	if err != nil {
		return nil, fmt.Errorf("read the last outputs of stack %q: %w", s.options.Stack, err)
	}
	outputs := map[string]any{}
	for _, r := range file.Checkpoint.Latest.Resources {
		if r.Type != string(resource.RootStackType) {
			continue
		}
		for name, value := range r.Outputs {
			if !sealed(value) {
				outputs[name] = value
			}
		}
	}
	return outputs, nil
}

// sealed tells whether there is a secret in a value of the state.
func sealed(v any) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, sealed)
	case map[string]any:
		return v[resource.SigKey] != nil || slices.ContainsFunc(slices.Collect(maps.Values(v)), sealed)
	}
	return false
}
