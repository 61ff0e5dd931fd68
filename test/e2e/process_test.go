package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// process is a devctl that runs while the test does something to it.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	said     output    // stdout and stderr
	keyboard io.Writer // of its terminal, nil without one
	over     chan struct{}
}

// output is what a running command has printed so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start starts devctl on this stack. It is killed when the test ends before it does.
func (s *stack) start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: s.command(context.Background(), args...), over: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	// The way a shell starts it: a signal to it is a signal to it alone.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.follow(func() {})
	return p
}

// startOnTerminal is start on a terminal of its own, with somebody at the keyboard.
func (s *stack) startOnTerminal(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: s.command(context.Background(), args...), over: make(chan struct{})}
	p.cmd.Env = append(p.cmd.Env, "TERM=xterm", "NO_COLOR=1")
	terminal, err := pty.StartWithSize(p.cmd, &pty.Winsize{Rows: 40, Cols: 120})
	if err != nil {
		t.Fatal(err)
	}
	p.keyboard = terminal
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		_, _ = io.Copy(&p.said, terminal) // it ends with an error, as a terminal does that nobody has open any more
	}()
	p.follow(func() {
		<-shown
		_ = terminal.Close()
	})
	return p
}

// follow waits for the end, and sees to it that it comes. ended is called then.
func (p *process) follow(ended func()) {
	go func() {
		defer close(p.over)
		_ = p.cmd.Wait() // end reads the exit code
		ended()
	}()
	p.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.over
	})
}

// types presses keys.
func (p *process) types(keys string) {
	p.t.Helper()
	if _, err := io.WriteString(p.keyboard, keys); err != nil {
		p.t.Fatalf("type %q: %v\n%s", keys, err, &p.said)
	}
}

// engines are the pulumi processes that devctl has started.
func (p *process) engines() []int {
	p.t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	var pids []int
	for _, list := range lists {
		children, _ := os.ReadFile(list) // a thread that has ended has none
		for _, child := range strings.Fields(string(children)) {
			name, _ := os.ReadFile(filepath.Join("/proc", child, "comm"))
			if pid, err := strconv.Atoi(child); err == nil && strings.TrimSpace(string(name)) == "pulumi" {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// until waits for the moment, which has to come before devctl ends.
func (p *process) until(what string, timeout time.Duration, moment func() bool) {
	p.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(timeout); !moment(); {
		select {
		case <-tick.C:
		case <-p.over:
			p.t.Fatalf("devctl ended with exit code %d before %s:\n%s", p.cmd.ProcessState.ExitCode(), what, &p.said)
		case <-deadline:
			p.t.Fatalf("not within %v: %s:\n%s", timeout, what, &p.said)
		}
	}
}

// saysOrEnds waits for devctl to say something, or to end.
func (p *process) saysOrEnds(text string, timeout time.Duration) {
	p.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(timeout); !strings.Contains(p.said.String(), text); {
		select {
		case <-tick.C:
		case <-p.over:
			return
		case <-deadline:
			p.t.Fatalf("not within %v: devctl says %q:\n%s", timeout, text, &p.said)
		}
	}
}

// signal sends a signal. That devctl has ended meanwhile is for end to judge.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("%v: %v\n%s", s, err, &p.said)
	}
}

// end waits for devctl to end and wants this exit code (-1 is killed) and these texts.
func (p *process) end(timeout time.Duration, code int, texts ...string) {
	p.t.Helper()
	begun := time.Now()
	select {
	case <-p.over:
		p.t.Logf("devctl ended %v later", time.Since(begun).Round(10*time.Millisecond))
	case <-time.After(timeout):
		p.t.Fatalf("devctl runs on after %v:\n%s", timeout, &p.said)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit code %d, want %d:\n%s", got, code, &p.said)
	}
	for _, text := range texts {
		if !strings.Contains(p.said.String(), text) {
			p.t.Errorf("devctl does not say %q:\n%s", text, &p.said)
		}
	}
}
