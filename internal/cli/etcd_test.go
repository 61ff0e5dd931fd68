package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"devctl/internal/api"
	"devctl/internal/snapshot"
	"devctl/stacks"
)

// fakeSnapshots are those of a stack, and its main nodes.
type fakeSnapshots struct {
	infos   []snapshot.Info
	content []byte
	mains   []string
	running int
	calls   *[]string
}

func (f *fakeSnapshots) List(context.Context, string) ([]snapshot.Info, error) { return f.infos, nil }

func (f *fakeSnapshots) Read(_ context.Context, _, _ string, use func(io.Reader) error) error {
	return use(bytes.NewReader(f.content))
}

func (f *fakeSnapshots) MainNodes(context.Context, string) ([]string, int, error) {
	return f.mains, f.running, nil
}

func (f *fakeSnapshots) RemoveMainNodes(context.Context, string) error {
	*f.calls = append(*f.calls, "remove main nodes")
	return nil
}

// snapshotContent looks like a snapshot from outside.
func snapshotContent() []byte {
	database := bytes.Repeat([]byte("etcd"), 256)
	sum := sha256.Sum256(database)
	return append(database, sum[:]...)
}

// etcdWorld is a stack that has lost all of its main nodes, with two snapshots. What etcdutl would do, a script does.
func etcdWorld(t *testing.T) (*world, *fakeSnapshots, map[string]string) {
	t.Helper()
	w := newWorld(t)
	content := snapshotContent()
	f := &fakeSnapshots{content: content, calls: &w.env.calls}
	for i, age := range []time.Duration{time.Minute, time.Hour} {
		at := testTime.Add(-age)
		f.infos = append(f.infos, snapshot.Info{
			Name: at.Format("20060102T150405.000Z"), Time: at, Revision: int64(100 - i), Size: int64(len(content)), SHA256: fmt.Sprintf("%x", sha256.Sum256(content)),
		})
	}
	w.deps.snapshots = f
	w.environ["DEVCTL_BIN_DIR"] = t.TempDir()
	script := `#!/bin/sh
for a; do case $a in --data-dir=*) dir=${a#*=};; esac; done
mkdir -p "$dir/member" && cp "$3" "$dir/member/db" && echo "$@" >"$dir/args"
`
	if err := os.WriteFile(filepath.Join(w.environ["DEVCTL_BIN_DIR"], "etcdutl"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	handed := map[string]string{}
	w.deps.revive = func(ctx context.Context, spec *stacks.Spec, data etcdData) (environment, error) {
		w.env.calls = append(w.env.calls, "revive")
		w.env.onRun = func(ctx context.Context) {
			for _, m := range spec.Mains() {
				r, err := data(ctx, api.Identity{Name: m.Name})
				if err != nil {
					t.Error(err)
					return
				}
				text, err := io.ReadAll(r)
				if err := errors.Join(err, r.Close()); err != nil {
					t.Error(err)
				}
				handed[m.Name] = string(text)
			}
		}
		return w.env, nil
	}
	st := testStatus()
	for i := range st.Nodes {
		st.Nodes[i].LastHeartbeat = testTime.Add(time.Second)
	}
	st.Etcd.Healthy = 3
	w.cluster.failures = []error{errors.New("nobody answers")}
	w.cluster.statuses = []api.Status{st}
	return w, f, handed
}

func TestSnapshotList(t *testing.T) {
	t.Parallel()
	w, f, _ := etcdWorld(t)
	golden(t, "etcd/list.txt", w.run("etcd", "snapshot", "list").want(t, 0).out)
	golden(t, "etcd/list.json", w.run("etcd", "snapshot", "list", "-o", "json").want(t, 0).out)
	f.infos = nil
	if got := w.run("etcd", "snapshot", "list").want(t, 0).out; got != "There is no snapshot of stack local.\n" {
		t.Errorf("without any: %q", got)
	}
}

func TestSnapshotSave(t *testing.T) {
	t.Parallel()
	w, f, _ := etcdWorld(t)
	w.cluster.snapshot = snapshotContent()
	file := filepath.Join(t.TempDir(), "kept.db")
	w.run("etcd", "snapshot", "save", file).want(t, 0, "at revision 42 to "+file+". It holds passwords")
	w.run("etcd", "snapshot", "save").want(t, 0, "20261121T120000.000Z.db")
	for _, path := range []string{file, filepath.Join(w.environ["DEVCTL_HOME"], "snapshots", "local", "20261121T120000.000Z.db")} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	f.infos = nil
	if out := w.run("etcd", "snapshot", "list").want(t, 0).out; !strings.Contains(out, "20261121T120000.000Z  0s   2 KiB  42 ") {
		t.Errorf("the saved one is not listed:\n%s", out)
	}

	damaged := filepath.Join(t.TempDir(), "damaged.db")
	w.cluster.snapshot[7]++
	w.run("etcd", "snapshot", "save", damaged).want(t, 1, "it is damaged: its hash is not that of its content")
	if _, err := os.Stat(damaged); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a damaged snapshot was kept: %v", err)
	}
	w.cluster.snapshot = nil
	w.run("etcd", "snapshot", "save").want(t, 1, "etcd has no quorum", "next: devctl status shows whether etcd has a quorum")
}

func TestRestore(t *testing.T) {
	t.Parallel()
	w, _, handed := etcdWorld(t)
	w.run("etcd", "snapshot", "restore", "--latest", "--yes").want(t, 0,
		"Stack local has its main nodes back, from snapshot 20261121T115900.000Z: 8 nodes, 3 Redis shards, deployment ")
	if got := strings.Join(w.env.calls, ", "); got != "revive, remove main nodes, up" {
		t.Errorf("it did: %s", got)
	}
	if len(handed) != 3 || handed["main-1"] == "" || handed["main-1"] == handed["main-2"] {
		t.Errorf("%d main nodes were given data", len(handed))
	}
	left, err := filepath.Glob(filepath.Join(w.environ["DEVCTL_HOME"], "restore-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("what holds secrets is left: %v, %v", left, err)
	}
}

func TestRestoreOfAFile(t *testing.T) {
	t.Parallel()
	w, f, handed := etcdWorld(t)
	f.infos = nil
	file := filepath.Join(t.TempDir(), "mine.db")
	if err := os.WriteFile(file, snapshotContent(), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run("etcd", "snapshot", "restore", file, "--yes").want(t, 0, "from snapshot "+file)
	if len(handed) != 3 {
		t.Errorf("%d main nodes were given data", len(handed))
	}
}

func TestRestoreIsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args   []string
		change func(*world, *fakeSnapshots)
		code   int
		want   []string
	}{
		"nothing named":        {[]string{"--yes"}, nil, 2, []string{"give either the name or file of a snapshot, or --latest"}},
		"too much named":       {[]string{"--latest", "x", "--yes"}, nil, 2, []string{"give either the name or file of a snapshot, or --latest"}},
		"nobody to ask":        {[]string{"--latest"}, nil, 2, []string{"give --yes"}},
		"an unknown name":      {[]string{"nonesuch", "--yes"}, nil, 1, []string{`"nonesuch" is neither the name of a snapshot of stack "local" nor a file`, "next: devctl etcd snapshot list"}},
		"another stack forced": {[]string{"--latest", "--yes", "--force", "beta"}, nil, 2, []string{`--force names stack "beta", and this is stack "local": nothing was touched`}},
		"no snapshot": {[]string{"--latest", "--yes"}, func(_ *world, f *fakeSnapshots) { f.infos = nil }, 1,
			[]string{`there is no snapshot of stack "local"`}},
		"a quorum runs": {[]string{"--latest", "--yes"}, func(_ *world, f *fakeSnapshots) { f.mains, f.running = []string{"main-1", "main-2"}, 2 }, 1,
			[]string{`nothing was restored, for stack "local" is not lost: 2 of 3 main nodes run, which are a quorum`, "--force local throws away those that live"}},
		"a quorum answers": {[]string{"--latest", "--yes"}, func(w *world, f *fakeSnapshots) {
			f.mains, f.running = []string{"main-1"}, 1
			w.cluster.failures = nil
		}, 1, []string{"a quorum of its main nodes answers"}},
		"not what it was": {[]string{"--latest", "--yes"}, func(_ *world, f *fakeSnapshots) { f.infos[0].SHA256 = strings.Repeat("0", 64) }, 1,
			[]string{"snapshot 20261121T115900.000Z is not what it was: its SHA-256 is "}},
		"damaged": {[]string{"--latest", "--yes"}, func(_ *world, f *fakeSnapshots) { f.content[3]++ }, 1, []string{"it is damaged"}},
		"etcdutl fails": {[]string{"--latest", "--yes"}, func(w *world, _ *fakeSnapshots) {
			_ = os.WriteFile(filepath.Join(w.environ["DEVCTL_BIN_DIR"], "etcdutl"), []byte("#!/bin/sh\necho no space left >&2; exit 3\n"), 0o755)
		}, 1, []string{"make the data of etcd member main-1: exit status 3\n", "no space left"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, f, _ := etcdWorld(t)
			if tc.change != nil {
				tc.change(w, f)
			}
			w.run(append([]string{"etcd", "snapshot", "restore"}, tc.args...)...).want(t, tc.code, tc.want...)
			if len(w.env.calls) > 0 {
				t.Errorf("it did: %v", w.env.calls)
			}
		})
	}
}

func TestRestoreByForce(t *testing.T) {
	t.Parallel()
	w, f, _ := etcdWorld(t)
	f.mains, f.running = []string{"main-1", "main-2", "main-3"}, 3
	w.run("etcd", "snapshot", "restore", "--latest", "--yes", "--force", "local").want(t, 0, "has its main nodes back")
}

func TestInterruptedRestore(t *testing.T) {
	t.Parallel()
	w, _, _ := etcdWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	revive := w.deps.revive
	w.deps.revive = func(c context.Context, spec *stacks.Spec, data etcdData) (environment, error) {
		env, err := revive(c, spec, data)
		w.env.onRun = func(context.Context) { cancel() }
		return env, err
	}
	w.runContext(ctx, "etcd", "snapshot", "restore", "--latest", "--yes").want(t, 130,
		"next: devctl etcd snapshot restore 20261121T115900.000Z goes on where it stopped")
}
