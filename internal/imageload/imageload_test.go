package imageload

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const image = "localhost/devctl/redis:2"

// fake is a podman whose store is a folder: of an archive it loads the images that the archive's lines name. One that runs is
// not removed.
const fake = `#!/bin/sh
cd "$(dirname "$0")" && mkdir -p store && echo "$*" >>calls
case "$1 $2" in
"image exists") test -e "store/$(basename "$3")" ;;
"load --quiet") grep -a '^localhost' "${3#--input=}" | while read -r ref; do : >"store/$(basename "$ref")"; done ;;
"image ls") for tag in $(ls -r store); do echo "localhost/devctl/$tag"; done ;;
"image rm") if [ "$(basename "$3")" = redis:0 ]; then echo "image is in use by a container" >&2; exit 2; fi; rm "store/$(basename "$3")" ;;
*) echo "unknown command" >&2; exit 125 ;;
esac
`

// bench is a node with a fake podman, and a bucket.
type bench struct {
	*testing.T
	dir    string
	loader Loader
	folder string
	told   bytes.Buffer
	answer http.HandlerFunc
}

// archive has so much in it that it comes in more than one piece.
func archive(refs ...string) []byte {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.NoCompression)
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(w, strings.Repeat("layer\n", 1<<18)+strings.Join(refs, "\n")+"\n") // to memory
	_ = w.Close()
	return packed.Bytes()
}

// serve answers with an archive and the hash of one.
func serve(data, hashed []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		sum := sha256.Sum256(hashed)
		w.Header().Set("X-Amz-Meta-Sha256", hex.EncodeToString(sum[:]))
		_, _ = w.Write(data)
	}
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, dir: t.TempDir(), answer: serve(archive(image), archive(image))}
	if err := os.WriteFile(filepath.Join(b.dir, "podman"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/images/redis-2.tar.gz" {
			t.Errorf("%s is asked for", r.URL.Path)
		}
		b.answer(w, r)
	}))
	t.Cleanup(server.Close)
	b.folder = server.URL + "/images"
	b.loader = Loader{
		Open: func(ctx context.Context, url string) (*http.Response, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return nil, err
			}
			resp, err := http.DefaultClient.Do(req)
			if err == nil && resp.StatusCode != http.StatusOK {
				_ = resp.Body.Close()
				err = fmt.Errorf("answer %d", resp.StatusCode)
			}
			return resp, err
		},
		Podman: filepath.Join(b.dir, "podman"), Dir: filepath.Join(b.dir, "archives"), Stall: time.Minute,
		Log: slog.New(slog.NewTextHandler(&b.told, nil)),
	}
	return b
}

// calls are podman's since they were asked for last.
func (b *bench) calls() string {
	file := filepath.Join(b.dir, "calls")
	text, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		b.Fatal(err)
	}
	return strings.ReplaceAll(string(text), b.dir, "")
}

// clean wants no archive to be left on the disk.
func (b *bench) clean() {
	b.Helper()
	if left, err := os.ReadDir(b.loader.Dir); err != nil || len(left) > 0 {
		b.Errorf("left in the folder for archives: %v, %v", left, err)
	}
}

func TestLoadOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := b.loader.Load(t.Context(), image, b.folder); err != nil {
		t.Fatal(err)
	}
	want := "image exists " + image + "\nload --quiet --input=/archives/redis.tar\nimage exists " + image +
		"\nimage ls --sort=created --filter=reference=localhost/devctl/redis --format={{.Repository}}:{{.Tag}}\n"
	if diff := cmp.Diff(want, b.calls()); diff != "" {
		t.Errorf("podman is called (-want +got):\n%s", diff)
	}
	for _, told := range []string{"fetching of=", "msg=loading", "msg=loaded"} {
		if !strings.Contains(b.told.String(), told) {
			t.Errorf("told nothing with %q:\n%s", told, b.told.String())
		}
	}
	b.clean()
	b.answer = func(http.ResponseWriter, *http.Request) { t.Error("the bucket is asked for what is there") }
	if err := b.loader.Load(t.Context(), image, b.folder); err != nil {
		t.Error(err)
	}
	if got := b.calls(); got != "image exists "+image+"\n" {
		t.Errorf("podman is called:\n%s", got)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	moved := 0
	w := b.loader.progress(8<<20, func() { moved++ })
	for range 8 {
		if n, err := w.Write(make([]byte, 1<<20)); n != 1<<20 || err != nil {
			t.Fatal(n, err)
		}
	}
	var got []string
	for line := range strings.Lines(b.told.String()) {
		_, fields, _ := strings.Cut(strings.TrimSpace(line), "msg=")
		got = append(got, fields)
	}
	want := []string{`fetching of="8 MB"`, `fetching done="2 MB" of="8 MB"`, `fetching done="4 MB" of="8 MB"`, `fetching done="6 MB" of="8 MB"`}
	if diff := cmp.Diff(want, got); diff != "" || moved != 8 {
		t.Errorf("moved %d times, told (-want +got):\n%s", moved, diff)
	}
}

// TestOldImagesGo: the wanted one stays, the newest other one, and what runs.
func TestOldImagesGo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	all := archive("localhost/devctl/redis:0", "localhost/devctl/redis:1", "localhost/devctl/redis:11", image, "localhost/devctl/redis:3")
	b.answer = serve(all, all)
	if err := b.loader.Load(t.Context(), image, b.folder); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(b.dir, "store", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if diff := cmp.Diff([]string{"redis:0", "redis:2", "redis:3"}, left); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	if !strings.Contains(b.told.String(), "in use by a container") {
		t.Errorf("nothing is told of the image that stays:\n%s", b.told.String())
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	whole := archive(image)
	for want, answer := range map[string]http.HandlerFunc{
		"fetch URL: answer 403":                      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"fetch URL: the bucket has no SHA-256 of it": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(whole) },
		"fetch URL: its SHA-256 is ":                 serve(archive("another"), whole),
		"URL has no image " + image + " in it":       serve(archive("localhost/devctl/etcd:1"), archive("localhost/devctl/etcd:1")),
		"fetch URL: unexpected EOF": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000000000")
			serve(whole, whole)(w, r)
		},
		"fetch URL: nothing came for too long": func(w http.ResponseWriter, r *http.Request) {
			serve(whole[:1000], whole)(w, r)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.answer = answer
			b.loader.Stall = time.Second
			err := b.loader.Load(t.Context(), image, b.folder)
			if err == nil || !strings.HasPrefix(strings.ReplaceAll(err.Error(), b.folder+"/redis-2.tar.gz", "URL"), want) {
				t.Errorf("error = %v, want %s", err, want)
			}
			b.clean()
			// What failed may be tried again.
			b.answer = serve(whole, whole)
			if err := b.loader.Load(t.Context(), image, b.folder); err != nil {
				t.Errorf("the second time: %v", err)
			}
		})
	}
}

// TestPodmanFails: no answer about an image is not "no".
func TestPodmanFails(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	broken := "#!/bin/sh\necho 'cannot open the store' >&2\nexit 125\n"
	if err := os.WriteFile(b.loader.Podman, []byte(broken), 0o755); err != nil {
		t.Fatal(err)
	}
	b.answer = func(http.ResponseWriter, *http.Request) { t.Error("the bucket is asked") }
	err := b.loader.Load(t.Context(), image, b.folder)
	if want := "podman image exists " + image + ": exit status 125: cannot open the store"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}
