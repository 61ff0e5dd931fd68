package engine

import (
	"slices"
	"testing"
)

// TestDownloads: a run that is not to ask anybody gets its providers from this process only.
func TestDownloads(t *testing.T) {
	t.Parallel()
	h, err := newHome(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	const acquisition = "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION="
	for download, want := range map[bool]string{false: acquisition + "true", true: acquisition + "false"} {
		env := h.environment(Options{Download: download, Providers: map[string]int{"devctl": 2, "aws": 1}})
		for _, line := range []string{want, "PULUMI_DEBUG_PROVIDERS=aws:1,devctl:2", "PULUMI_IGNORE_AMBIENT_PLUGINS=true"} {
			if !slices.Contains(env, line) {
				t.Errorf("download %v: %s is not in the environment", download, line)
			}
		}
	}
}
