package agent

import (
	"path/filepath"
	"testing"
)

func TestFullDisk(t *testing.T) {
	t.Parallel()
	for folder, want := range map[string]bool{
		t.TempDir():                        false,
		"/proc":                            true, // there is no room for anything
		filepath.Join(t.TempDir(), "none"): false,
	} {
		if got := full(folder); got != want {
			t.Errorf("%s is full: %v, want %v", folder, got, want)
		}
	}
}
