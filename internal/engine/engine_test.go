package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/internal/engine"
)

const password = "correct-horse-battery"

func thingNamed(name string) thingArgs {
	return thingArgs{Name: name, Size: 1, Image: "v1", Password: password}
}

// bench is one data folder and one world, for any number of stacks.
type bench struct {
	*world
	options engine.Options
}

func newBench(t *testing.T) *bench {
	t.Helper()
	w := newWorld()
	return &bench{world: w, options: engine.Options{
		Project: "test", Description: "Things.", Stack: "alpha",
		Home:   filepath.Join(t.TempDir(), "a home [1]"), // paths need not be simple
		BinDir: binDir(t), Providers: map[string]int{"test": w.serve(t)},
	}}
}

func binDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func (b *bench) open(t *testing.T, program pulumi.RunFunc, change ...func(*engine.Options)) *engine.Stack {
	t.Helper()
	o := b.options
	o.Program = program
	for _, f := range change {
		f(&o)
	}
	s, err := engine.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run collects the events of a run that must succeed.
func run(t *testing.T, method func(context.Context, func(engine.Event)) (engine.Summary, error)) (engine.Summary, []engine.Event) {
	t.Helper()
	var events []engine.Event
	summary, err := method(t.Context(), func(e engine.Event) { events = append(events, e) })
	if err != nil {
		t.Fatalf("%v\n%s", err, engineLog(summary))
	}
	return summary, events
}

func engineLog(s engine.Summary) string {
	data, _ := os.ReadFile(filepath.Join(s.Dir, "engine.log"))
	return string(data)
}

// told shortens events to "kind op name".
func told(events []engine.Event) []string {
	var lines []string
	for _, e := range events {
		lines = append(lines, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s", e.Kind, e.Op, e.Name)), " "))
	}
	return lines
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func changes(kv ...any) map[engine.Op]int {
	m := map[engine.Op]int{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i].(engine.Op)] = kv[i+1].(int)
	}
	return m
}

// TestLife takes a stack from nothing to nothing.
func TestLife(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var places []string
	note := func(o *engine.Options) { o.PassphraseCreated = func(path string) { places = append(places, path) } }
	a, c := thingNamed("a"), thingNamed("c")
	s := b.open(t, declare(a, thingNamed("b"), c), note)

	if s.Exists() {
		t.Error("a stack exists before there was one")
	}
	if _, err := s.Outputs(t.Context()); !errors.Is(err, engine.ErrNoStack) {
		t.Errorf("outputs of no stack: %v", err)
	}
	if _, err := s.Destroy(t.Context(), nil); !errors.Is(err, engine.ErrNoStack) {
		t.Errorf("destroy of no stack: %v", err)
	}

	plan, events := run(t, s.Preview)
	want(t, "changes of the first preview", plan.Changes, changes(engine.OpCreate, 3))
	want(t, "events of the first preview", told(events), []string{"planned create a", "planned create b", "planned create c", "summary"})
	want(t, "plan for a", events[0].Diff, []engine.PropertyChange{
		{Path: "image", Kind: "add", New: "v1"}, {Path: "name", Kind: "add", New: "a"},
		{Path: "password", Kind: "add", New: "[secret]"}, {Path: "size", Kind: "add", New: "1"},
	})
	want(t, "calls of a preview", b.done(), []string(nil))

	begun := time.Now()
	up, events := run(t, s.Up)
	t.Logf("up of 3 things took %v", time.Since(begun))
	want(t, "changes of the first up", up.Changes, changes(engine.OpCreate, 3))
	want(t, "events of the first up", told(events), []string{
		"started create a", "finished create a", "started create b", "finished create b", "started create c", "finished create c", "summary"})
	want(t, "things", b.names(), []string{"a", "b", "c"})
	want(t, "passphrases", places, []string{filepath.Join(b.options.Home, "passphrase")})

	begun = time.Now()
	again, _ := run(t, s.Up)
	t.Logf("up with no changes took %v", time.Since(begun))
	want(t, "changes of the second up", again.Changes, changes(engine.OpSame, 3))
	if again.Changed() || !up.Changed() {
		t.Errorf("changed: %v first, then %v", up.Changed(), again.Changed())
	}
	b.done()

	begun = time.Now()
	outputs, err := s.Outputs(t.Context())
	t.Logf("outputs took %v", time.Since(begun))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "outputs", outputs, map[string]engine.Output{
		"count": {Value: float64(3)}, "password": {Value: password, Secret: true},
		"nested": {Value: map[string]any{"user": "u", "keys": []any{password}}, Secret: true},
	})

	a.Size, c.Image = 2, "v2"
	s = b.open(t, declare(a, c), note)
	plan, events = run(t, s.Preview)
	want(t, "changes of the second preview", plan.Changes, changes(engine.OpUpdate, 1, engine.OpReplace, 1, engine.OpDelete, 1))
	want(t, "events of the second preview", told(events), []string{"planned update a", "planned replace c", "planned delete b", "summary"})
	want(t, "plan for a", events[0].Diff, []engine.PropertyChange{{Path: "size", Kind: "update", Old: "1", New: "2"}})
	want(t, "plan for c", events[1].Diff, []engine.PropertyChange{{Path: "image", Kind: "update", Replaces: true, Old: "v1", New: "v2"}})

	up, events = run(t, s.Up)
	want(t, "changes of the third up", up.Changes, changes(engine.OpUpdate, 1, engine.OpReplace, 1, engine.OpDelete, 1))
	want(t, "events of the third up", told(events), []string{"started update a", "finished update a",
		"started delete-replaced c", "finished delete-replaced c", "started replace c", "finished replace c",
		"started delete b", "finished delete b", "summary"})
	want(t, "calls of the third up", b.done(), []string{"create c", "delete b", "delete c", "update a"})
	if outputs, err = s.Outputs(t.Context()); err != nil || outputs["count"].Value != float64(2) {
		t.Errorf("outputs after the third up, in a process that has read them before: %+v, %v", outputs, err)
	}

	b.remove("a")
	refreshed, events := run(t, s.Refresh)
	want(t, "changes of a refresh", refreshed.Changes, changes(engine.OpDelete, 1, engine.OpSame, 1))
	if lines := told(events); !slices.Contains(lines, "finished delete a") {
		t.Errorf("a refresh that finds nothing of a tells %q", lines)
	}

	listed, err := engine.List(t.Context(), b.options)
	if err != nil || len(listed) != 1 || listed[0].Name != "alpha" || listed[0].Resources == 0 || time.Since(listed[0].LastUpdate) > time.Hour {
		t.Errorf("list: %+v, %v", listed, err)
	}
	if err := s.Remove(t.Context()); err == nil || !strings.Contains(err.Error(), "still has resources") {
		t.Errorf("remove with resources: %v", err)
	}

	gone, _ := run(t, b.open(t, nil).Destroy)
	want(t, "changes of destroy", gone.Changes, changes(engine.OpDelete, 1))
	want(t, "things after destroy", b.names(), []string(nil))
	gone, _ = run(t, b.open(t, nil).Destroy)
	want(t, "changes of the second destroy", gone.Changes, changes())
	if err := s.Remove(t.Context()); err != nil || s.Exists() {
		t.Errorf("remove: %v, exists: %v", err, s.Exists())
	}
	want(t, "passphrases in the end", len(places), 1)
	b.noSecrets(t)
}

// noSecrets looks for the password in every file below the home: state, logs, everything. Nothing there is readable by others.
func (b *bench) noSecrets(t *testing.T) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(b.options.Home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(password)) {
			t.Errorf("%s holds the password", path)
		}
		return err
	})
	if err != nil || files < 5 {
		t.Errorf("looked through %d files: %v", files, err)
	}
	info, err := os.Stat(b.options.Home)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("home: %v, %v", info.Mode(), err)
	}
}

func TestTwoStacksAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	result := make(chan error)
	for _, name := range []string{"alpha", "beta"} {
		s := b.open(t, declare(thingNamed(name)), func(o *engine.Options) { o.Stack = name })
		go func() {
			_, err := s.Up(t.Context(), nil)
			result <- err
		}()
	}
	for range 2 {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
	want(t, "things", b.names(), []string{"alpha", "beta"})
	alpha := b.open(t, nil)
	run(t, alpha.Destroy)
	if err := alpha.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	want(t, "things without alpha", b.names(), []string{"beta"})
	beta := b.open(t, declare(thingNamed("beta")), func(o *engine.Options) { o.Stack = "beta" })
	summary, _ := run(t, beta.Up)
	want(t, "changes of beta", summary.Changes, changes(engine.OpSame, 1))
}

func TestRunLogs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	runs := filepath.Join(b.options.Home, "runs", "alpha")
	for i := range 25 {
		if err := os.MkdirAll(filepath.Join(runs, fmt.Sprintf("20010101T0000%02d.000000Z-up", i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	summary, events := run(t, b.open(t, declare(thingNamed("a"))).Up)
	entries, err := os.ReadDir(runs)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "number of logs", len(entries), 20)
	want(t, "the newest log", filepath.Join(runs, entries[19].Name()), summary.Dir)

	data, err := os.ReadFile(filepath.Join(summary.Dir, "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var logged []engine.Event
	for line := range bytes.Lines(data) {
		var e engine.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		logged = append(logged, e)
	}
	want(t, "logged events", told(logged), told(events))
	if log := engineLog(summary); !strings.Contains(log, "test:index:Thing") {
		t.Errorf("engine.log: %q", log)
	}
}

func TestPassphraseLost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open(t, declare(thingNamed("a")))
	run(t, s.Up)
	path := filepath.Join(b.options.Home, "passphrase")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("passphrase: %v, %v", info.Mode(), err)
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Up(t.Context(), nil); err == nil || !strings.Contains(err.Error(), path+" is missing") || !strings.Contains(err.Error(), "restore it from a backup") {
		t.Errorf("without the passphrase: %v", err)
	}
	if err := os.WriteFile(path, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Up(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "incorrect passphrase") {
		t.Errorf("with another passphrase: %v", err)
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open(t, declare(thingNamed("a")))
	run(t, s.Up)
	data, err := s.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(data) || !bytes.Contains(data, []byte("test:index:Thing")) || bytes.Contains(data, []byte(password)) {
		t.Errorf("export: %s", data)
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	good := engine.Options{Project: "test", Stack: "alpha", Home: t.TempDir(), BinDir: binDir(t)}
	empty := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := os.Symlink(self, filepath.Join(other, "pulumi")); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*engine.Options)
		want   string
	}{
		"no stack":       {func(o *engine.Options) { o.Stack = "" }, `"" is no name for a stack`},
		"path as stack":  {func(o *engine.Options) { o.Stack = "../x" }, `"../x" is no name for a stack`},
		"no project":     {func(o *engine.Options) { o.Project = "" }, `"" is no name for a project`},
		"no home":        {func(o *engine.Options) { o.Home = "" }, "no data folder given"},
		"no pulumi":      {func(o *engine.Options) { o.BinDir = empty }, "there is no " + filepath.Join(empty, "pulumi") + "; run `make build`"},
		"another binary": {func(o *engine.Options) { o.BinDir = other }, "this devctl needs v" + engine.Version() + "; run `make build`"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := good
			test.change(&o)
			if _, err := engine.Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error: %v, want %q in it", err, test.want)
			}
		})
	}
}
