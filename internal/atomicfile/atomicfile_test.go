package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"devctl/internal/atomicfile"
)

func TestWriteReplacesContentAndMode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	for _, step := range []struct {
		content string
		mode    os.FileMode
	}{{"first", 0o644}, {"second", 0o600}} {
		if err := atomicfile.Write(path, []byte(step.content), step.mode); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != step.content || info.Mode() != step.mode {
			t.Errorf("got %q mode %v, want %q mode %v", got, info.Mode(), step.content, step.mode)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 {
		t.Errorf("temporary files are left behind: %v", left)
	}
}

func TestWriteOwned(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "redis.conf")
	owner := atomicfile.Owner{UID: os.Getuid(), GID: os.Getgid()}
	if err := atomicfile.WriteOwned(path, []byte("x"), 0o640, owner); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o640 {
		t.Errorf("mode is %v, want 0640", info.Mode())
	}
}

func TestWriteNamesTheFileThatFails(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "missing", "key")
	err := atomicfile.Write(path, nil, 0o600)
	if err == nil || !strings.HasPrefix(err.Error(), "write "+path+": ") {
		t.Errorf("got error %v", err)
	}
}

func TestWriteKeepsTheOldContentWhenItFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "taken") // a folder cannot be replaced by a file
	if err := os.MkdirAll(filepath.Join(path, "kept"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(path, []byte("x"), 0o600); err == nil {
		t.Fatal("a folder was replaced by a file")
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 || !left[0].IsDir() {
		t.Errorf("after a failed write there is %v, want only the folder", left)
	}
}

func TestCreateReplacesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "passphrase")
	results := make(chan error)
	for i := range 8 {
		go func() { results <- atomicfile.Create(path, dir, []byte{byte('0' + i)}, 0o600) }()
	}
	created := 0
	for range 8 {
		if err := <-results; err == nil {
			created++
		} else if !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
	}
	first, err := os.ReadFile(path)
	if created != 1 || len(first) != 1 || err != nil {
		t.Errorf("created %d times: %q, %v", created, first, err)
	}
	if err := atomicfile.Create(path, dir, []byte("other"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error: %v", err)
	}
	left, err := os.ReadDir(dir)
	if now, _ := os.ReadFile(path); string(now) != string(first) || len(left) != 1 || err != nil {
		t.Errorf("now %q, beside %v, %v", now, left, err)
	}
}
