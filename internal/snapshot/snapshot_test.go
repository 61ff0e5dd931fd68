package snapshot_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"devctl/internal/snapshot"
)

// content is what a snapshot looks like from outside: pages, then their hash.
func content(fill byte, pages int) []byte {
	database := bytes.Repeat([]byte{fill}, 512*pages)
	sum := sha256.Sum256(database)
	return append(database, sum[:]...)
}

func at(second int) time.Time { return time.Date(2026, 11, 21, 12, 0, second, 0, time.UTC) }

func TestDirKeepsWhatIsWhole(t *testing.T) {
	t.Parallel()
	dir := snapshot.Dir(filepath.Join(t.TempDir(), "snapshots"))
	if all, err := dir.List(); err != nil || len(all) != 0 {
		t.Fatalf("a folder that is not there has %v, %v", all, err)
	}
	whole := content('a', 3)
	info, err := dir.Add(t.Context(), at(1), 7, bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := snapshot.Info{Name: "20261121T120001.000Z", Time: at(1), Revision: 7, Size: int64(len(whole)), SHA256: fmt.Sprintf("%x", sha256.Sum256(whole))}
	if info != want {
		t.Errorf("got %+v, want %+v", info, want)
	}
	damaged := content('b', 3)
	damaged[5]++
	broken := func(r io.Reader) io.Reader {
		return io.MultiReader(r, iotestErr{errors.New("the member went away")})
	}
	for _, tc := range []struct {
		name string
		r    io.Reader
		want string
	}{
		{"half", bytes.NewReader(whole[:700]), "its 700 bytes are no whole snapshot of etcd"},
		{"nothing", bytes.NewReader(nil), "its 0 bytes are no whole snapshot of etcd"},
		{"damaged", bytes.NewReader(damaged), "it is damaged: its hash is not that of its content"},
		{"broken off", broken(bytes.NewReader(whole)), "the member went away"},
	} {
		if _, err := dir.Add(t.Context(), at(2), 8, tc.r); err == nil || !strings.HasSuffix(err.Error(), ": "+tc.want) {
			t.Errorf("%s: got error %v, want %s", tc.name, err, tc.want)
		}
	}
	all, err := dir.List()
	if err != nil || len(all) != 1 || all[0] != want {
		t.Errorf("there is %+v (%v), want only %+v", all, err, want)
	}
	files := names(t, string(dir))
	if got := strings.Join(files, " "); got != "20261121T120001.000Z.db info" {
		t.Errorf("in the folder are %s", got)
	}
}

type iotestErr struct{ error }

func (e iotestErr) Read([]byte) (int, error) { return 0, e.error }

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestNobodyElseMayRead(t *testing.T) {
	t.Parallel()
	place := filepath.Join(t.TempDir(), "snapshots")
	if err := os.Mkdir(place, 0o755); err != nil { // as Docker makes a volume
		t.Fatal(err)
	}
	if _, err := snapshot.Dir(place).Add(t.Context(), at(1), 1, bytes.NewReader(content('a', 1))); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(place, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDirKeepsTheLatest(t *testing.T) {
	t.Parallel()
	place := t.TempDir()
	dir := snapshot.Dir(place)
	// What an interrupted write leaves.
	if err := os.WriteFile(filepath.Join(place, ".20261121T110000.000Z.db.123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range snapshot.Keep + 3 {
		if _, err := dir.Add(t.Context(), at(i), int64(i), bytes.NewReader(content('a', 1))); err != nil {
			t.Fatal(err)
		}
	}
	all, err := dir.List()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != snapshot.Keep || all[0].Revision != snapshot.Keep+2 || all[len(all)-1].Revision != 3 {
		t.Errorf("%d are left, from revision %d to %d", len(all), all[0].Revision, all[len(all)-1].Revision)
	}
	if files := names(t, place); len(files) != snapshot.Keep+1 {
		t.Errorf("in the folder are %v", files)
	}
}

func TestDescriptionOfAnotherSnapshot(t *testing.T) {
	t.Parallel()
	_, err := snapshot.ParseInfo([]byte(`{"name":"../../etc/passwd","time":"2026-11-21T12:00:01Z"}`))
	if want := `read the description of a snapshot: "../../etc/passwd" is not the name of one of 2026-11-21 12:00:01 +0000 UTC`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
