package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"devctl/images"
	"devctl/internal/api"
)

const (
	stackName  = "bench"
	prefix     = "198.18.91" // of devctl's network
	barePrefix = "198.18.92" // of the bare script's

	// stopTime is how long a command may take to end when the bench is interrupted.
	stopTime = 30 * time.Second
)

// bench is the stack that is measured, in a project and with a data folder of its own.
type bench struct {
	ctx    context.Context
	dir    string
	images *images.Set
	stood  bool // the stack is up
	built  bool // what its nodes run is built
}

// prepare writes the project, and removes what a bench that was killed has left.
func (b *bench) prepare() error {
	project, err := os.ReadFile("Pulumi.yaml")
	if err != nil {
		return err
	}
	if b.images, err = images.Load(os.DirFS("bin")); err != nil {
		return fmt.Errorf("%w; run `make build`", err)
	}
	return errors.Join(
		os.MkdirAll(filepath.Join(b.dir, "stacks"), 0o755),
		os.WriteFile(filepath.Join(b.dir, "Pulumi.yaml"), project, 0o644),
		b.spec(),
		b.clean(),
	)
}

// spec writes the stack's spec: the shipped one on a network of its own, with texts in it replaced by others.
func (b *bench) spec(fromTo ...string) error {
	data, err := os.ReadFile("stacks/Pulumi.local.yaml")
	if err != nil {
		return err
	}
	text := string(data)
	fromTo = append(fromTo, "198.18.0.0/24", prefix+".0/24")
	for i := 0; i < len(fromTo); i += 2 {
		if strings.Count(text, fromTo[i]) != 1 {
			return fmt.Errorf("stacks/Pulumi.local.yaml does not have %q once any more: look at how the bench changes it", fromTo[i])
		}
		text = strings.Replace(text, fromTo[i], fromTo[i+1], 1)
	}
	return os.WriteFile(b.specFile(stackName), []byte(text), 0o644)
}

func (b *bench) specFile(stack string) string {
	return filepath.Join(b.dir, "stacks", "Pulumi."+stack+".yaml")
}

// clean removes everything in Docker that is the bench's.
func (b *bench) clean() error {
	// Not with b.ctx: what an interrupted run made must go as well.
	free := &bench{ctx: context.Background(), dir: b.dir}
	b.stood = false
	_, err := free.devctl("destroy", "--yes")
	return errors.Join(err, free.bareDown())
}

// stand brings the stack of the shipped spec up, unless it is.
func (b *bench) stand() error {
	if b.stood {
		return nil
	}
	progress("bringing the stack up")
	_, err := b.devctl("up", "--yes")
	b.stood, b.built = err == nil, err == nil
	return err
}

// fromNothing removes the stack, and leaves what the next one needs: images.
func (b *bench) fromNothing() error {
	if !b.built {
		if err := b.stand(); err != nil {
			return err
		}
	}
	return b.destroy()
}

// destroy removes the stack.
func (b *bench) destroy() error {
	_, err := b.devctl("destroy", "--yes")
	b.stood = false
	return err
}

// home is devctl's data folder.
func (b *bench) home() string { return filepath.Join(b.dir, "home") }

// devctl runs bin/devctl and returns what it printed.
func (b *bench) devctl(args ...string) (stdout string, err error) {
	binary, err := filepath.Abs("bin/devctl")
	if err != nil {
		return "", err
	}
	return b.command(binary, append([]string{"--stack", stackName}, args...)...)
}

// status is what `devctl status` says.
func (b *bench) status() (st api.Status, err error) {
	out, err := b.devctl("status", "-o", "json")
	if err != nil {
		return st, err
	}
	return st, json.Unmarshal([]byte(out), &st)
}

// access is the part of `devctl outputs` that a Redis client needs.
type access struct {
	Address  string `json:"address"`
	Port     int    `json:"port"`
	Username string `json:"username"`
	Password string `json:"password"`
}

func (a access) endpoint() string { return fmt.Sprintf("%s:%d", a.Address, a.Port) }

func (b *bench) access() (access, error) {
	out, err := b.devctl("outputs", "-o", "json", "--show-secrets")
	if err != nil {
		return access{}, err
	}
	var outputs struct {
		Redis access `json:"redis"`
	}
	return outputs.Redis, json.Unmarshal([]byte(out), &outputs)
}

// container is the Docker container of a node.
func container(node string) string { return "devctl-" + stackName + "-" + node }

// onNode runs a shell script on a node.
func (b *bench) onNode(node, script string) (string, error) {
	return b.command("docker", "exec", container(node), "sh", "-c", script)
}

// command runs a program in a process group of its own and returns what it wrote to stdout. When the bench is interrupted, so
// is everything that the program started, and nothing of it is left when command returns.
func (b *bench) command(name string, args ...string) (string, error) {
	cmd := exec.CommandContext(b.ctx, name, args...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "DEVCTL_HOME="+b.home())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// Not SIGINT: what a shell starts in the background does not hear of it.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = stopTime
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, &stdout, &stderr)
	}
	return strings.TrimSpace(stdout.String()), nil
}

// progress tells people who wait what is being done.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
