package localcloud

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"devctl/internal/api"
	"devctl/internal/snapshot"
)

// SnapshotVolume is the volume with a stack's snapshots of etcd. All main nodes have it and none of them takes it along: it
// goes with the stack. On the host it is root's alone, as the nodes' own disks with the authority's key are.
func SnapshotVolume(stack string) string { return api.ResourceName(stack, "snapshots") }

// snapshotMount is that volume on a node. It is made with the first of them.
func snapshotMount(stack string, readOnly bool) mount.Mount {
	return mount.Mount{
		Type: mount.TypeVolume, Source: SnapshotVolume(stack), Target: api.SnapshotsDir, ReadOnly: readOnly,
		VolumeOptions: &mount.VolumeOptions{Labels: map[string]string{labelStack: stack}},
	}
}

// Snapshots lists the stack's snapshots of etcd, the latest first. No node has to run for it, but there has to be one.
func Snapshots(ctx context.Context, stack string) ([]snapshot.Info, error) {
	var all []snapshot.Info
	err := readSnapshots(ctx, stack, snapshot.InfoDir, func(name string, r io.Reader) error {
		if !strings.HasSuffix(name, ".json") || strings.HasPrefix(name, ".") {
			return nil
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		info, err := snapshot.ParseInfo(text)
		all = append(all, info)
		return err
	})
	if errdefs.IsNotFound(err) { // the folder: none was taken yet
		return nil, nil
	}
	snapshot.Sort(all)
	return all, err
}

// ReadSnapshot lets use read one snapshot.
func ReadSnapshot(ctx context.Context, stack, name string, use func(io.Reader) error) error {
	return readSnapshots(ctx, stack, snapshot.Data(name), func(_ string, r io.Reader) error { return use(r) })
}

// readSnapshots reads a file, or all in a folder, of the volume, through a container that is never started.
func readSnapshots(ctx context.Context, stack, what string, each func(name string, r io.Reader) error) (err error) {
	c, err := Connect()
	if err != nil {
		return err
	}
	defer c.Close()
	helper, err := c.createReader(ctx, stack)
	if err != nil {
		return err
	}
	// Also when ctx has ended. One that a kill leaves goes with the stack's nodes.
	defer func() { err = errors.Join(err, c.removeContainer(context.WithoutCancel(ctx), helper)) }()
	return c.call(ctx, "read snapshots of stack "+stack, func(ctx context.Context) error {
		packed, _, err := c.docker.CopyFromContainer(ctx, helper, path.Join(api.SnapshotsDir, what))
		if err != nil {
			return err
		}
		defer packed.Close()
		for files := tar.NewReader(packed); ; {
			header, err := files.Next()
			if errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if header.Typeflag != tar.TypeReg {
				continue
			}
			if err := each(path.Base(header.Name), files); err != nil {
				return err
			}
		}
	})
}

func (c *Cloud) createReader(ctx context.Context, stack string) (id string, err error) {
	err = c.call(ctx, "look at the snapshots of stack "+stack, func(ctx context.Context) error {
		nodes, err := c.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: labelled(stackLabel(stack), labelNode)})
		if err != nil {
			return err
		}
		if len(nodes) == 0 {
			return fmt.Errorf("stack %q has no node on this machine", stack)
		}
		created, err := c.docker.ContainerCreate(ctx, &container.Config{
			Image: nodes[0].ImageID, Entrypoint: []string{"/bin/false"}, Labels: map[string]string{labelStack: stack, labelNode: "snapshots"},
		}, &container.HostConfig{NetworkMode: "none", Mounts: []mount.Mount{snapshotMount(stack, true)}}, nil, nil, "")
		id = created.ID
		return err
	})
	return id, err
}

// MainNodes lists the main nodes that there are, and how many of them run.
func MainNodes(ctx context.Context, stack string) (names []string, running int, err error) {
	c, err := Connect()
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	nodes, err := c.Nodes(ctx, stack, api.RoleMain)
	for _, n := range nodes {
		names = append(names, n.Name)
		if n.Running {
			running++
		}
	}
	return names, running, err
}

// RemoveMainNodes removes what there is of the main nodes, so that none of them can meet those that a snapshot becomes.
func RemoveMainNodes(ctx context.Context, stack string) error {
	c, err := Connect()
	if err != nil {
		return err
	}
	defer c.Close()
	release, err := c.hold(ctx, stack)
	if err != nil {
		return err
	}
	defer release()
	return c.removeMachines(ctx, stack, api.RoleMain, func(string) {})
}

// restoreMains makes all main nodes at once, each with its member's data on its disk. None of them may found a cluster, or
// has to: one without data would wait for the others.
func (c *Cloud) restoreMains(ctx context.Context, g Group, log func(string)) error {
	var steps []step
	for _, node := range g.Nodes {
		id, err := c.createNode(ctx, g, node, "join")
		if err != nil {
			return err
		}
		if err := c.putEtcdData(ctx, node, id); err != nil {
			return err
		}
		steps = append(steps, step{kind: start, node: node, id: id})
	}
	return c.applyTogether(ctx, g, steps, true, log)
}

func (c *Cloud) putEtcdData(ctx context.Context, node api.Identity, id string) error {
	data, err := c.EtcdData(ctx, node)
	if err != nil {
		return err
	}
	defer data.Close()
	return c.call(ctx, "hand node "+node.Name+" its etcd data", func(ctx context.Context) error {
		return c.docker.CopyToContainer(ctx, id, path.Dir(api.EtcdDataDir), data, container.CopyToContainerOptions{})
	})
}

// lost is the error of main nodes that were a cluster and cannot become one again by themselves. A quorum that has not been seen
// ready is what a restore left that was interrupted: it needs no more than time.
func lost(g Group, have []Node) error {
	running := 0
	for _, n := range have {
		if n.Running {
			running++
		}
	}
	if g.Role != api.RoleMain || anyReady(have) || running > len(g.Nodes)/2 {
		return nil
	}
	return fmt.Errorf("all main nodes of stack %q are gone, and with them what etcd knew: what runs on the other nodes goes on, "+
		"but a new control plane would not know of it; run `devctl etcd snapshot restore --latest -s %s`: it brings them back with "+
		"the latest snapshot", g.Stack, g.Stack)
}

func anyReady(nodes []Node) bool {
	return slices.ContainsFunc(nodes, func(n Node) bool { return n.Ready })
}
