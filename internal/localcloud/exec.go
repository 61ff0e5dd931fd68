package localcloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	"golang.org/x/sync/errgroup"
)

// Size is that of a terminal, in characters.
type Size struct{ Width, Height uint }

// ExecOptions says what to run on a node.
type ExecOptions struct {
	Argv   []string
	Stdin  io.Reader // may be nil
	Stdout io.Writer
	Stderr io.Writer // unused with TTY
	TTY    bool
	// Sizes brings the terminal's size, at the start and whenever it changes. It may be nil.
	Sizes <-chan Size
}

// Exec runs a command on a node of the stack and returns its exit code.
func Exec(ctx context.Context, stack, node string, o ExecOptions) (exit int, err error) {
	c, err := Connect()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.exec(ctx, stack, node, o)
}

func (c *Cloud) exec(ctx context.Context, stack, node string, o ExecOptions) (exit int, err error) {
	nodes, err := c.Nodes(ctx, stack, "")
	if err != nil {
		return 0, err
	}
	for _, n := range nodes {
		if n.Name != node {
			continue
		}
		if !n.Running {
			return 0, fmt.Errorf("node %q of stack %q is not running; run `devctl up -s %s` to bring it back", node, stack, stack)
		}
		exit, err := c.execIn(ctx, n.ID, o.throughShell(node))
		return exit, c.explain(ctx, fmt.Sprintf("run %q on node %s", strings.Join(o.Argv, " "), node), err)
	}
	return 0, fmt.Errorf("stack %q has no node %q; run `devctl status -s %s` to see its nodes", stack, node, stack)
}

// throughShell lets a shell become the command: a command that is not there is then what people know, exit code 127 and a
// line on stderr, and not an error of the container runtime. The node's name begins the line.
func (o ExecOptions) throughShell(node string) ExecOptions {
	o.Argv = append([]string{"/bin/sh", "-c", `exec "$@"`, node}, o.Argv...)
	return o
}

// run runs a command in a container and returns what it printed, errors included, and its exit code.
func (c *Cloud) run(ctx context.Context, id string, argv ...string) (output string, exit int, err error) {
	var printed bytes.Buffer
	exit, err = c.execIn(ctx, id, ExecOptions{Argv: argv, Stdout: &printed, Stderr: &printed})
	return printed.String(), exit, err
}

// execIn runs a command in a container. When it ends by ctx, the command may go on there.
func (c *Cloud) execIn(ctx context.Context, id string, o ExecOptions) (exit int, err error) {
	options := container.ExecOptions{
		Cmd: o.Argv, Tty: o.TTY, AttachStdin: o.Stdin != nil, AttachStdout: true, AttachStderr: true,
	}
	if o.TTY {
		options.Env = []string{"TERM=xterm-256color"}
	}
	created, err := c.docker.ContainerExecCreate(ctx, id, options)
	if err != nil {
		return 0, err
	}
	streams, err := c.docker.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{Tty: o.TTY})
	if err != nil {
		return 0, err
	}
	// Closing the connection is what ends the copying below when ctx does.
	unwatch := context.AfterFunc(ctx, streams.Close)
	defer func() { unwatch(); streams.Close() }()

	if o.Stdin != nil {
		// Nobody waits for stdin: a terminal's read cannot be ended, and the command may not want all of it.
		go func() {
			_, _ = io.Copy(streams.Conn, o.Stdin)
			_ = streams.CloseWrite()
		}()
	}
	done := make(chan struct{})
	var copying errgroup.Group
	copying.Go(func() error { return c.resize(ctx, created.ID, o.Sizes, done) })
	copying.Go(func() error {
		defer close(done)
		if o.TTY {
			_, err := io.Copy(o.Stdout, streams.Reader)
			return err
		}
		_, err := stdcopy.StdCopy(o.Stdout, o.Stderr, streams.Reader)
		return err
	})
	if err := copying.Wait(); err != nil && ctx.Err() == nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	result, err := c.docker.ContainerExecInspect(ctx, created.ID)
	if err != nil {
		return 0, err
	}
	if result.Running {
		return 0, errors.New("the connection to the command was lost")
	}
	return result.ExitCode, nil
}

// resize tells Docker the size of the terminal until done.
func (c *Cloud) resize(ctx context.Context, exec string, sizes <-chan Size, done <-chan struct{}) error {
	for sizes != nil {
		select {
		case size, more := <-sizes:
			if !more {
				return nil
			}
			// The command may be over already, which the other stream tells.
			_ = c.docker.ContainerExecResize(ctx, exec, container.ResizeOptions{Width: size.Width, Height: size.Height})
		case <-done:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
