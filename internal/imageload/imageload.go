// Package imageload gets a container image from a stack's bucket into podman's store. It is for a process of its own, which
// ends with that: an archive is more than a hundred megabytes, and goes through the disk, not through memory.
package imageload

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"devctl/internal/api"
)

// headerSHA256 is how buckets tell the metadata that package bundle gives an archive.
const headerSHA256 = "X-Amz-Meta-Sha256"

// kept is how many images of one service stay in the store: the one that is wanted, and the one that it takes the place of.
const kept = 2

// Loader loads images.
type Loader struct {
	// Open asks for an object. Its body comes as it is read, for as long as the context lives.
	Open   func(ctx context.Context, url string) (*http.Response, error)
	Podman string        // program
	Dir    string        // for an archive until it is loaded
	Stall  time.Duration // for how long nothing may come
	Log    *slog.Logger
}

// Load makes sure that podman has the image; one that it has is asked nobody for. folder is the URL of the folder with its
// archive. When it fails everything is as before, and it may be tried again.
func (l Loader) Load(ctx context.Context, image, folder string) error {
	found, err := l.has(ctx, image)
	if err != nil || found {
		return err
	}
	started := time.Now()
	service, _, _ := strings.Cut(path.Base(image), ":")
	file := filepath.Join(l.Dir, service+".tar") // the same for all versions: what a crash leaves is overwritten
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return fmt.Errorf("make a folder for archives: %w", err)
	}
	url := folder + "/" + api.ImageArchive(image)
	err = l.fetch(ctx, url, file)
	defer func() { _ = os.Remove(file) }() // only space is lost, until the next time
	if err != nil {
		return fmt.Errorf("fetch %s: %w", url, err)
	}
	l.Log.Info("loading", "image", image)
	if _, err := l.podman(ctx, "load", "--quiet", "--input="+file); err != nil {
		return err
	}
	if found, err = l.has(ctx, image); err == nil && !found {
		err = fmt.Errorf("%s has no image %s in it", url, image)
	}
	if err != nil {
		return err
	}
	l.Log.Info("loaded", "image", image, "took", time.Since(started).Round(time.Second))
	return l.prune(ctx, image)
}

func (l Loader) has(ctx context.Context, image string) (bool, error) {
	_, err := l.podman(ctx, "image", "exists", image)
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) && failed.ExitCode() == 1 {
		return false, nil
	}
	return err == nil, err
}

var errStalled = errors.New("nothing came for too long")

// fetch writes an object to a file, unpacked, and compares what came with its hash.
func (l Loader) fetch(ctx context.Context, url, file string) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(l.Stall, func() { cancel(errStalled) })
	defer stalled.Stop()
	defer func() {
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
	}()
	resp, err := l.Open(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	want := resp.Header.Get(headerSHA256)
	if want == "" {
		return errors.New("the bucket has no SHA-256 of it")
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	hash := sha256.New()
	arriving := io.MultiWriter(hash, l.progress(resp.ContentLength, func() { stalled.Reset(l.Stall) }))
	// Unpacked here: podman 4.3 was seen to take no packed archive from a file.
	unpacked, err := gzip.NewReader(io.TeeReader(resp.Body, arriving))
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, unpacked); err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != want {
		return fmt.Errorf("its SHA-256 is %s, and should be %s", got, want)
	}
	return nil
}

// progress tells after each quarter how much has come; size is -1 where nobody knows. moved is called whenever something came.
func (l Loader) progress(size int64, moved func()) io.Writer {
	l.Log.Info("fetching", "of", megabytes(size))
	var done, told int64
	return writer(func(p []byte) (int, error) {
		moved()
		done += int64(len(p))
		if quarter := done * 4 / max(size, 1); size > 0 && quarter > told && done < size {
			told = quarter
			l.Log.Info("fetching", "done", megabytes(done), "of", megabytes(size))
		}
		return len(p), nil
	})
}

func megabytes(bytes int64) string { return fmt.Sprintf("%d MB", bytes>>20) }

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// prune removes the oldest images of the service: those that are neither wanted, nor were until now, nor run.
func (l Loader) prune(ctx context.Context, image string) error {
	repository := image[:strings.LastIndex(image, ":")]
	list, err := l.podman(ctx, "image", "ls", "--sort=created", "--filter=reference="+repository, "--format={{.Repository}}:{{.Tag}}")
	if err != nil {
		return err
	}
	stay := 1
	for _, old := range strings.Fields(list) { // newest first
		if old == image {
			continue
		}
		if stay++; stay <= kept {
			continue
		}
		if _, err := l.podman(ctx, "image", "rm", old); err != nil {
			l.Log.Info("an old image stays", "reason", err)
		}
	}
	return nil
}

// podman runs it, and returns what it says.
func (l Loader) podman(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, l.Podman, args...)
	var out, wrong bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &wrong
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("podman %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(wrong.String()))
	}
	return out.String(), nil
}
