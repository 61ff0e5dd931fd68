package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const passphraseProvider = "passphrase"

// remote is a backend that only Pulumi's CLI can read, an S3 bucket for example. What it said last is remembered: each
// question is a process and a connection.
type remote struct {
	url    string
	export func(context.Context) ([]byte, error)

	found bool
	state []byte // of the last export, for the first question that it answers
}

var _ backend = (*remote)(nil)

func (r *remote) exists(string) bool { return r.found }

func (r *remote) learn(exists bool) {
	if r.found != exists {
		r.found, r.state = exists, nil
	}
}

func (r *remote) pending(ctx context.Context, stack string) (bool, error) {
	if !r.found {
		return false, nil
	}
	data := r.state
	if r.state = nil; data == nil {
		var err error
		if data, err = r.export(ctx); err != nil {
			return false, err
		}
	}
	state, err := decodeState(data)
	if err != nil {
		return false, fmt.Errorf("read state of stack %q: %w", stack, err)
	}
	return len(state.Deployment.Pending) > 0, nil
}

// unlock leaves locks to Pulumi: it looks at them when a run begins, and says whose they are (see heldLock).
func (*remote) unlock(string) error { return nil }

// ask finds out whether the stack exists, and whether this machine can read its secrets.
func (s *Stack) ask(ctx context.Context, r *remote) error {
	o := s.options
	o.SecretsProvider = "asking needs no passphrase"
	if err := s.home.prepare(s.home.stack(o.Project, o.Stack), o); err != nil {
		return err
	}
	data, err := r.export(ctx)
	var missing *cliError
	switch {
	case errors.As(err, &missing) && strings.Contains(missing.said, "no stack named"):
		return nil
	case err != nil:
		return fmt.Errorf("ask %s for stack %q: %w", redacted(r.url), o.Stack, err)
	}
	r.found, r.state = true, data
	state, err := decodeState(data)
	if err != nil {
		return fmt.Errorf("read state of stack %q: %w", o.Stack, err)
	}
	if _, err := os.Stat(s.home.passphrase()); state.Deployment.Secrets.Type == passphraseProvider && err != nil {
		return fmt.Errorf("the secrets of stack %q are encrypted with the passphrase of who made it: copy that file to %s (mode 0600)",
			o.Stack, s.home.passphrase())
	}
	return nil
}

// redacted is a backend's URL without its parameters: an endpoint's may hold credentials.
func redacted(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return url
}

// exportedState is what we read of an exported state.
type exportedState struct {
	Deployment struct {
		Secrets struct {
			Type string `json:"type"`
		} `json:"secrets_providers"`
		Resources []stateResource   `json:"resources"`
		Pending   []json.RawMessage `json:"pending_operations"`
	} `json:"deployment"`
}

type stateResource struct {
	URN      string         `json:"urn"`
	Type     string         `json:"type"`
	Created  time.Time      `json:"created"`
	Modified time.Time      `json:"modified"`
	Inputs   map[string]any `json:"inputs"`
}

func decodeState(data []byte) (exportedState, error) {
	var state exportedState
	if err := json.Unmarshal(data, &state); err != nil {
		return state, fmt.Errorf("decode state: %w", err)
	}
	return state, nil
}

// lockLine is how Pulumi tells of a lock.
var lockLine = regexp.MustCompile(`(?m)^\s*(\S+): created by (.+)@(\S+) \(pid (\d+)\) at (\S+)$`)

// heldLock reads the locks that an error of Pulumi tells of, and returns one whose process may still run, if there is any;
// nil when the error is not about locks.
func heldLock(stack, text string) *LockedError {
	var held *LockedError
	host, hostErr := os.Hostname()
	for _, match := range lockLine.FindAllStringSubmatch(text, -1) {
		pid, pidErr := strconv.Atoi(match[4])
		since, sinceErr := time.Parse(time.RFC3339, match[5])
		if pidErr != nil || sinceErr != nil {
			continue // not a line of Pulumi's
		}
		gone := hostErr == nil && match[3] == host && !pulumiRuns(pid)
		if held == nil || held.Gone {
			held = &LockedError{Stack: stack, PID: pid, User: match[2], Host: match[3], Since: since, Lock: redacted(match[1]), Gone: gone}
		}
	}
	return held
}

// MovedError is a stack whose state is elsewhere than in the backend that was given.
type MovedError struct {
	Stack    string
	Old, New string // for people
}

func (e *MovedError) Error() string {
	return fmt.Sprintf("the state of stack %q is in %s, and its spec says %s; to move it, set devctl:state.backend back, run "+
		"`devctl stack export FILE`, set it anew, and run `devctl stack import FILE`", e.Stack, e.Old, e.New)
}

// checkMoved refuses to begin a second state for a stack that has one.
func (s *Stack) checkMoved() error {
	o := s.options
	old, known, err := Backend(string(s.home), o.Project, o.Stack)
	if err != nil || o.Moved || !known || old == o.Backend {
		return err
	}
	dir, isFiles := s.home.stateDir(old)
	if isFiles && !(files{dir: dir, project: o.Project}).exists(o.Stack) {
		return nil
	}
	return &MovedError{Stack: o.Stack, Old: s.place(old), New: s.place(o.Backend)}
}

// place is a backend for people.
func (s *Stack) place(backend string) string {
	if dir, isFiles := s.home.stateDir(backend); isFiles {
		return dir
	}
	return redacted(backend)
}

// checkSecretsProvider refuses to go on with another encryption than the stack was made with: Pulumi would keep to the old
// one and say nothing.
func (s *Stack) checkSecretsProvider() error {
	path := s.home.config(s.options.Project, s.options.Stack)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var file struct {
		Provider string `yaml:"secretsprovider"`
		Salt     string `yaml:"encryptionsalt"`
	}
	if err == nil {
		err = yaml.Unmarshal(data, &file)
	}
	if err != nil {
		return fmt.Errorf("look how the secrets of stack %q are encrypted: %w", s.options.Stack, err)
	}
	have, wanted := file.Provider, s.options.secretsProvider()
	if have == "" && file.Salt != "" {
		have = passphraseProvider
	}
	if have == "" || have == wanted {
		return nil
	}
	return fmt.Errorf("the secrets of stack %q are encrypted with %s, and its spec says %s: a stack keeps what it was made with; "+
		"set devctl:state.secrets back", s.options.Stack, have, wanted)
}

func (h home) config(project, stack string) string {
	return filepath.Join(h.stack(project, stack), "Pulumi."+stack+".yaml")
}
