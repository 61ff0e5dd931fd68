// Package ignitiontest asks Ignition's own validator in tests.
package ignitiontest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// Validate returns what ignition-validate has against the config. It warns of what it does not know, so any output is an error.
func Validate(t testing.TB, config []byte) error {
	t.Helper()
	program, err := validator()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-")
	cmd.Stdin = bytes.NewReader(config)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		return fmt.Errorf("ignition-validate: %v\n%s", err, out)
	}
	return nil
}

// validator is the path of ignition-validate: the one that make built, else built here from the pinned modules.
var validator = sync.OnceValues(func() (string, error) {
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(here), "..", "..")
	built := filepath.Join(root, "bin", "ignition-validate")
	if _, err := os.Stat(built); err == nil {
		return built, nil
	}
	cmd := exec.Command("go", "build", "-C", filepath.Join(root, "tools"), "-o", built, "github.com/coreos/ignition/v2/validate")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build ignition-validate: %w\n%s", err, out)
	}
	return built, nil
})
