package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"devctl/internal/api"
)

func passwords(known map[string]string) func(string) (string, error) {
	return func(name string) (string, error) {
		value, ok := known[name]
		if !ok {
			return "", fmt.Errorf("there is no secret %q", name)
		}
		return value, nil
	}
}

func TestFill(t *testing.T) {
	t.Parallel()
	lookup := passwords(map[string]string{"redis-app": "s3cret$1", "empty": ""})
	for _, tc := range []struct{ name, content, want, err string }{
		{name: "nothing to do", content: "port 7101\n", want: "port 7101\n"},
		{name: "plain", content: "masterauth ${secret:redis-app}\n", want: "masterauth s3cret$1\n"},
		{name: "hash", content: "user app #${secret-sha256:redis-app} on",
			want: "user app #bc17f849fd2339e690f43678a7b72b19de590f26582e171f34fad3d5db30aa5e on"},
		{name: "twice", content: "${secret:redis-app}${secret:redis-app}", want: "s3cret$1s3cret$1"},
		{name: "no placeholder of ours", content: "${PODMAN_CGROUPS} ${secret:} $secret:redis-app", want: "${PODMAN_CGROUPS} ${secret:} $secret:redis-app"},
		{name: "unknown", content: "${secret:nothing}", err: `there is no secret "nothing"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := fill(tc.content, lookup)
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("got error %v, want %s", err, tc.err)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Errorf("got %q, error %v; want %q", got, err, tc.want)
			}
		})
	}
}

// TestDevice: a file can name the interface that has the node's address. A secret that looks like the placeholder is none.
func TestDevice(t *testing.T) {
	t.Parallel()
	a := api.Assignment{Unit: "a.service", Files: []api.File{{Path: "/etc/a", Content: "on ${device} with ${secret:x}"}}}
	secrets := passwords(map[string]string{"x": "${device}"})
	files, first, err := render(a, secrets, func() (string, error) { return "ens5", nil })
	if err != nil || files[0].Content != "on ens5 with ${device}" {
		t.Errorf("got %+v, %v", files, err)
	}
	if _, other, err := render(a, secrets, func() (string, error) { return "ens6", nil }); err != nil || other == first {
		t.Errorf("another device gives the same hash (%v)", err)
	}
	if _, _, err := render(a, secrets, func() (string, error) { return deviceOf("192.0.2.77") }); err == nil || err.Error() != "fill in /etc/a: no interface has the address 192.0.2.77" {
		t.Errorf("error = %v", err)
	}
	if name, err := deviceOf("127.0.0.1"); name != "lo" || err != nil {
		t.Errorf("127.0.0.1 is on %q, %v", name, err)
	}
}

func FuzzFill(f *testing.F) {
	f.Add("a ${secret:x} b")
	f.Add("${secret-sha256:x}${secret:${secret:x}}")
	f.Fuzz(func(t *testing.T, content string) {
		// Secrets are put in once: what a secret holds is never looked at again.
		got, err := fill(content, func(string) (string, error) { return "${secret:y}", nil })
		if err != nil {
			t.Fatal(err)
		}
		if !placeholder.MatchString(content) && got != content {
			t.Errorf("%q became %q", content, got)
		}
	})
}

func TestRenderRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		a    api.Assignment
		want string
	}{
		{"unit with a path", api.Assignment{Unit: "../ssh.service"}, `"../ssh.service" is no name of a unit`},
		{"unit without a type", api.Assignment{Unit: "redis"}, `"redis" is no name of a unit`},
		{"relative file", api.Assignment{Unit: "a.service", Files: []api.File{{Path: "etc/passwd"}}}, `file "etc/passwd" has no absolute, clean path`},
		{"climbing file", api.Assignment{Unit: "a.service", Files: []api.File{{Path: "/etc/devctl/../passwd"}}}, `file "/etc/devctl/../passwd" has no absolute, clean path`},
		{"unknown secret", api.Assignment{Unit: "a.service", Files: []api.File{{Path: "/etc/a", Content: "${secret:x}"}}}, `fill in /etc/a: there is no secret "x"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := render(tc.a, passwords(nil), nil); err == nil || err.Error() != tc.want {
				t.Errorf("got error %v, want %s", err, tc.want)
			}
		})
	}
}

func TestRenderHashFollowsEverything(t *testing.T) {
	t.Parallel()
	base := func() api.Assignment {
		return api.Assignment{Unit: "a.service", Text: "[Unit]", Files: []api.File{{Path: "/a", Mode: 0o600, Content: "${secret:x}"}}, Dirs: []api.File{{Path: "/d"}}}
	}
	hash := func(a api.Assignment, secret string) string {
		_, content, err := render(a, passwords(map[string]string{"x": secret}), nil)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	first := hash(base(), "1")
	if again := hash(base(), "1"); again != first {
		t.Error("the same input gives another hash")
	}
	text, mode, dir := base(), base(), base()
	text.Text, mode.Files[0].Mode, dir.Dirs[0].UID = "[Service]", 0o644, 99
	for name, got := range map[string]string{"secret": hash(base(), "2"), "text": hash(text, "1"), "mode": hash(mode, "1"), "dir": hash(dir, "1")} {
		if got == first {
			t.Errorf("another %s gives the same hash", name)
		}
	}
}

func TestWriteFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "redis-1.service", "redis.conf")
	f := api.File{Path: path, Mode: 0o640, UID: os.Getuid(), GID: os.Getgid(), Content: "port 7101\n"}
	inode := func() fs.FileInfo {
		t.Helper()
		if err := writeFile(f); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := inode()
	if first.Mode() != 0o640 {
		t.Errorf("mode is %v, want 0640", first.Mode())
	}
	if !os.SameFile(first, inode()) {
		t.Error("a file that is right was written again")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := inode().Mode(); got != 0o640 {
		t.Errorf("mode is %v after somebody changed it, want 0640", got)
	}
	f.Content = "port 7102\n"
	inode()
	if text, err := os.ReadFile(path); err != nil || string(text) != f.Content {
		t.Errorf("content is %q, error %v", text, err)
	}
	if err := removeFile(path); err != nil {
		t.Fatal(err)
	}
	if err := removeFile(path); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the empty folder is still there: %v", err)
	}
}

func TestMakeDirKeepsContent(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data", "redis-1")
	f := api.File{Path: dir, Mode: 0o700, UID: os.Getuid(), GID: os.Getgid()}
	for range 2 {
		if err := makeDir(f); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "nodes.conf"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("mode is %v, want 0700", info.Mode())
	}
	if _, err := os.Stat(filepath.Join(dir, "nodes.conf")); err != nil {
		t.Error(err)
	}
}

func TestOwnedSurvivesARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent", "units.json")
	if got, err := loadOwned(path); err != nil || len(got) != 0 {
		t.Errorf("a new node owns %v, error %v", got, err)
	}
	want := map[string]applied{"redis-1.service": {Hash: "h", Content: "c", Files: []string{"/a"}, Shard: 1}}
	if err := saveOwned(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := loadOwned(path)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, error %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode is %v, error %v; want 0600", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadOwned(path); err == nil || !strings.HasPrefix(err.Error(), "read what the agent owns: decode "+path) {
		t.Errorf("half a file: %v", err)
	}
}
