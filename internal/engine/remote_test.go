package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"devctl/internal/engine"
)

// bucket is an S3 bucket on this machine.
type bucket struct {
	*s3mem.Backend
	url string // as devctl:state.backend has it
}

func newBucket(t *testing.T) bucket {
	t.Helper()
	// What Pulumi's CLI takes from its surroundings, as it would from a person's.
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-central-1", "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, value)
	}
	memory := s3mem.New()
	if err := memory.CreateBucket("states"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(memory).Server())
	t.Cleanup(server.Close)
	query := url.Values{"region": {"eu-central-1"}, "endpoint": {server.URL}, "s3ForcePathStyle": {"true"}, "disableSSL": {"true"}}
	return bucket{memory, "s3://states/team?" + query.Encode()}
}

func (b bucket) keys(t *testing.T) []string {
	t.Helper()
	list, err := b.ListBucket("states", nil, gofakes3.ListBucketPage{})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, object := range list.Contents {
		keys = append(keys, object.Key)
	}
	slices.Sort(keys)
	return keys
}

// TestLifeInABucket takes a stack from nothing to nothing with its state in S3, on two machines of one team.
func TestLifeInABucket(t *testing.T) {
	s3 := newBucket(t)
	b := newBench(t)
	b.options.Backend = s3.url
	s := b.open(t, declare(thingNamed("a"), thingNamed("b")))
	if s.Exists() {
		t.Error("a stack exists before there was one")
	}
	if _, err := s.Outputs(t.Context()); !errors.Is(err, engine.ErrNoStack) {
		t.Errorf("outputs of no stack: %v", err)
	}
	up, _ := run(t, s.Up)
	want(t, "changes of the first up", up.Changes, changes(engine.OpCreate, 2))
	if !s.Exists() || !slices.Contains(s3.keys(t), "team/.pulumi/stacks/test/alpha.json") {
		t.Errorf("exists: %v, in the bucket: %q", s.Exists(), s3.keys(t))
	}
	if entries, err := os.ReadDir(filepath.Join(b.options.Home, "state")); err == nil {
		t.Errorf("the folder for states was made too: %v", entries)
	}
	b.noSecrets(t)

	colleague := *b
	colleague.options.Home = filepath.Join(t.TempDir(), "colleague")
	if _, err := engine.Open(t.Context(), colleague.options); err == nil ||
		!strings.Contains(err.Error(), "copy that file to "+filepath.Join(colleague.options.Home, "passphrase")) {
		t.Errorf("without the passphrase: %v", err)
	}
	passphrase, err := os.ReadFile(filepath.Join(b.options.Home, "passphrase"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(colleague.options.Home, "passphrase"), passphrase, 0o600); err != nil {
		t.Fatal(err)
	}
	same, _ := run(t, colleague.open(t, declare(thingNamed("a"), thingNamed("b"))).Up)
	want(t, "changes on another machine", same.Changes, changes(engine.OpSame, 2))
	outputs, err := colleague.open(t, nil).Outputs(t.Context())
	if err != nil || outputs["password"].Value != password {
		t.Errorf("outputs on another machine: %v, %v", outputs, err)
	}

	listed, err := engine.List(t.Context(), b.options)
	if err != nil || len(listed) != 1 || listed[0].Name != "alpha" || listed[0].Resources < 3 {
		t.Errorf("list: %+v, %v", listed, err)
	}
	run(t, b.open(t, nil).Destroy)
	s = b.open(t, nil)
	if err := s.Remove(t.Context()); err != nil || s.Exists() {
		t.Errorf("remove: %v, exists: %v", err, s.Exists())
	}
	if b.open(t, nil).Exists() {
		t.Error("the stack still exists")
	}
}

// TestLockInABucket: who works on the stack is named, and a person can take the lock away.
func TestLockInABucket(t *testing.T) {
	s3 := newBucket(t)
	b := newBench(t)
	b.options.Backend = s3.url
	s := b.open(t, declare(thingNamed("a")))
	run(t, s.Up)
	lock, err := json.Marshal(map[string]any{"pid": 4711, "username": "ann", "hostname": "elsewhere", "timestamp": time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	const key = "team/.pulumi/locks/organization/test/alpha/left-behind.json"
	if _, err := s3.PutObject("states", key, nil, strings.NewReader(string(lock)), int64(len(lock)), nil); err != nil {
		t.Fatal(err)
	}
	_, err = s.Up(t.Context(), nil)
	var locked *engine.LockedError
	if !errors.As(err, &locked) || locked.PID != 4711 || locked.User != "ann" || locked.Host != "elsewhere" || time.Since(locked.Since) > time.Minute {
		t.Fatalf("up of a locked stack: %v", err)
	}
	for _, part := range []string{`stack "alpha" is being changed by process 4711 of ann on elsewhere since `, "s3://states/" + key, "`devctl stack unlock alpha`"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q, want %q in it", err, part)
		}
	}
	if strings.Contains(err.Error(), "endpoint") {
		t.Errorf("the error shows the backend's parameters: %v", err)
	}
	if err := s.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	run(t, s.Up)
}

// TestKilledInABucket: operations that a killed run left pending are cleared, as they are in files.
func TestKilledInABucket(t *testing.T) {
	s3 := newBucket(t)
	b := newBench(t)
	b.options.Backend = s3.url
	release := b.block("b")
	defer release()
	kill := make(chan struct{})
	s := b.open(t, declare(thingNamed("a"), thingNamed("b")), func(o *engine.Options) { o.Kill = kill })
	result := make(chan error, 1)
	go func() {
		_, err := s.Up(t.Context(), nil)
		result <- err
	}()
	<-b.reached
	close(kill)
	if err := <-result; !errors.Is(err, engine.ErrCancelled) {
		t.Fatalf("error: %v", err)
	}
	release()
	s = b.open(t, declare(thingNamed("a"), thingNamed("b")))
	_, err := s.Up(t.Context(), nil)
	var locked *engine.LockedError
	if !errors.As(err, &locked) || !locked.Gone || !strings.Contains(err.Error(), "on this machine, which ended without unlocking it; take the lock s3://states/team/") {
		t.Fatalf("up after a run that was killed: %v", err)
	}
	if err := s.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	summary, events := run(t, s.Up)
	want(t, "changes of the next up", summary.Changes, changes(engine.OpSame, 1, engine.OpCreate, 1))
	noWarnings(t, events)
}

// TestNoAnswerIsNotNo: a bucket that does not answer is no bucket without the stack.
func TestNoAnswerIsNotNo(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(refusing.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	b := newBench(t)
	host, port, err := net.SplitHostPort(refusing.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b.options.Backend = "s3://states?region=eu-central-1&s3ForcePathStyle=true&disableSSL=true&endpoint=http://" + net.JoinHostPort(host, port)
	if _, err := engine.Open(t.Context(), b.options); err == nil || !strings.HasPrefix(err.Error(), `ask s3://states for stack "alpha": `) {
		t.Errorf("error: %v", err)
	}
}

// TestBucketThatHangs: a question to a backend ends with its context.
func TestBucketThatHangs(t *testing.T) {
	done := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-done }))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(done) })
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	b := newBench(t)
	b.options.Backend = "s3://states?region=eu-central-1&s3ForcePathStyle=true&disableSSL=true&endpoint=" + hanging.URL
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	begun := time.Now()
	if _, err := engine.Open(ctx, b.options); err == nil || !strings.HasPrefix(err.Error(), `ask s3://states for stack "alpha": no answer`) || time.Since(begun) > 20*time.Second {
		t.Errorf("error after %v: %v", time.Since(begun), err)
	}
}

// TestFolderElsewhere: a backend of files may be any folder, and a stack is not begun anew in another one.
func TestFolderElsewhere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	elsewhere := filepath.Join(t.TempDir(), "shared states [2]")
	s := b.open(t, declare(thingNamed("a")), func(o *engine.Options) { o.Backend = "file://" + elsewhere })
	run(t, s.Up)
	if _, err := os.Stat(filepath.Join(elsewhere, ".pulumi", "stacks", "test", "alpha.json")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(b.options.Home, "state")); err == nil {
		t.Error("the folder for states was made too")
	}

	back, known, err := engine.Backend(b.options.Home, "test", "alpha")
	if back != "file://"+elsewhere || !known || err != nil {
		t.Errorf("remembers %q, %v, %v", back, known, err)
	}
	_, err = engine.Open(t.Context(), b.options)
	var moved *engine.MovedError
	if !errors.As(err, &moved) || moved.Old != elsewhere || moved.New != filepath.Join(b.options.Home, "state") ||
		!strings.Contains(err.Error(), "`devctl stack import FILE`") {
		t.Fatalf("open with another backend: %v", err)
	}

	state, err := s.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	target := b.open(t, nil, func(o *engine.Options) { o.Moved = true })
	if err := target.Import(t.Context(), state, false); err != nil {
		t.Fatal(err)
	}
	summary, _ := run(t, b.open(t, declare(thingNamed("a"))).Up)
	want(t, "changes after the move", summary.Changes, changes(engine.OpSame, 1))
}

// TestStateOfAnOlderDevctl: its folder of the stack was called otherwise. What the secrets are encrypted with is in the state.
func TestStateOfAnOlderDevctl(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	run(t, b.open(t, declare(thingNamed("a"))).Up)
	if err := os.RemoveAll(filepath.Join(b.options.Home, "stacks")); err != nil {
		t.Fatal(err)
	}
	summary, _ := run(t, b.open(t, declare(thingNamed("a"))).Up)
	want(t, "changes", summary.Changes, changes(engine.OpSame, 1))
	outputs, err := b.open(t, nil).Outputs(t.Context())
	if err != nil || outputs["password"].Value != password {
		t.Errorf("outputs: %v, %v", outputs, err)
	}
}
