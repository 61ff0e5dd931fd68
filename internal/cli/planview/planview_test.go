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
	"devctl/internal/engine"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestLines(t *testing.T) {
	t.Parallel()
	planned := func(op engine.Op, kind, name string, diff ...engine.PropertyChange) engine.Event {
		return engine.Event{Kind: engine.KindPlanned, Op: op, Type: "devctl:" + kind, Name: name, Diff: diff}
	}
	for name, events := range map[string][]engine.Event{
		"nothing": {planned(engine.OpSame, "local:Network", "network"), planned(engine.OpSame, "local:NodeGroup", "main")},
		"first": {
			planned(engine.OpCreate, "local:NodeGroup", "data",
				engine.PropertyChange{Path: "nodes", Kind: engine.ChangeAdd, New: `[{"address":"198.18.0.101","name":"data-1","zone":"a"},{"name":"data-2"}]`}),
			planned(engine.OpCreate, "pki:Password", "redis-app"),
			planned(engine.OpCreate, "local:NodeGroup", "main", engine.PropertyChange{Path: "config", Kind: engine.ChangeAdd, New: config(t, "16MiB", 8)}),
			planned(engine.OpCreate, "local:Network", "network", engine.PropertyChange{Path: "cidr", Kind: engine.ChangeAdd, New: "198.18.0.0/24"}),
			planned(engine.OpCreate, "local:NodeGroup", "worker"),
			{Kind: engine.KindDiagnostic, Message: "hello"},
		},
		"changes": {
			planned(engine.OpUpdate, "local:NodeGroup", "data",
				engine.PropertyChange{Path: "count", Kind: engine.ChangeUpdate, Old: "3", New: "4"},
				engine.PropertyChange{Path: "machines", Kind: engine.ChangeUpdate, Old: `{"data-1":"0123456789ab"}`},
				engine.PropertyChange{Path: "nodes[3]", Kind: engine.ChangeAdd, New: `{"name":"data-4","zone":"a","address":"198.18.0.104"}`}),
			planned(engine.OpUpdate, "local:NodeGroup", "worker",
				engine.PropertyChange{Path: "machines", Kind: engine.ChangeUpdate, Old: `{"worker-2":"0123456789ab"}`}),
			planned(engine.OpReplace, "local:Network", "network",
				engine.PropertyChange{Path: "cidr", Kind: engine.ChangeUpdate, Old: "198.18.0.0/24", New: "198.18.7.0/24", Replaces: true}),
			planned(engine.OpUpdate, "local:NodeGroup", "main",
				engine.PropertyChange{Path: "config", Kind: engine.ChangeUpdate, Old: config(t, "16MiB", 8), New: config(t, "24MiB", 8), Replaces: true},
				engine.PropertyChange{Path: "label", Kind: engine.ChangeDelete, Old: "x"},
				engine.PropertyChange{Path: "secrets", Kind: engine.ChangeUpdate, Old: "[secret]", New: "[secret]"},
				engine.PropertyChange{Path: "store", Kind: engine.ChangeAdd, New: "[unknown]"}),
			planned(engine.OpDelete, "pki:Password", "redis-old"),
			planned(engine.OpDelete, "local:NodeGroup", "worker", engine.PropertyChange{Path: "nodes", Kind: engine.ChangeDelete, Old: `[{"name":"worker-1"}]`}),
			planned(engine.OpSame, "pki:Authority", "authority"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := New("local", events)
			if plan.Empty() != (name == "nothing") {
				t.Errorf("Empty is %v", plan.Empty())
			}
			golden(t, name+".txt", strings.Join(plan.Lines(output.Style{}), "\n")+"\n")
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
