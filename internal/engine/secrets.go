package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"go.yaml.in/yaml/v3"

	"devctl/internal/atomicfile"
)

// SetSecret keeps a value in the stack's configuration, encrypted by the stack's secrets provider. The key is one of
// Pulumi's configuration, such as digitalocean:token: program and providers find it there. A stack that does not exist yet
// is made, empty.
func (s *Stack) SetSecret(ctx context.Context, key, value string, now time.Time) error {
	stack, err := s.workspace(ctx, true)
	if err != nil {
		return err
	}
	// On stdin: arguments can be read by everybody on this machine.
	_, err = s.pulumi(ctx, stack.Workspace(), strings.NewReader(value), "config", "set", "--secret", "--stack", s.options.Stack, "--", key)
	if err != nil {
		return fmt.Errorf("set secret %s: %w", key, err)
	}
	if err := os.Chmod(s.home.config(s.options.Project, s.options.Stack), 0o600); err != nil {
		return fmt.Errorf("set secret %s: %w", key, err)
	}
	return s.noteSecret(key, func(times map[string]time.Time) { times[key] = now.UTC().Truncate(time.Second) })
}

// Secret returns a value that SetSecret kept, "" when there is none.
func (s *Stack) Secret(ctx context.Context, key string) (string, error) {
	set, err := s.Secrets()
	if err != nil {
		return "", err
	}
	if _, found := set[key]; !found {
		return "", nil
	}
	w, err := s.existing(ctx)
	if err != nil {
		return "", err
	}
	value, err := s.pulumi(ctx, w, nil, "config", "get", "--stack", s.options.Stack, "--", key)
	if err != nil {
		return "", fmt.Errorf("read secret %s: %w", key, err)
	}
	return strings.TrimSuffix(string(value), "\n"), nil
}

// RemoveSecret forgets a value that SetSecret kept.
func (s *Stack) RemoveSecret(ctx context.Context, key string) error {
	w, err := s.existing(ctx)
	if err != nil {
		return err
	}
	if _, err := s.pulumi(ctx, w, nil, "config", "rm", "--stack", s.options.Stack, "--", key); err != nil {
		return fmt.Errorf("remove secret %s: %w", key, err)
	}
	return s.noteSecret(key, func(times map[string]time.Time) { delete(times, key) })
}

// imported returns all that SetSecret kept, by key.
func (s *Stack) imported(ctx context.Context, stack *auto.Stack) (map[string]string, error) {
	values := map[string]string{}
	set, err := s.Secrets()
	if err != nil || len(set) == 0 { // each question is a process
		return values, err
	}
	config, err := stack.GetAllConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the secrets of stack %q: %w", s.options.Stack, plain(err))
	}
	for key, value := range config {
		if value.Secret {
			values[key] = value.Value
		}
	}
	return values, nil
}

// Secrets tells the keys that SetSecret has set, and when: zero when that is not known. It reads files only.
func (s *Stack) Secrets() (map[string]time.Time, error) {
	data, err := os.ReadFile(s.home.config(s.options.Project, s.options.Stack))
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]time.Time{}, nil
	}
	var file struct {
		Config map[string]struct {
			Secure string `yaml:"secure"`
		} `yaml:"config"`
	}
	if err == nil {
		err = yaml.Unmarshal(data, &file)
	}
	if err != nil {
		return nil, fmt.Errorf("list secrets of stack %q: %w", s.options.Stack, err)
	}
	times, err := s.secretTimes()
	if err != nil {
		return nil, err
	}
	secrets := map[string]time.Time{}
	for key, value := range file.Config {
		if value.Secure != "" {
			secrets[key] = times[key]
		}
	}
	return secrets, nil
}

func (s *Stack) secretTimesFile() string {
	return filepath.Join(s.home.stack(s.options.Project, s.options.Stack), "secrets.json")
}

func (s *Stack) secretTimes() (map[string]time.Time, error) {
	times := map[string]time.Time{}
	data, err := os.ReadFile(s.secretTimesFile())
	if errors.Is(err, fs.ErrNotExist) {
		return times, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &times)
	}
	if err != nil {
		return nil, fmt.Errorf("look when secrets of stack %q were set: %w", s.options.Stack, err)
	}
	return times, nil
}

func (s *Stack) noteSecret(key string, change func(map[string]time.Time)) error {
	times, err := s.secretTimes()
	if err != nil {
		return err
	}
	change(times)
	data, err := json.MarshalIndent(times, "", "  ")
	if err != nil {
		return fmt.Errorf("note when secret %s was set: %w", key, err)
	}
	return atomicfile.Write(s.secretTimesFile(), append(data, '\n'), 0o600)
}

// Resource is a resource of a stack's state.
type Resource struct {
	URN, Type, Name   string
	Created, Modified time.Time
	Inputs            map[string]any // secrets in it are encrypted
}

// Resources returns what is in the stack's state, in its order. It is ErrNoStack without a stack.
func (s *Stack) Resources(ctx context.Context) ([]Resource, error) {
	data, err := s.Export(ctx)
	if err != nil {
		return nil, err
	}
	state, err := decodeState(data)
	if err != nil {
		return nil, fmt.Errorf("read state of stack %q: %w", s.options.Stack, err)
	}
	var all []Resource
	for _, r := range state.Deployment.Resources {
		if r.Type == string(resource.RootStackType) || strings.HasPrefix(r.Type, "pulumi:providers:") {
			continue
		}
		all = append(all, Resource{URN: r.URN, Type: r.Type, Name: urnName(r.URN), Created: r.Created, Modified: r.Modified, Inputs: r.Inputs})
	}
	return all, nil
}
