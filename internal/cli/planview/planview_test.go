package planview

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
	"devctl/internal/cli/output"
	"devctl/internal/engine"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// planned is an event of a preview.
func planned(op engine.Op, resourceType, name string, diff ...engine.PropertyChange) engine.Event {
	e := engine.Event{Kind: engine.KindPlanned, Op: op, Type: resourceType, Name: name, Diff: diff}
	e.Old, e.New = map[string]any{}, map[string]any{}
	for _, p := range diff {
		e.Old[p.Path], e.New[p.Path] = p.Old, p.New
	}
	return e
}

// nodes are the nodes of a local group.
func nodes(names ...string) []any {
	var all []any
	for i, name := range names {
		all = append(all, map[string]any{"name": name, "zone": "a", "address": fmt.Sprintf("198.18.0.%d", 101+i)})
	}
	return all
}

// group is an event of a local node group.
func group(op engine.Op, name string, before, after []any, diff ...engine.PropertyChange) engine.Event {
	e := planned(op, "devctl:local:NodeGroup", name, diff...)
	e.Old, e.New = map[string]any{"nodes": before}, map[string]any{"nodes": after}
	machines := map[string]any{}
	for _, node := range nodesOf(before) {
		machines[node] = "0123456789ab"
	}
	e.OldOutputs = map[string]any{"machines": machines}
	return e
}

func changed(path, before, after string) engine.PropertyChange {
	return engine.PropertyChange{Path: path, Kind: engine.ChangeUpdate, Old: before, New: after}
}

// plans are plans to look at.
func plans(t *testing.T) map[string]Plan {
	t.Helper()
	data := nodes("data-1", "data-2")
	missing := group(engine.OpUpdate, "worker", nodes("worker-1", "worker-2"), nodes("worker-1", "worker-2"), changed("machines", "{}", ""))
	delete(missing.OldOutputs["machines"].(map[string]any), "worker-2")
	return map[string]Plan{
		"nothing": New(Input{Stack: "local", Provider: "local", Events: []engine.Event{
			planned(engine.OpSame, "devctl:local:Network", "network"), planned(engine.OpSame, "devctl:local:NodeGroup", "main"),
		}}),
		"first": New(Input{Stack: "local", Provider: "local", Events: []engine.Event{
			group(engine.OpCreate, "data", nil, data),
			planned(engine.OpCreate, "devctl:pki:Authority", "authority"),
			planned(engine.OpCreate, "devctl:pki:Password", "redis-app"),
			planned(engine.OpCreate, "devctl:pki:Password", "redis-admin"),
			group(engine.OpCreate, "main", nil, nodes("main-1"), engine.PropertyChange{Path: "config", Kind: engine.ChangeAdd, New: config(t, "16MiB", 8)}),
			planned(engine.OpCreate, "devctl:local:Network", "network", engine.PropertyChange{Path: "cidr", Kind: engine.ChangeAdd, New: "198.18.0.0/24"}),
			{Kind: engine.KindDiagnostic, Message: "hello"},
		}}),
		"changes": New(Input{Stack: "local", Provider: "local", Replicas: 1, Unknowns: []string{"What is there now: nobody looked."}, Events: []engine.Event{
			group(engine.OpUpdate, "data", data, nodes("data-1", "data-2", "data-3"), changed("nodes", text3(data), text3(nodes("data-1", "data-2", "data-3")))),
			missing,
			group(engine.OpUpdate, "main", nodes("main-1", "main-2", "main-3"), nodes("main-1", "main-2", "main-3"),
				changed("config", config(t, "16MiB", 8), config(t, "24MiB", 8)), changed("secrets", secret, secret), changed("machines", "{}", "")),
			planned(engine.OpDelete, "devctl:pki:Password", "redis-old"),
			planned(engine.OpSame, "devctl:pki:Authority", "authority"),
		}}),
		"network": New(Input{Stack: "local", Provider: "local", Replicas: 1, Events: []engine.Event{
			planned(engine.OpReplace, "devctl:local:Network", "network",
				engine.PropertyChange{Path: "cidr", Kind: engine.ChangeUpdate, Old: "198.18.0.0/24", New: "198.18.7.0/24", Replaces: true}),
			group(engine.OpReplace, "data", data, data, engine.PropertyChange{Path: "network", Kind: engine.ChangeUpdate, Old: "devctl-local", New: unknown, Replaces: true}),
		}}),
		"port": New(Input{Stack: "local", Provider: "local", Replicas: 1, Deployment: &Deployment{
			Before: []api.Assignment{assigned("worker-1", "haproxy.service", "1mb")}, After: []api.Assignment{assigned("worker-1", "haproxy.service", "2mb")},
			PortBefore: 7010, PortAfter: 7011,
		}}),
		"no replicas": New(Input{Stack: "local", Provider: "local", Deployment: &Deployment{
			Before: []api.Assignment{assigned("data-1", "redis-1.service", "64mb")}, After: []api.Assignment{assigned("data-1", "redis-1.service", "96mb")},
		}}),
		"deployment": New(Input{Stack: "local", Provider: "local", Replicas: 1, Deployment: &Deployment{
			Before: []api.Assignment{assigned("data-1", "redis-1.service", "64mb"), assigned("data-2", "redis-1.service", "64mb"), assigned("worker-1", "haproxy.service", "")},
			After:  []api.Assignment{assigned("data-1", "redis-1.service", "96mb"), assigned("data-2", "redis-1.service", "96mb"), assigned("data-10", "redis-2.service", "96mb"), assigned("worker-1", "haproxy.service", "")},
		}}),
	}
}

func text3(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// assigned is what a node has to run.
func assigned(node, unit, memory string) api.Assignment {
	return api.Assignment{Node: node, Unit: unit, Text: "[Service]\nExecStart=/usr/bin/" + unit + "\n", Files: []api.File{
		{Path: "/etc/devctl/services/" + unit + ".conf", Mode: 0o640, UID: 999, Content: "requirepass ${secret:redis-app}\nmaxmemory " + memory + "\n"},
	}}
}

func TestPlans(t *testing.T) {
	t.Parallel()
	for name, plan := range plans(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if plan.Empty() != (name == "nothing") {
				t.Errorf("Empty is %v", plan.Empty())
			}
			name := strings.ReplaceAll(name, " ", "-")
			golden(t, name+".txt", strings.Join(plan.Lines(output.Style{}), "\n")+"\n")
			golden(t, name+".md", plan.Markdown("devctl preview"))
		})
	}
}

// config is an Ignition config as a role has it.
func config(t *testing.T, memory string, lines int) string {
	t.Helper()
	unit := "[Unit]\nDescription=devctl node agent\n\n[Service]\nEnvironment=GOMEMLIMIT=" + memory + "\n" + strings.Repeat("# filler\n", lines)
	data, err := json.Marshal(map[string]any{
		"ignition": map[string]any{"version": "3.3.0"},
		"storage":  map[string]any{"files": []any{map[string]any{"path": "/etc/motd", "contents": map[string]any{"source": "data:,limit%20" + url.PathEscape(memory) + "%0A"}}}},
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

func TestUnified(t *testing.T) {
	t.Parallel()
	unit := "[Unit]\na\nb\nc\nd\n\n[Service]\ne\nf\ng\nh\ni\nj\nk\nl\n"
	for name, tc := range map[string]struct {
		before, after string
		want          []string
	}{
		"same": {"a\n", "a\n", nil},
		"new":  {"", "a\nb\n", []string{"@@ -0,0 +1,2 @@", "+a", "+b"}},
		"gone": {"a\n", "", []string{"@@ -1 +0,0 @@", "-a"}},
		"two hunks": {unit, strings.Replace(strings.Replace(unit, "a\n", "A\n", 1), "k\nl\n", "k\nL\n", 1), []string{
			"@@ -1,5 +1,5 @@", " [Unit]", "-a", "+A", " b", " c", " d",
			"@@ -12,4 +12,4 @@ [Service]", " i", " j", " k", "-l", "+L"}},
		"inserted": {"a\nb\n", "a\nx\nb\n", []string{"@@ -1,2 +1,3 @@", " a", "+x", " b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if d := cmp.Diff(tc.want, unified(tc.before, tc.after)); d != "" {
				t.Error(d)
			}
		})
	}
}

// FuzzUnified: the lines of a script are those of the one text without what is added, and of the other without what goes.
func FuzzUnified(f *testing.F) {
	f.Add("a\nb\nc", "a\nc\nd")
	f.Fuzz(func(t *testing.T, before, after string) {
		var a, b []string
		for _, line := range script(split(before), split(after)) {
			if line[0] != '+' {
				a = append(a, line[1:])
			}
			if line[0] != '-' {
				b = append(b, line[1:])
			}
		}
		if d := cmp.Diff(split(before), a); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(split(after), b); d != "" {
			t.Error(d)
		}
	})
}

func TestMarkdownIsCutHonestly(t *testing.T) {
	t.Parallel()
	unit := strings.Repeat("Environment=ONE=1\n", 3000)
	plan := New(Input{Stack: "s", Provider: "local", Events: []engine.Event{
		group(engine.OpUpdate, "main", nodes("main-1"), nodes("main-1"), changed("config", config(t, "1", 1), config(t, unit, 1))),
		group(engine.OpUpdate, "worker", nodes("worker-1"), nodes("worker-1"), changed("config", config(t, "1", 1), config(t, unit, 1))),
	}})
	got := plan.Markdown("devctl preview -s s")
	if n := utf8.RuneCountInString(got); n > 65_000 || n < 60_000 {
		t.Errorf("it has %d characters", n)
	}
	if strings.Count(got, "```")%2 != 0 || strings.Count(got, "<details>") != strings.Count(got, "</details>") {
		t.Error("the cut left something open")
	}
	all := 0
	for _, g := range plan.Groups {
		for _, s := range plan.sections(g) {
			all += len(s.lines)
		}
	}
	shown := strings.Count(got[strings.Index(got, "```diff"):], "\n+") + strings.Count(got, "\n-") // about
	var said, sections int
	if _, err := fmt.Sscanf(got[strings.Index(got, "This comment"):], "This comment is cut: %d lines of %d sections", &said, &sections); err != nil || sections != 2 {
		t.Fatalf("it does not say what is cut: %v, %d sections", err, sections)
	}
	if off := all - shown - said; off < 0 || off > 40 {
		t.Errorf("of %d lines about %d are shown, and it says that %d are not", all, shown, said)
	}
	if !strings.HasSuffix(got, "`devctl preview -s s` shows all of it.\n") {
		t.Errorf("it does not say what shows all of it: …%s", got[len(got)-80:])
	}
}

func TestMarkdownCannotBeLeft(t *testing.T) {
	t.Parallel()
	plan := New(Input{Stack: "s", Provider: "local", Events: []engine.Event{
		group(engine.OpUpdate, "main", nodes("main-1"), nodes("main-1"), changed("config", config(t, "1", 1), config(t, "2\n```\n</details><b>&\n````", 1))),
		planned(engine.OpUpdate, "x:y:Z", "a|b</summary>", changed("p", "1", "2")),
	}})
	got := plan.Markdown("devctl preview")
	if !strings.Contains(got, "`````diff\n") {
		t.Errorf("the fence is not longer than what is in it:\n%s", got)
	}
}

// TestEveryFieldIsDocumented looks for every field of a plan's JSON in docs/previews.md.
func TestEveryFieldIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/previews.md")
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]bool{}
	for _, word := range regexp.MustCompile(`[a-zA-Z]+`).FindAllString(string(page), -1) {
		words[word] = true
	}
	seen := map[reflect.Type]bool{}
	var look func(reflect.Type)
	look = func(of reflect.Type) {
		switch of.Kind() {
		case reflect.Slice, reflect.Map, reflect.Pointer:
			look(of.Elem())
		case reflect.Struct:
			if seen[of] {
				return
			}
			seen[of] = true
			for i := range of.NumField() {
				field := of.Field(i)
				name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
				if name != "" && name != "-" && !words[name] {
					t.Errorf("%s.%s is not documented: there is no %s", of, field.Name, name)
				}
				if name != "-" && field.IsExported() {
					look(field.Type)
				}
			}
		}
	}
	look(reflect.TypeFor[Plan]())
	if len(seen) < 7 {
		t.Errorf("only %d types were looked at", len(seen))
	}
}
