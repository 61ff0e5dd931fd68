package localcloud

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"

	"devctl/ignition"
	"devctl/internal/api"
)

const (
	// machineConfig is where the node image looks for its Ignition config.
	machineConfig = "/var/lib/ignition/config.ign"
	// bootTimeout is how long a node may take until its units are active. The first mains wait for each other,
	// everybody else for them.
	bootTimeout = 3 * time.Minute
	// stopGrace is how long a working node may take to shut down before it is replaced.
	stopGrace = 20 * time.Second
)

// Node is one machine that exists.
type Node struct {
	Name        string
	ID          string // of the container
	Fingerprint string // of what it was made from
	Running     bool
	Paused      bool // by `docker pause`: it is there, and does nothing
	// Ready: it has once finished its boot. Docker restarts such a node by itself, and only such.
	Ready bool
}

// Nodes lists the machines of a role, sorted by name. With an empty role, of the whole stack.
func (c *Cloud) Nodes(ctx context.Context, stack string, role api.Role) ([]Node, error) {
	var nodes []Node
	err := c.call(ctx, "list the nodes of stack "+stack, func(ctx context.Context) error {
		machines := ofRole(stack, role)
		machines.Add("label", labelNode)
		found, err := c.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: machines})
		if err != nil {
			return err
		}
		for _, f := range found {
			details, err := c.docker.ContainerInspect(ctx, f.ID)
			if errdefs.IsNotFound(err) {
				continue
			} else if err != nil {
				return err
			}
			nodes = append(nodes, Node{
				Name:        f.Labels[labelNode],
				ID:          f.ID,
				Fingerprint: f.Labels[labelConfig],
				Running:     details.State.Running && !details.State.Paused && !details.State.Restarting,
				Paused:      details.State.Paused,
				Ready:       details.HostConfig.RestartPolicy.IsUnlessStopped(),
			})
		}
		return nil
	})
	sortNodes(nodes)
	return nodes, err
}

// nodeHostConfig lets systemd and podman run in a container. --privileged would do, but not where Docker itself
// lacks a capability.
func (c *Cloud) nodeHostConfig() *container.HostConfig {
	return &container.HostConfig{
		CapAdd:  []string{"ALL"},
		CapDrop: c.Dropped,
		// podman mounts and makes namespaces; Docker's profiles forbid both.
		SecurityOpt: []string{"seccomp=unconfined", "apparmor=unconfined"},
		// systemd and keepalived write below /proc/sys, podman hides parts of /proc itself.
		MaskedPaths:   []string{},
		ReadonlyPaths: []string{},
		CgroupnsMode:  container.CgroupnsModePrivate,
		Tmpfs:         map[string]string{"/run": "", "/tmp": ""},
		LogConfig:     container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m", "max-file": "2"}},
	}
}

// createNode makes the container of a machine with its Ignition config inside. It does not start it. On an error
// nothing is left.
func (c *Cloud) createNode(ctx context.Context, g Group, node api.Identity, etcd string) (id string, err error) {
	config, err := ignition.Machine([]byte(g.Config), []byte(g.Secrets), node, etcd)
	if err != nil {
		return "", fmt.Errorf("compose the Ignition config of %s: %w", node.Name, err)
	}
	labels := map[string]string{labelStack: node.Stack, labelRole: string(node.Role)}
	host := c.nodeHostConfig()
	host.NetworkMode = container.NetworkMode(g.Network)
	// podman's storage cannot lie on the container's own overlay, and what services keep should not. Anonymous
	// volumes go with the container.
	host.Mounts = []mount.Mount{
		{Type: mount.TypeVolume, Target: "/var/lib/containers", VolumeOptions: &mount.VolumeOptions{Labels: labels}},
		{Type: mount.TypeVolume, Target: "/var/lib/devctl", VolumeOptions: &mount.VolumeOptions{Labels: labels}},
		{Type: mount.TypeVolume, Source: g.Store, Target: artifactsDir, ReadOnly: true},
	}
	if node.Role == api.RoleMain {
		host.Mounts = append(host.Mounts, snapshotMount(node.Stack, false))
	}
	machine := &container.Config{
		Image:    g.Image,
		Hostname: node.Name,
		Tty:      true, // systemd logs its progress to it
		Labels: map[string]string{
			labelStack: node.Stack, labelRole: string(node.Role), labelNode: node.Name, labelZone: node.Zone,
			labelConfig: g.Fingerprint(node),
		},
	}
	attachment := &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
		g.Network: {IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: node.Address}},
	}}
	err = c.call(ctx, "create node "+node.Name, func(ctx context.Context) error {
		id, err = c.createMachine(ctx, machine, host, attachment, containerName(node))
		return err
	})
	if err != nil {
		return "", err
	}
	err = c.call(ctx, "hand node "+node.Name+" its Ignition config", func(ctx context.Context) error {
		return c.docker.CopyToContainer(ctx, id, "/", secretFile(machineConfig, config), container.CopyToContainerOptions{})
	})
	if err != nil {
		if removeErr := c.removeContainer(context.WithoutCancel(ctx), id); removeErr != nil {
			err = fmt.Errorf("%w (and %w)", err, removeErr)
		}
		return "", err
	}
	return id, nil
}

// secretFile packs one file that only root may read.
func secretFile(path string, data []byte) io.Reader {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	// Writing to a buffer cannot fail, and the header is well formed.
	_ = w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(path, "/"), Mode: 0o600, Size: int64(len(data)), ModTime: time.Unix(0, 0)})
	_, _ = w.Write(data)
	_ = w.Close()
	return &packed
}

// startNode starts or unpauses a container.
func (c *Cloud) startNode(ctx context.Context, name, id string) error {
	return c.call(ctx, "start node "+name, func(ctx context.Context) error {
		details, err := c.docker.ContainerInspect(ctx, id)
		if err != nil {
			return err
		}
		if details.State.Paused {
			return c.docker.ContainerUnpause(ctx, id)
		}
		return c.docker.ContainerStart(ctx, id, container.StartOptions{})
	})
}

// waitReady waits until the node has booted and the units are active, then lets Docker restart it from now on. settled
// is called when the work that all of a node's boot does at once is over: from then on it mostly waits for others.
func (c *Cloud) waitReady(ctx context.Context, name, id string, units []string, settled func()) error {
	waiting, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	boot, err := c.waitBooted(waiting, id, settled)
	if err == nil && !boot.started(units) {
		err = c.waitUnits(waiting, id, units)
	}
	if errors.Is(err, context.DeadlineExceeded) && waiting.Err() != nil {
		err = fmt.Errorf("it was not ready within %s", bootTimeout) // which is not Docker's fault
	}
	if err != nil {
		return c.bootError(ctx, name, id, err)
	}
	return c.call(ctx, "keep node "+name+" running", func(ctx context.Context) error {
		_, err := c.docker.ContainerUpdate(ctx, id, container.UpdateConfig{
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped},
		})
		return err
	})
}

// waitBooted follows the console until systemd has reached its target. Before that nothing may be executed in the
// container: on cgroup v2 a process outside systemd's own cgroups keeps it from setting them up.
func (c *Cloud) waitBooted(ctx context.Context, id string, settled func()) (boot, error) {
	details, err := c.docker.ContainerInspect(ctx, id)
	if err != nil {
		return boot{}, err
	}
	console, err := c.docker.ContainerLogs(ctx, id, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Follow: true, Since: details.State.StartedAt,
	})
	if err != nil {
		return boot{}, err
	}
	defer console.Close()
	var seen boot
	lines := bufio.NewScanner(console)
	for lines.Scan() {
		seen.read(lines.Text())
		switch {
		case seen.gaveUp:
			return seen, errors.New("its first boot failed")
		case seen.reached("multi-user.target"):
			return seen, nil
		case seen.reached("basic.target"):
			settled()
		}
	}
	if err := errors.Join(ctx.Err(), lines.Err()); err != nil {
		return seen, err
	}
	// The console ends with the machine, or with Docker.
	if details, err = c.docker.ContainerInspect(ctx, id); err != nil {
		return seen, err
	}
	if details.State.Running {
		return seen, fmt.Errorf("its console ended: %w", io.ErrUnexpectedEOF)
	}
	return seen, errors.New("it ended while it was booting")
}

// waitUnits waits until systemd has nothing left to start and all units are active.
func (c *Cloud) waitUnits(ctx context.Context, id string, units []string) error {
	if _, _, err := c.run(ctx, id, "systemctl", "is-system-running", "--wait"); err != nil {
		return err
	}
	for delay := 50 * time.Millisecond; ; delay = min(2*delay, time.Second) {
		states, _, err := c.run(ctx, id, append([]string{"systemctl", "show", "--property=Id,ActiveState"}, units...)...)
		if err != nil {
			return err
		}
		failed, _, err := c.run(ctx, id, "systemctl", "list-units", "--state=failed", "--plain", "--no-legend")
		if err != nil {
			return err
		}
		if name, _, found := strings.Cut(strings.TrimSpace(failed), " "); found {
			return &unitError{unit: name, state: "failed"}
		}
		unit, state := firstInactive(states)
		if unit == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return &unitError{unit: unit, state: state}
		case <-time.After(delay):
		}
	}
}

// unitError is a unit that keeps a node from being ready.
type unitError struct{ unit, state string }

func (e *unitError) Error() string {
	return fmt.Sprintf("its unit %s is %s", e.unit, e.state)
}

// firstInactive reads the answer of `systemctl show --property=Id,ActiveState` and returns a unit that is not active.
func firstInactive(shown string) (unit, state string) {
	for _, block := range strings.Split(strings.ReplaceAll(strings.TrimSpace(shown), "\r", ""), "\n\n") {
		properties := map[string]string{}
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			properties[key] = value
		}
		if properties["Id"] != "" && properties["ActiveState"] != "active" {
			return properties["Id"], properties["ActiveState"]
		}
	}
	return "", ""
}

// bootError explains why a node did not become ready, with the last lines of what it logged. The node stays for
// inspection.
func (c *Cloud) bootError(ctx context.Context, name, id string, cause error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("boot node %s: %w", name, ctx.Err())
	}
	if silent(cause) {
		return c.explain(ctx, "boot node "+name, cause)
	}
	evidence := c.lastLogLines(ctx, id, 15)
	if unit, ok := cause.(*unitError); ok {
		limited, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		journal, _, err := c.run(limited, id, "journalctl", "--no-pager", "--output=cat", "--lines=15", "--unit="+unit.unit)
		if err == nil && strings.TrimSpace(journal) != "" {
			evidence = lastLines(journal, 15)
		}
	}
	return c.explain(ctx, "boot node "+name, fmt.Errorf("%w; the last it said:\n%s", cause, evidence))
}

// lastLogLines returns the last n lines of a container's console, "" when they cannot be had.
func (c *Cloud) lastLogLines(ctx context.Context, id string, n int) string {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	console, err := c.docker.ContainerLogs(limited, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: fmt.Sprint(n)})
	if err != nil {
		return ""
	}
	defer console.Close()
	text, err := io.ReadAll(console)
	if err != nil {
		return ""
	}
	return lastLines(string(text), n)
}

// stopNode shuts a machine down in order, so that its services can say goodbye.
func (c *Cloud) stopNode(ctx context.Context, name, id string) error {
	return c.call(ctx, "stop node "+name, func(ctx context.Context) error {
		grace := int(stopGrace.Seconds())
		err := c.docker.ContainerStop(ctx, id, container.StopOptions{Timeout: &grace})
		if errdefs.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// removeContainer removes a container in whatever state it is, with its anonymous volumes.
func (c *Cloud) removeContainer(ctx context.Context, id string) error {
	return c.call(ctx, "remove container "+id, func(ctx context.Context) error {
		err := c.docker.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
		if errdefs.IsConflict(err) {
			return c.waitRemoved(ctx, id)
		}
		if errdefs.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// waitRemoved waits for a container that somebody else is removing just now, a run that was stopped for example.
func (c *Cloud) waitRemoved(ctx context.Context, id string) error {
	removed, failed := c.docker.ContainerWait(ctx, id, container.WaitConditionRemoved)
	select {
	case <-removed:
		return nil
	case err := <-failed:
		if errdefs.IsNotFound(err) {
			return nil
		}
		return err
	}
}

// displayName is a container's name as people know it.
func displayName(c container.Summary) string {
	if len(c.Names) == 0 {
		return c.ID
	}
	return strings.TrimPrefix(c.Names[0], "/")
}
