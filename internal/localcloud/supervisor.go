package localcloud

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/pkg/stdcopy"

	"devctl/internal/api"
)

const (
	// roleSupervisor is the role of a stack's supervisor in labels. It is no node: it has no labelNode.
	roleSupervisor = "supervisor"
	// SupervisorBinary is the name of the supervisor's program in the folder of binaries.
	SupervisorBinary  = "devctl-supervisor"
	supervisorProgram = "/usr/local/bin/" + SupervisorBinary
	// SupervisorDir is where a supervisor has what it keeps up: a file per group, that only root may read.
	SupervisorDir = "/var/lib/devctl/supervisor"
	dockerSocket  = "/var/run/docker.sock"
	// held is what Hold says when it has what it wants.
	held = "held\n"
)

// ErrNoSocket is that Docker is not reached through a socket on its own machine: nothing there can be given it.
var ErrNoSocket = errors.New("self-healing of machines is off")

// supervisor is the container that keeps the size of a stack's groups.
type supervisor struct {
	id      string
	made    string // hash of what it was made from
	running bool
}

// findSupervisor returns the stack's supervisor, nil when there is none.
func (c *Cloud) findSupervisor(ctx context.Context, stack string) (*supervisor, error) {
	var found []container.Summary
	err := c.call(ctx, "look for the supervisor of stack "+stack, func(ctx context.Context) (err error) {
		found, err = c.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: ofRole(stack, roleSupervisor)})
		return err
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &supervisor{id: found[0].ID, made: found[0].Labels[labelConfig], running: found[0].State == container.StateRunning}, nil
}

// Supervised tells, by no error, that the stack's groups keep their size by themselves. ErrNoSocket is among the errors.
func Supervised(ctx context.Context, stack string) error {
	c, err := Connect()
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.socket(); err != nil {
		return err
	}
	s, err := c.findSupervisor(ctx, stack)
	switch {
	case err != nil:
		return err
	case s == nil:
		return fmt.Errorf("stack %q has no supervisor", stack)
	case !s.running:
		return fmt.Errorf("the supervisor of stack %q does not run", stack)
	}
	return nil
}

// socket is Docker's socket on Docker's own machine.
func (c *Cloud) socket() (string, error) {
	host, err := url.Parse(c.docker.DaemonHost())
	if err != nil || host.Scheme != "unix" {
		return "", fmt.Errorf("%w: Docker is at %s, and a supervisor can be given a unix socket only; a node that is lost comes back with the next `devctl up`",
			ErrNoSocket, c.docker.DaemonHost())
	}
	return host.Path, nil
}

// Want remembers what a group is to be, for Supervise.
func (c *Cloud) Want(g Group) {
	c.wantedLock.Lock()
	defer c.wantedLock.Unlock()
	if c.wanted == nil {
		c.wanted = map[api.Role]Group{}
	}
	c.wanted[g.Role] = g
}

// Supervise lets the groups that were wanted keep their size by themselves from now on, and returns when their supervisor runs.
// They have to be complete.
func (c *Cloud) Supervise(ctx context.Context, stack string) error {
	c.wantedLock.Lock()
	defer c.wantedLock.Unlock()
	if len(c.wanted) == 0 {
		return nil
	}
	socket, err := c.socket()
	if err != nil {
		return err
	}
	var node string
	for _, g := range c.wanted {
		node = g.Image
	}
	// What this process lacks stands for what Docker lacks; the supervisor's own container has none at all.
	args := append([]string{"keep", stack}, c.Dropped...)
	sum := sha256.Sum256(append(fmt.Appendf(nil, "%s %s %q ", node, socket, args), c.Supervisor...))
	made := hex.EncodeToString(sum[:])[:12]
	s, err := c.findSupervisor(ctx, stack)
	if err != nil {
		return err
	}
	// One that does not run may be half made: whoever made it may have been killed.
	if s != nil && (s.made != made || !s.running) {
		if err := c.dismiss(ctx, stack); err != nil {
			return err
		}
		s = nil
	}
	if s == nil {
		if s, err = c.createSupervisor(ctx, stack, node, socket, args, made); err != nil {
			return err
		}
	}
	for _, g := range c.wanted {
		if err := c.handOver(ctx, s, g); err != nil {
			return err
		}
	}
	return c.startNode(ctx, roleSupervisor, s.id)
}

// createSupervisor makes the container with its program inside. It does not start it. On an error nothing is left.
func (c *Cloud) createSupervisor(ctx context.Context, stack, image, socket string, args []string, made string) (*supervisor, error) {
	s := &supervisor{made: made}
	err := c.call(ctx, "create the supervisor of stack "+stack, func(ctx context.Context) error {
		created, err := c.docker.ContainerCreate(ctx, &container.Config{
			Image:      image,
			Entrypoint: []string{supervisorProgram},
			Cmd:        args,
			Env:        []string{"DOCKER_HOST=unix://" + dockerSocket},
			StopSignal: "SIGTERM",
			Labels:     map[string]string{labelStack: stack, labelRole: roleSupervisor, labelConfig: made},
		}, &container.HostConfig{
			NetworkMode:   "none",
			CapDrop:       []string{"ALL"},
			SecurityOpt:   []string{"no-new-privileges"},
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped},
			Mounts:        []mount.Mount{{Type: mount.TypeBind, Source: socket, Target: dockerSocket}},
			LogConfig:     container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m", "max-file": "2"}},
		}, nil, nil, containerName(api.Identity{Stack: stack, Name: roleSupervisor}))
		s.id = created.ID
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := c.put(ctx, s.id, supervisorProgram, 0o755, c.Supervisor); err != nil {
		return nil, errors.Join(err, c.removeContainer(context.WithoutCancel(ctx), s.id))
	}
	return s, nil
}

// handOver tells the supervisor what a group is to be.
func (c *Cloud) handOver(ctx context.Context, s *supervisor, g Group) error {
	data, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("hand over the %s group: %w", g.Role, err)
	}
	return c.put(ctx, s.id, groupFile(SupervisorDir, g.Role), 0o600, data)
}

func groupFile(dir string, role api.Role) string { return path.Join(dir, string(role)+".json") }

// put writes a file into a supervisor's container. SupervisorDir is root's alone.
func (c *Cloud) put(ctx context.Context, id, file string, mode int64, data []byte) error {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	now := time.Now()
	if path.Dir(file) == SupervisorDir { // the image does not have it
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(SupervisorDir, "/") + "/", Mode: 0o700, ModTime: now})
	}
	// Writing to a buffer cannot fail, and the headers are well formed.
	_ = w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(file, "/"), Mode: mode, Size: int64(len(data)), ModTime: now})
	_, _ = w.Write(data)
	_ = w.Close()
	return c.call(ctx, "write "+file+" for the supervisor", func(ctx context.Context) error {
		return c.docker.CopyToContainer(ctx, id, "/", &packed, container.CopyToContainerOptions{})
	})
}

// dismiss removes the stack's supervisor, and waits for what it is making just now. It is no error when there is none.
func (c *Cloud) dismiss(ctx context.Context, stack string) error {
	// Without the hold it goes all the same: it may be broken, or somebody else is removing it just now.
	if release, err := c.hold(ctx, stack); err == nil {
		defer release()
	}
	s, err := c.findSupervisor(ctx, stack)
	if err != nil || s == nil {
		return err
	}
	return c.removeContainer(ctx, s.id)
}

// hold keeps the stack's supervisor from touching machines until release is called. It is the lock of a process over there, whose
// stdin is ours: when this process ends, however, the hold does. Any number of holds may be held at a time.
func (c *Cloud) hold(ctx context.Context, stack string) (release func(), err error) {
	s, err := c.findSupervisor(ctx, stack)
	if err != nil {
		return nil, err
	}
	if s == nil || !s.running {
		return func() {}, nil
	}
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	const action = "keep the supervisor from touching machines"
	created, err := c.docker.ContainerExecCreate(limited, s.id, container.ExecOptions{
		Cmd: []string{supervisorProgram, "hold"}, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return func() {}, nil // gone or stopped meanwhile
	}
	if err != nil {
		return nil, c.explain(ctx, action, err)
	}
	streams, err := c.docker.ContainerExecAttach(limited, created.ID, container.ExecAttachOptions{})
	if err != nil {
		return nil, c.explain(ctx, action, err)
	}
	unwatch := context.AfterFunc(limited, streams.Close)
	said, err := firstSaid(streams.Reader)
	if unwatch(); err == nil && said != held {
		err = fmt.Errorf("it said %q", strings.TrimSpace(said))
	}
	if err != nil {
		streams.Close()
		if now, findErr := c.findSupervisor(ctx, stack); findErr == nil && (now == nil || !now.running) {
			return func() {}, nil // removed or stopped meanwhile, and that ended the process
		}
		return nil, c.explain(ctx, action, errors.Join(limited.Err(), err))
	}
	return streams.Close, nil
}

// firstSaid is the first that a command without a terminal says, on whichever stream.
func firstSaid(r io.Reader) (string, error) {
	said, w := io.Pipe()
	defer said.Close() // which ends the copying below
	go func() {
		_, err := stdcopy.StdCopy(w, w, r)
		w.CloseWithError(errors.Join(err, io.ErrUnexpectedEOF))
	}()
	first := make([]byte, 1024)
	n, err := said.Read(first)
	return string(first[:n]), err
}
