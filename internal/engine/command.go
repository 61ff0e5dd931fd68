package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
)

// terminateGrace is how long pulumi may take to write its state after it was told to stop at once.
const terminateGrace = 3 * time.Second

// command runs the pulumi CLI for the Automation API. It differs from the API's own in these ways: the CLI is in a
// process group of its own, so that a terminal's Ctrl-C reaches it once, through us, and not twice (a second SIGINT
// makes pulumi stop at once), and dies with us; a cancelled context asks it to finish and then waits for as long as that
// takes; and what the API asks around an operation without our needing the answer starts no process (see answer).
type command struct {
	path   string
	env    []string
	kill   <-chan struct{}
	exists func(stack string) bool
}

var _ auto.PulumiCommand = (*command)(nil)

// Version is the SDK's: findPulumi made sure that the CLI has the same.
func (c *command) Version() semver.Version { return sdk.Version }

// Run runs pulumi and returns what it printed and its exit code.
func (c *command) Run(ctx context.Context, dir string, stdin io.Reader, stdouts, stderrs []io.Writer, env []string,
	args ...string) (string, string, int, error) {
	if out, known := c.answer(args); known {
		return out, "", 0, nil
	}
	if err := ctx.Err(); err != nil {
		return "", "", -1, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(c.path, append([]string{"--non-interactive"}, lazily(args)...)...)
	cmd.Dir = dir
	cmd.Env = append(append(slices.Clone(c.env), env...), "PULUMI_AUTOMATION_API=true")
	cmd.Stdin = stdin
	cmd.Stdout = io.MultiWriter(append(slices.Clone(stdouts), &stdout)...)
	cmd.Stderr = io.MultiWriter(append(slices.Clone(stderrs), &stderr)...)
	// Without us it has neither program nor providers: whatever it did then would be an error in its state. The kernel
	// takes the end of the thread that started it for our end, so the thread has to stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = terminateGrace // once pulumi is gone, nobody else has a reason to hold its output open
	if err := cmd.Start(); err != nil {
		return "", "", -1, fmt.Errorf("start %s: %w", c.path, err)
	}
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		c.watch(ctx, cmd.Process, done)
	}()
	err := cmd.Wait()
	close(done)
	<-watched
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		fmt.Fprintf(&stderr, "\nerror: pulumi was ended by a signal (%s); run the command again", status.Signal())
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode(), err
}

// lazily has a run look for a provider's plugin when a resource needs it. Beforehand, pulumi would look for those of all resources in
// the state, and would ask GitHub for the newest plugin of a provider that this process serves: half a second, and nobody's
// business. The Automation API has no option for it (pulumi v3.256).
func lazily(args []string) []string {
	if len(args) == 0 || !slices.Contains([]string{"preview", "up", "refresh", "destroy"}, args[0]) {
		return args
	}
	return append(slices.Clone(args), "--skip-plugin-pre-install")
}

// watch stops pulumi when that is asked for, until it is done.
func (c *command) watch(ctx context.Context, p *os.Process, done <-chan struct{}) {
	interrupt := func() { _ = p.Signal(os.Interrupt) } // it fails only when the process is gone
	select {
	case <-done:
		return
	case <-c.kill:
	case <-ctx.Done():
		interrupt()
		select {
		case <-done:
			return
		case <-c.kill:
		}
	}
	// A second signal makes pulumi drop what runs and write down how far it got.
	interrupt()
	select {
	case <-done:
	case <-time.After(terminateGrace):
		_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
	}
}

// answer is what pulumi would say, where asking it is a waste: each process takes 0.2 s and more. Selecting a stack
// only checks that it exists, for every later command names it; and the outputs and the history that the API reads
// after each update go into results that we do not use (Outputs reads the outputs when somebody wants them).
func (c *command) answer(args []string) (stdout string, known bool) {
	switch {
	case len(args) == 4 && slices.Equal(args[:3], []string{"stack", "select", "--stack"}):
		return "", c.exists(args[3])
	case len(args) > 2 && slices.Equal(args[:2], []string{"stack", "output"}):
		return "{}", true
	case len(args) > 2 && slices.Equal(args[:2], []string{"stack", "history"}):
		return "[]", true
	}
	return "", false
}
