package engine_test

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"devctl/internal/engine"
)

func TestHold(t *testing.T) {
	t.Parallel()
	o := engine.Options{Project: "test", Stack: "alpha", Home: t.TempDir()}
	release, err := engine.Hold(o, "devctl up")
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	_, err = engine.Hold(o, "devctl destroy")
	var held *engine.LockedError
	if !errors.As(err, &held) || time.Since(held.Since) > time.Minute {
		t.Fatalf("a stack that is held: %v", err)
	}
	want(t, "error", err.Error(), fmt.Sprintf(`stack "alpha" is being changed by process %d of %s on %s since %s (devctl up); wait for it, or end it with Ctrl-C`,
		os.Getpid(), who.Username, host, held.Since.Format(time.RFC3339)))

	other := o
	other.Stack = "beta"
	releaseOther, err := engine.Hold(other, "devctl up")
	if err != nil {
		t.Errorf("another stack: %v", err)
	} else {
		releaseOther()
	}
	release()
	if release, err = engine.Hold(o, "devctl destroy"); err != nil { // what the first one wrote is still in the file
		t.Fatalf("a stack that was held: %v", err)
	}
	if _, err := engine.Hold(o, "devctl up"); err == nil || !strings.Contains(err.Error(), "(devctl destroy)") {
		t.Errorf("a stack that is held by another command: %v", err)
	}

	// Between taking the lock and signing it there is a moment.
	if err := os.Truncate(filepath.Join(o.Home, "locks", "test", "alpha"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Hold(o, "devctl up"); err == nil || !strings.Contains(err.Error(), `stack "alpha" is being changed by a process that holds `) {
		t.Errorf("a stack that somebody has just begun to hold: %v", err)
	}
	release()

	for _, name := range []string{"", "..", "a/b"} {
		bad := o
		bad.Stack = name
		if _, err := engine.Hold(bad, "devctl up"); err == nil || !strings.Contains(err.Error(), "is no name for a stack") {
			t.Errorf("a stack called %q: %v", name, err)
		}
	}
}
