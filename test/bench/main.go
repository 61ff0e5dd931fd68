// Command bench measures what devctl promises, as ratios and sizes taken in one run on one machine. Run it with
// `make bench`, or one part of it with `go run ./test/bench previews` or `… up`. It makes no verdict of noise: it prints
// every run, the medians, and the bound each is held to.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	stackName  = "bench"
	prefix     = "198.18.91" // of devctl's network
	barePrefix = "198.18.92" // of the bare script's
	runs       = 5

	// idleTime is how long nothing is asked of a stack before its agents count as idle.
	idleTime = time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	work := run
	if len(os.Args) == 4 && os.Args[1] == bareEngine {
		work = func(ctx context.Context) error { return runBareEngine(ctx, os.Args[2], os.Args[3]) }
	}
	if err := work(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "devctl-bench-")
	if err != nil {
		return err
	}
	b := bench{ctx: ctx, dir: dir}
	defer func() { err = errors.Join(err, b.clean()) }()
	if err := b.prepare(); err != nil {
		return err
	}

	part := ""
	if len(os.Args) > 1 {
		part = os.Args[1]
	}
	if part == "" || part == "previews" {
		if err := b.previews(); err != nil {
			return err
		}
	}
	if part == "" || part == "up" {
		return b.up()
	}
	return nil
}

// up measures the local stack.
func (b bench) up() error {
	// The first up builds the images, which is not what is measured.
	if _, err := b.devctl("up", "--yes"); err != nil {
		return err
	}
	if err := b.agentMemory(); err != nil {
		return err
	}
	return b.upAgainstBare()
}

type bench struct {
	ctx context.Context
	dir string
}

// prepare writes a project with the shipped spec on a network of its own.
func (b bench) prepare() error {
	spec, err := os.ReadFile("stacks/Pulumi.local.yaml")
	if err != nil {
		return err
	}
	project, err := os.ReadFile("Pulumi.yaml")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(b.dir, "stacks"), 0o755); err != nil {
		return err
	}
	text := strings.ReplaceAll(string(spec), "198.18.0.0/24", prefix+".0/24")
	return errors.Join(
		os.WriteFile(filepath.Join(b.dir, "Pulumi.yaml"), project, 0o644),
		os.WriteFile(filepath.Join(b.dir, "stacks", "Pulumi."+stackName+".yaml"), []byte(text), 0o644),
	)
}

func (b bench) clean() error {
	// Not b.ctx: what an interrupted run made must go as well.
	b.ctx = context.Background()
	_, err := b.devctl("destroy", "--yes")
	_, bare := b.command("test/bench/bare-up.sh", "down")
	return errors.Join(err, bare, os.RemoveAll(b.dir))
}

// upAgainstBare takes turns, so that a machine whose speed drifts is fair to both.
func (b bench) upAgainstBare() error {
	image, err := b.inspect("{{.Image}}")
	if err != nil {
		return err
	}
	artifacts, err := b.inspect(`{{range .Mounts}}{{if eq .Destination "/usr/lib/devctl"}}{{.Name}}{{end}}{{end}}`)
	if err != nil {
		return err
	}
	redis, err := b.command("docker", "exec", b.node(), "podman", "ps", "--filter", "name=redis-1", "--format", "{{.Image}}")
	if err != nil {
		return err
	}
	var ours, bare, ratios []float64
	for i := range runs {
		if _, err := b.devctl("destroy", "--yes"); err != nil {
			return err
		}
		up, err := b.devctl("up", "--yes")
		if err != nil {
			return err
		}
		if _, err := b.devctl("destroy", "--yes"); err != nil {
			return err
		}
		script, err := b.time(func() error {
			_, err := b.command("test/bench/bare-up.sh", "up", image, artifacts, redis, barePrefix)
			return err
		})
		if err != nil {
			return err
		}
		if _, err := b.command("test/bench/bare-up.sh", "down"); err != nil {
			return err
		}
		ours, bare, ratios = append(ours, up.Seconds()), append(bare, script.Seconds()), append(ratios, up.Seconds()/script.Seconds())
		fmt.Printf("run %d: devctl up %.1f s, bare script %.1f s, ratio %.2f\n", i+1, ours[i], bare[i], ratios[i])
	}
	fmt.Printf("devctl up against the bare script: %.1f s / %.1f s, median ratio %.2f (wanted: at most 1.5)\n",
		median(ours), median(bare), median(ratios))
	return nil
}

// agentMemory prints what the idle agent of every role has resident, as the kernel counts it.
func (b bench) agentMemory() error {
	select {
	case <-time.After(idleTime):
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
	for _, node := range []string{"main-1", "worker-1", "data-1"} {
		rollup, err := b.command("docker", "exec", "devctl-"+stackName+"-"+node, "sh", "-c",
			"cat /proc/$(systemctl show --property MainPID --value devctl-agent.service)/smaps_rollup")
		if err != nil {
			return err
		}
		private := kilobytes(rollup, "Private_Clean:") + kilobytes(rollup, "Private_Dirty:")
		fmt.Printf("agent on %s: %.1f MB resident (wanted: at most 20), %.1f MB private (wanted: at most 6), %.1f MB anonymous\n",
			node, kilobytes(rollup, "Rss:")/1000, private/1000, kilobytes(rollup, "Anonymous:")/1000)
	}
	return nil
}

func kilobytes(rollup, field string) float64 {
	for line := range strings.Lines(rollup) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			n, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return n * 1.024
		}
	}
	return 0
}

func (b bench) node() string { return "devctl-" + stackName + "-data-1" }

func (b bench) inspect(format string) (string, error) {
	return b.command("docker", "inspect", "--format", format, b.node())
}

// devctl runs bin/devctl on the bench's own stack and data directory.
func (b bench) devctl(args ...string) (time.Duration, error) {
	binary, err := filepath.Abs("bin/devctl")
	if err != nil {
		return 0, err
	}
	return b.time(func() error {
		cmd := exec.CommandContext(b.ctx, binary, append([]string{"--stack", stackName}, args...)...)
		cmd.Dir = b.dir
		cmd.Env = append(os.Environ(), "DEVCTL_HOME="+filepath.Join(b.dir, "home"))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("devctl %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	})
}

func (b bench) time(work func() error) (time.Duration, error) {
	start := time.Now()
	err := work()
	return time.Since(start), err
}

func (b bench) command(name string, args ...string) (string, error) {
	out, err := exec.CommandContext(b.ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
