package cli

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// TestTerminalIsAskedNothing starts a program with all that devctl consists of on a terminal that never answers.
func TestTerminalIsAskedNothing(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "CI=")
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	printed, err := io.ReadAll(terminal)
	if err != nil && !errors.Is(err, syscall.EIO) { // how a terminal ends whose program has
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %q", err, printed)
	}
	if strings.Contains(string(printed), "\x1b") {
		t.Errorf("it asks the terminal: %q", printed)
	}
}
