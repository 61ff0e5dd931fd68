package planview

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/cli/output"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestLines(t *testing.T) {
	t.Parallel()
	for name, plan := range map[string]Plan{
		"nothing": New("local", nil, 12),
		"first": New("local", []Change{
			{Op: Create, Type: "devctl:local:NodeGroup", Name: "data"},
			{Op: Create, Type: "devctl:pki:Password", Name: "redis-app"},
			{Op: Create, Type: "devctl:local:NodeGroup", Name: "main"},
			{Op: Create, Type: "devctl:local:Network", Name: "network"},
			{Op: Create, Type: "devctl:local:NodeGroup", Name: "worker"},
		}, 0),
		"changes": New("local", []Change{
			{Op: Update, Type: "devctl:local:NodeGroup", Name: "data", Diff: []Property{
				{Path: "nodes[3]", New: map[string]any{"name": "data-4", "zone": "a", "address": "198.18.0.104"}},
				{Path: "count", Old: 3.0, New: 4.0},
			}},
			{Op: Replace, Type: "devctl:local:Network", Name: "network", Diff: []Property{
				{Path: "cidr", Old: "198.18.0.0/24", New: "198.18.7.0/24", Replaces: true},
			}},
			{Op: Update, Type: "devctl:local:NodeGroup", Name: "main", Diff: []Property{
				{Path: "secrets", Old: "old-secret", New: "new-secret", Secret: true},
				{Path: "config", Old: config(t, "16MiB", 8), New: config(t, "24MiB", 8), Replaces: true},
				{Path: "label", Old: "x"},
			}},
			{Op: Delete, Type: "devctl:pki:Password", Name: "redis-old"},
		}, 7),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, name+".txt", strings.Join(plan.Lines(output.Style{}), "\n")+"\n")
			data, err := json.MarshalIndent(plan, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(data), "-secret\"") {
				t.Error("a secret is in the JSON")
			}
		})
	}
}

// config is an Ignition config as a role has it.
func config(t *testing.T, memory string, lines int) string {
	t.Helper()
	unit := "[Unit]\nDescription=devctl node agent\n\n[Service]\nEnvironment=GOMEMLIMIT=" + memory + "\n" + strings.Repeat("# filler\n", lines)
	data, err := json.Marshal(map[string]any{
		"ignition": map[string]any{"version": "3.3.0"},
		"storage":  map[string]any{"files": []any{map[string]any{"path": "/etc/motd", "contents": map[string]any{"source": "data:,limit%20" + memory + "%0A"}}}},
		"systemd":  map[string]any{"units": []any{map[string]any{"name": "devctl-agent.service", "contents": unit}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Error(d)
	}
}

func TestDataURL(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		source     string
		compressed bool
		want       string
	}{
		{"data:,a%20b%0A", false, "a b\n"},
		{"data:;base64,aGVsbG8=", false, "hello"},
		{"data:;base64,H4sIAAAAAAAC/8pIzcnJBwQAAP//hqYQNgUAAAA=", true, "hello"},
		{"data:;base64,!", false, "data:;base64,!"},
		{"data:nothing", false, "data:nothing"},
	} {
		if got := dataURL(tc.source, tc.compressed); got != tc.want {
			t.Errorf("dataURL(%q) = %q, want %q", tc.source, got, tc.want)
		}
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	a := strings.Fields("a b c d e f g h i j k l")
	b := strings.Fields("a b c d X f g h i j k l m")
	want := []string{"  a", "  b", "  c", "  d", "- e", "+ X", "  f", "  g", "  h", "  i", "  j", "  k", "  l", "+ m"}
	if d := cmp.Diff(want, diff(a, b)); d != "" {
		t.Error(d)
	}
	if got := diff(a, a); len(got) != 1 {
		t.Errorf("no change shows %q", got)
	}
}
