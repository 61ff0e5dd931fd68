package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestFollow: only a complete list that differs is acted upon; then the file has it, and whoever reads the file hears of it too.
func TestFollow(t *testing.T) {
	t.Parallel()
	const before, after = "main-1=10.0.0.1,main-2=10.0.0.2,main-3=10.0.0.3", "main-1=10.0.0.1,main-2=10.0.0.22,main-3=10.0.0.3"
	env := map[string]string{keyRole: "worker", keyNode: "worker-12345678", keyAddress: "10.0.0.9", keyMainNames: "main-1,main-2,main-3", keyMains: before}
	file := write(t, filepath.Join(t.TempDir(), "platform.env"), "A=1\nDEVCTL_MAINS="+before+"\nB=2\n")
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCloud{mains: before}
		ended := make(chan error, 2)
		go func() { ended <- follow(t.Context(), c, from(env), file, slog.New(slog.DiscardHandler)) }()
		go func() { ended <- followFile(t.Context(), from(env), file) }()
		for _, mains := range []string{before, "", "main-1=10.0.0.1", "main-1=10.0.0.1,main-2=10.0.0.2,main-3=10.0.0.2", "nonsense"} {
			c.say(mains, nil)
			time.Sleep(5 * time.Minute)
			synctest.Wait()
			if len(ended) > 0 {
				t.Fatalf("%q: ended with %v", mains, <-ended)
			}
		}
		c.say(after, errors.New("timeout"))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if len(ended) > 0 {
			t.Fatalf("no answer: ended with %v", <-ended)
		}
		c.say(after, nil)
		for range 2 {
			if err := <-ended; !errors.Is(err, errMainsMoved) {
				t.Errorf("ended with %v", err)
			}
		}
	})
	if text, err := os.ReadFile(file); err != nil || string(text) != "A=1\nB=2\nDEVCTL_MAINS="+after+"\n" {
		t.Errorf("the file has %q, %v", text, err)
	}
}

// TestFixedMainsAreNotFollowed: where addresses are in the config nobody asks for them.
func TestFixedMainsAreNotFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		env := from(map[string]string{keyMains: "main-1=10.0.0.1"})
		if err := followRegistry(ctx, env, "/none", slog.New(slog.DiscardHandler)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
		if err := followFile(ctx, env, "/none"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
	})
}
