// Package planfile keeps a plan that was approved, in a file, with all that it rests on: the spec key by key, the
// program with its images, the state resource by resource, and every planned operation. Comparing it with the same of
// now names what has moved on since.
//
// A file names things and holds the values of the spec; of everything else it holds digests only, and of secrets digests
// that nobody can make who does not know the stack's own key.
package planfile

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"devctl/internal/atomicfile"
)

// Format is what every plan file calls itself, and Version the newest layout that this package reads and the one it writes.
const (
	Format  = "devctl-plan"
	Version = 1
)

// What a plan was made from.
const (
	Live    = "live"    // the state, and a look at what really exists
	Offline = "offline" // the state alone, or nothing: no provider was asked
)

// File is an approved plan.
type File struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Project string    `json:"project"`
	Stack   string    `json:"stack"`
	Created time.Time `json:"created"`
	// Source is what the plan was made from: Live or Offline.
	Source string `json:"source"`
	// AllowReplace names what the plan may delete or replace though it holds data: whoever made the plan named it.
	AllowReplace []string `json:"allowReplace,omitempty"`

	Spec       map[string]string   `json:"spec"`              // by key, for example devctl:nodes.data.count; JSON of the value
	Program    map[string]string   `json:"program"`           // what the plan was computed by and with: versions, images
	Secrets    map[string]string   `json:"secrets,omitempty"` // imported ones by name: Keyed
	State      map[string]Resource `json:"state"`             // by URN
	Operations []Operation         `json:"operations"`        // sorted by URN
	// Deployment is what the controllers would change, nil when they were not asked or did not answer.
	Deployment []Deployed `json:"deployment,omitempty"`
	// DeploymentKnown tells that Deployment is what they answered, be it nothing.
	DeploymentKnown bool `json:"deploymentKnown"`

	// Sum is the SHA-256 of the file without it: a file that was cut off or edited is no plan.
	Sum string `json:"sum"`
}

// Resource is one resource of the state.
type Resource struct {
	Label      string            `json:"label"`      // for people
	Properties map[string]string `json:"properties"` // digests by name: inputs, and outputs that are no inputs
}

// Operation is what would be done to one resource.
type Operation struct {
	Op    string            `json:"op"`
	URN   string            `json:"urn"`
	Label string            `json:"label"`
	Diff  map[string]Change `json:"diff,omitempty"` // by property path
}

// Change is one difference in a resource: digests of the value before and after.
type Change struct {
	Replaces bool   `json:"replaces,omitempty"`
	Old      string `json:"old,omitempty"`
	New      string `json:"new,omitempty"`
}

// Deployed is one change of what runs on a node.
type Deployed struct {
	Op   string `json:"op"` // put | delete
	Node string `json:"node"`
	Unit string `json:"unit"`
	Hash string `json:"hash"` // of the assignment
}

// digestSize is how many bytes of a hash are kept.
const digestSize = 12

// Digest is the digest of a value that is no secret. The value is anything that encodes as JSON.
func Digest(value any) string {
	sum := sha256.Sum256(encode(value))
	return hex.EncodeToString(sum[:digestSize])
}

// Keyed is the digest of a value that may be a secret. The key is known only to whoever can read the stack's secrets.
func Keyed(key []byte, value any) string {
	mac := hmac.New(sha256.New, key)
	mac.Write(encode(value))
	return "keyed:" + hex.EncodeToString(mac.Sum(nil)[:digestSize])
}

func encode(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		panic("planfile: only values from JSON are digested: " + err.Error())
	}
	return data
}

// Write makes the plan a file that only its owner can read.
func Write(path string, f File) error {
	f.Format, f.Version = Format, Version
	f.Sum = f.sum()
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("encode plan: %w", err)
	}
	if err := atomicfile.Write(path, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write plan %s: %w", path, err)
	}
	return nil
}

func (f File) sum() string {
	f.Sum = ""
	sum := sha256.Sum256(encode(f))
	return hex.EncodeToString(sum[:])
}

// maxSize is far more than any plan has, in bytes.
const maxSize = 64 << 20

// Read reads a plan. Its errors say what is wrong with the file: that it is none, damaged, or of another version of devctl.
func Read(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, fmt.Errorf("read plan: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return File{}, fmt.Errorf("read plan: %w", err)
	}
	if len(data) > maxSize {
		return File{}, fmt.Errorf("%s is no plan of devctl: it has more than %d MiB", path, maxSize>>20)
	}
	plan, err := parse(data)
	if err != nil {
		return File{}, fmt.Errorf("%s %w", path, err)
	}
	return plan, nil
}

// parse completes the sentence that begins with the file's name.
func parse(data []byte) (File, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return File{}, errors.New("is empty, and no plan of devctl")
	}
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		if bytes.Contains(data, []byte(`"`+Format+`"`)) {
			return File{}, fmt.Errorf("is damaged: %w", err)
		}
		return File{}, fmt.Errorf("is no plan of devctl: %w", err)
	}
	switch {
	case head.Format != Format:
		return File{}, fmt.Errorf("is no plan of devctl: its format is %q, not %q", head.Format, Format)
	case head.Version > Version:
		return File{}, fmt.Errorf("was made by a newer devctl: its version is %d, and this devctl reads %d", head.Version, Version)
	case head.Version < Version:
		return File{}, fmt.Errorf("is damaged: there is no version %d of plans", head.Version)
	}
	var f File
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return File{}, fmt.Errorf("is damaged: %w", err)
	}
	if d.More() {
		return File{}, errors.New("is damaged: there is something after the plan")
	}
	if f.Sum != f.sum() {
		return File{}, errors.New("is damaged or was edited: its content is not what its checksum says")
	}
	return f, nil
}
