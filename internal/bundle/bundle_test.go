package bundle

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"devctl/internal/api"
)

const (
	name  = "redis-0123456789ab.tar.gz"
	image = "localhost/devctl/redis:0123456789ab"
)

var archive = bytes.Repeat([]byte("layers "), 1<<16)

// buckets is a service with one bucket, and what it refuses.
type buckets struct {
	memory *s3mem.Backend
	url    string
	refuse string // method whose requests fail
	put    http.Header
}

func serve(t *testing.T) *buckets {
	t.Helper()
	b := &buckets{memory: s3mem.New()}
	if err := b.memory.CreateBucket("machines"); err != nil {
		t.Fatal(err)
	}
	fake := gofakes3.New(b.memory).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == b.refuse {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if r.Method == http.MethodPut {
			b.put = r.Header.Clone()
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

func (b *buckets) content(t *testing.T, key string) []byte {
	t.Helper()
	object, err := b.memory.GetObject("machines", key, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = object.Contents.Close() }()
	data, err := io.ReadAll(object.Contents)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// unpacked is what an archive says.
func unpacked(t *testing.T, packed []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// store counts how often it had to make an archive.
func (b *buckets) store(t *testing.T) (s *Store, saved *int) {
	t.Helper()
	saved = new(int)
	return &Store{
		Dir: filepath.Join(t.TempDir(), "bundles"), Images: []string{"localhost/devctl/etcd:1", image}, Endpoint: b.url,
		Save: func(_ context.Context, ref string, w io.Writer, _ func(string)) error {
			*saved++
			if ref != image {
				t.Errorf("an archive of %s is wanted", ref)
			}
			_, err := w.Write(archive)
			return err
		},
		SpacesKeys: func(context.Context) (id, secret string, err error) { return "id", "secret", nil },
	}, saved
}

func at(key string) Location {
	return Location{Platform: api.PlatformDigitalOcean, Region: "fra1", Bucket: "machines", Key: key}
}

func left(t *testing.T, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func quiet(string) {}

func TestUploadOnce(t *testing.T) {
	t.Parallel()
	b := serve(t)
	s, saved := b.store(t)
	where := at("images/" + name)
	if found, err := s.Exists(t.Context(), where); err != nil || found {
		t.Fatalf("Exists before = %v, %v", found, err)
	}
	var told []string
	for range 2 {
		if err := s.Upload(t.Context(), where, image, func(line string) { told = append(told, line) }); err != nil {
			t.Fatal(err)
		}
	}
	if got := unpacked(t, b.content(t, where.Key)); !bytes.Equal(got, archive) {
		t.Errorf("%d bytes are in the bucket, want the archive's %d", len(got), len(archive))
	}
	if found, err := s.Exists(t.Context(), where); err != nil || !found {
		t.Errorf("Exists after = %v, %v", found, err)
	}
	if *saved != 1 || len(told) != 1 || !strings.Contains(told[0], "uploading 0 MB to machines/images/"+name) {
		t.Errorf("made %d archives and told %q, want one of each", *saved, told)
	}
	if files := left(t, s); len(files) != 0 {
		t.Errorf("%v is left on this machine", files)
	}
	// Droplets ask without credentials, and check what they get.
	sum := sha256.Sum256(b.content(t, where.Key))
	want := []string{"public-read", hex.EncodeToString(sum[:])}
	if got := []string{b.put.Get("X-Amz-Acl"), b.put.Get("X-Amz-Meta-Sha256")}; !slices.Equal(got, want) {
		t.Errorf("uploaded with %q, want %q", got, want)
	}
}

// TestUploadOnAWS: with the credentials of the environment.
func TestUploadOnAWS(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	b := serve(t)
	s, _ := b.store(t)
	s.SpacesKeys = nil
	where := Location{Platform: api.PlatformAWS, Region: "eu-central-1", Bucket: "machines", Key: name}
	if err := s.Upload(t.Context(), where, image, quiet); err != nil {
		t.Fatal(err)
	}
	if got := unpacked(t, b.content(t, name)); !bytes.Equal(got, archive) {
		t.Errorf("%d bytes are in the bucket, want the archive's %d", len(got), len(archive))
	}
	if acl := b.put.Get("X-Amz-Acl"); acl != "" {
		t.Errorf("uploaded for %q: the bucket knows no such lists", acl)
	}
}

// TestUploadGoesOn: an archive that was not uploaded is not made again.
func TestUploadGoesOn(t *testing.T) {
	t.Parallel()
	b := serve(t)
	s, saved := b.store(t)
	where := at(name)
	b.refuse = http.MethodPut
	err := s.Upload(t.Context(), where, image, quiet)
	if err == nil || !strings.HasPrefix(err.Error(), "upload image bundle to machines/"+name+": ") ||
		!strings.HasSuffix(err.Error(), "; the archive is kept in "+filepath.Join(s.Dir, name)+", `devctl up` goes on from there") {
		t.Fatalf("error = %v", err)
	}
	b.refuse = ""
	if err := s.Upload(t.Context(), where, image, quiet); err != nil {
		t.Fatal(err)
	}
	if *saved != 1 {
		t.Errorf("made the archive %d times", *saved)
	}
}

// TestHalfAnArchiveIsNone: what Docker did not finish is not uploaded, now or later.
func TestHalfAnArchiveIsNone(t *testing.T) {
	t.Parallel()
	b := serve(t)
	s, _ := b.store(t)
	s.Save = func(_ context.Context, _ string, w io.Writer, _ func(string)) error {
		_, err := w.Write(archive[:100])
		return errors.Join(errors.New("the daemon has gone"), err)
	}
	err := s.Upload(t.Context(), at(name), image, quiet)
	if want := "make image bundle of " + image + ": the daemon has gone"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
	if files := left(t, s); len(files) != 0 {
		t.Errorf("%v is left on this machine", files)
	}
	if found, err := s.Exists(t.Context(), at(name)); err != nil || found {
		t.Errorf("Exists = %v, %v", found, err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	b := serve(t)
	s, saved := b.store(t)
	err := s.Upload(t.Context(), at("images/redis-ffffffffffff.tar.gz"), "localhost/devctl/redis:ffffffffffff", quiet)
	if want := "upload machines/images/redis-ffffffffffff.tar.gz: this devctl makes no localhost/devctl/redis:ffffffffffff"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
	elsewhere := at(name)
	elsewhere.Platform = "azure"
	err = s.Upload(t.Context(), elsewhere, image, quiet)
	if want := `open bucket machines: no cloud is called "azure"`; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
	s.SpacesKeys = func(context.Context) (id, secret string, err error) {
		return "", "", errors.New("there is no key to Spaces")
	}
	if err := s.Upload(t.Context(), at(name), image, quiet); err == nil || !strings.Contains(err.Error(), "there is no key to Spaces") {
		t.Errorf("error = %v, want it to say that there is no key", err)
	}
	// No answer is not "not there".
	b.refuse = http.MethodHead
	s.SpacesKeys = func(context.Context) (id, secret string, err error) { return "id", "secret", nil }
	if _, err := s.Exists(t.Context(), at(name)); err == nil || !strings.HasPrefix(err.Error(), "look for image bundle machines/"+name+": ") {
		t.Errorf("error = %v, want it to tell that nobody knows", err)
	}
	if *saved != 0 {
		t.Errorf("made %d archives for nothing", *saved)
	}
}
