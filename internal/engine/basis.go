package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// Basis is what a plan rests on beside the program, in plain text: it is for comparing, never for showing or storing.
type Basis struct {
	Resources []BasisResource   // in the state's order
	Secrets   map[string]string // that are set for the program, by the key of Pulumi's configuration
	// Key is a secret output that does not change while the stack lives; empty when there is none yet.
	Key string
}

// BasisResource is one resource of the state.
type BasisResource struct {
	URN, Type, Name string
	// Properties are its ID, its inputs, and the outputs that are no inputs or differ from them.
	Properties map[string]Output
}

// Basis reads the state and the secrets of the stack. It is empty for a stack that is not there. keyOutput names the
// output that becomes the Key.
func (s *Stack) Basis(ctx context.Context, keyOutput string) (Basis, error) {
	basis := Basis{Secrets: map[string]string{}}
	if !s.Exists() {
		return basis, nil
	}
	stack, err := s.workspace(ctx, false)
	if err != nil {
		return basis, err
	}
	if basis.Secrets, err = s.imported(ctx, stack); err != nil {
		return basis, err
	}
	state, err := s.plainState(ctx, stack)
	if err != nil {
		return basis, fmt.Errorf("read the state of stack %q: %w", s.options.Stack, plain(err))
	}
	if err := basis.read(state.Deployment, keyOutput); err != nil {
		return basis, fmt.Errorf("read the state of stack %q: %w", s.options.Stack, err)
	}
	return basis, nil
}

func (b *Basis) read(deployment []byte, keyOutput string) error {
	var state struct {
		Resources []struct {
			URN     string         `json:"urn"`
			Type    string         `json:"type"`
			ID      string         `json:"id"`
			Inputs  map[string]any `json:"inputs"`
			Outputs map[string]any `json:"outputs"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(deployment, &state); err != nil {
		return err
	}
	for _, r := range state.Resources {
		inputs, err := revealAll(r.Inputs)
		if err != nil {
			return err
		}
		outputs, err := revealAll(r.Outputs)
		if err != nil {
			return err
		}
		switch {
		case r.Type == string(resource.RootStackType):
			b.Key, _ = outputs[keyOutput].Value.(string)
			continue
		case strings.HasPrefix(r.Type, "pulumi:providers:"):
			continue
		}
		found := BasisResource{URN: r.URN, Type: r.Type, Name: urnName(r.URN), Properties: inputs}
		for name, value := range outputs {
			input, isInput := inputs[name]
			switch {
			case !isInput:
				found.Properties[name] = value
			case !reflect.DeepEqual(input.Value, value.Value):
				found.Properties[name+" (as it is)"] = value
			}
		}
		if r.ID != "" {
			found.Properties["id"] = Output{Value: r.ID}
		}
		b.Resources = append(b.Resources, found)
	}
	return nil
}

// revealAll takes the wrapping off the secrets in properties, and leaves out the SDK's own bookkeeping.
func revealAll(properties map[string]any) (map[string]Output, error) {
	out := map[string]Output{}
	for name, value := range properties {
		if strings.HasPrefix(name, "__") {
			continue
		}
		plain, secret, err := reveal(value)
		if err != nil {
			return nil, fmt.Errorf("property %q: %w", name, err)
		}
		out[name] = Output{Value: plain, Secret: secret}
	}
	return out, nil
}
