package localcloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"devctl/images"
)

const (
	// artifactsDir is where nodes see the artifacts volume: the daemon, and the image store in images/.
	artifactsDir = "/usr/lib/devctl"
	// completeFile is written into the volume last.
	completeFile = artifactsDir + "/complete"
	// parallelBuilds is how many images are built at a time: they wait for the network as much as for a processor.
	parallelBuilds = 3
	// storeTimeout bounds the filling of the artifacts volume.
	storeTimeout = 10 * time.Minute
)

// fillScript loads the images that come in on stdin. --storage-opt clears the list of additional stores: the node image
// names this very one there.
const fillScript = `set -eu
podman --root ` + artifactsDir + `/images --runroot /run/fill --storage-opt "" load --quiet
sync
: >` + completeFile

// EnsureArtifacts makes sure that the node image and the artifacts volume of the set are there, building what is
// missing. Both are shared by all stacks and found by content: what is there is never built again.
func (c *Cloud) EnsureArtifacts(ctx context.Context, set *images.Set, log func(string)) error {
	unlock, err := c.lockCache(ctx, log)
	if err != nil {
		return err
	}
	defer unlock()

	complete, err := c.HasArtifacts(ctx, set.Node.Ref, set.Store)
	if err != nil {
		return err
	}
	if complete {
		if complete, err = c.storeComplete(ctx, set); err != nil || complete {
			return err
		}
	}
	if err := c.ensureImages(ctx, set.Base, append([]images.Image{set.Node}, set.Services...), log); err != nil {
		return err
	}
	if c.stopped() {
		return errors.New("interrupted; the image store is not filled")
	}
	if err := c.fillStore(ctx, set, log); err != nil {
		return err
	}
	return c.pruneCache(ctx, set)
}

// HasArtifacts tells whether the node image and the artifacts volume are there, without looking into the volume.
func (c *Cloud) HasArtifacts(ctx context.Context, nodeImage, store string) (bool, error) {
	exists, err := c.imageExists(ctx, nodeImage)
	if err != nil || !exists {
		return false, err
	}
	err = c.call(ctx, fmt.Sprintf("look for volume %q", store), func(ctx context.Context) error {
		_, err := c.docker.VolumeInspect(ctx, store)
		return err
	})
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// ensureImages builds those of the wanted images that are missing, the slow ones at the same time.
func (c *Cloud) ensureImages(ctx context.Context, base images.Image, wanted []images.Image, log func(string)) error {
	if err := c.ensureBase(ctx, base, log); err != nil {
		return err
	}
	building, ctx := errgroup.WithContext(ctx)
	building.SetLimit(parallelBuilds)
	for _, img := range wanted {
		building.Go(func() error {
			if c.stopped() {
				return fmt.Errorf("interrupted; image %q is not built", img.Ref)
			}
			return c.ensureImage(ctx, img, base.Ref, log)
		})
	}
	return building.Wait()
}

// storeComplete tells whether the volume was filled to the end.
func (c *Cloud) storeComplete(ctx context.Context, set *images.Set) (complete bool, err error) {
	helper, err := c.createHelper(ctx, set)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, c.removeContainer(ctx, helper)) }()
	err = c.call(ctx, fmt.Sprintf("look into volume %q", set.Store), func(ctx context.Context) error {
		_, err := c.docker.ContainerStatPath(ctx, helper, completeFile)
		if errdefs.IsNotFound(err) {
			return nil
		}
		complete = err == nil
		return err
	})
	return complete, err
}

// fillStore makes the artifacts volume: a half-filled one goes first.
func (c *Cloud) fillStore(ctx context.Context, set *images.Set, log func(string)) (err error) {
	started := time.Now()
	action := fmt.Sprintf("fill volume %q", set.Store)
	err = c.call(ctx, action, func(ctx context.Context) error {
		if err := c.docker.VolumeRemove(ctx, set.Store, false); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		_, err := c.docker.VolumeCreate(ctx, volume.CreateOptions{Name: set.Store, Labels: map[string]string{labelCache: "true"}})
		return err
	})
	if err != nil {
		return err
	}
	helper, err := c.createHelper(ctx, set)
	if err != nil {
		return err
	}
	// Also when ctx has ended: nobody else cleans up a helper.
	defer func() { err = errors.Join(err, c.removeContainer(context.WithoutCancel(ctx), helper)) }()

	daemon, err := archive([]images.File{set.Daemon})
	if err != nil {
		return fmt.Errorf("pack the node daemon: %w", err)
	}
	err = c.call(ctx, action, func(ctx context.Context) error {
		return c.docker.CopyToContainer(ctx, helper, artifactsDir, daemon, container.CopyToContainerOptions{})
	})
	if err != nil {
		return err
	}
	filling, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := c.runFill(filling, helper, set); err != nil {
		return c.explain(ctx, action, err)
	}
	log(fmt.Sprintf("image store: filled in %s", seconds(started)))
	return nil
}

// runFill starts the helper and feeds it the images.
func (c *Cloud) runFill(ctx context.Context, helper string, set *images.Set) error {
	attached, err := c.docker.ContainerAttach(ctx, helper, container.AttachOptions{Stream: true, Stdin: true})
	if err != nil {
		return err
	}
	defer attached.Close()
	finished, failed := c.docker.ContainerWait(ctx, helper, container.WaitConditionNextExit)
	if err := c.docker.ContainerStart(ctx, helper, container.StartOptions{}); err != nil {
		return err
	}
	refs, err := c.serviceImages(ctx, set)
	if err != nil {
		return err
	}
	saved, err := c.docker.ImageSave(ctx, refs)
	if err != nil {
		return err
	}
	defer saved.Close()
	// When the other end died, what it said tells more than the broken pipe: its exit code comes below.
	if _, err := io.Copy(attached.Conn, saved); err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		return err
	}
	if err := attached.CloseWrite(); err != nil {
		return err
	}
	select {
	case result := <-finished:
		if result.StatusCode != 0 {
			return fmt.Errorf("podman load ended with code %d\n%s", result.StatusCode, c.lastLogLines(ctx, helper, 15))
		}
		return nil
	case err := <-failed:
		return err
	}
}

// serviceImages are the set's, and those of the set before it: a node that is replaced with the new store has to run what is
// deployed until the next deployment. Older ones went when the set before was built.
func (c *Cloud) serviceImages(ctx context.Context, set *images.Set) ([]string, error) {
	var refs []string
	for _, s := range set.Services {
		repository := s.Ref[:strings.LastIndex(s.Ref, ":")]
		found, err := c.docker.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", repository+":*"))})
		if err != nil {
			return nil, fmt.Errorf("list images of %q: %w", repository, err)
		}
		for _, i := range found {
			refs = append(refs, i.RepoTags...)
		}
	}
	return refs, nil
}

// createHelper makes the container through which the artifacts volume is filled and looked into. One that an
// interrupted run left is removed: the cache lock is ours.
func (c *Cloud) createHelper(ctx context.Context, set *images.Set) (id string, err error) {
	name := "devctl-fill-" + strings.TrimPrefix(set.Store, "devctl-artifacts-")
	err = c.call(ctx, fmt.Sprintf("create container %q", name), func(ctx context.Context) error {
		err := c.docker.ContainerRemove(ctx, name, container.RemoveOptions{Force: true, RemoveVolumes: true})
		if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		host := c.nodeHostConfig()
		host.NetworkMode = "none"
		host.Mounts = []mount.Mount{{Type: mount.TypeVolume, Source: set.Store, Target: artifactsDir}}
		id, err = c.createMachine(ctx, &container.Config{
			Image:       set.Node.Ref,
			Entrypoint:  []string{"/bin/sh", "-c", fillScript},
			Labels:      map[string]string{labelCache: "true"},
			AttachStdin: true,
			OpenStdin:   true,
			StdinOnce:   true,
		}, host, nil, name)
		return err
	})
	return id, err
}

// pruneCache removes what earlier sources made, where nothing uses it.
func (c *Cloud) pruneCache(ctx context.Context, set *images.Set) error {
	for _, img := range append([]images.Image{set.Base, set.Node}, set.Services...) {
		if err := c.pruneImages(ctx, img.Ref); err != nil {
			return err
		}
	}
	kind, _, _ := strings.Cut(set.Store, "artifacts-")
	return c.removeStores(ctx, kind+"artifacts-", set.Store)
}

// removeStores removes the artifacts volumes with the given prefix that no container uses, except keep.
func (c *Cloud) removeStores(ctx context.Context, prefix, keep string) error {
	return c.call(ctx, "remove unused artifacts volumes", func(ctx context.Context) error {
		found, err := c.docker.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(filters.Arg("label", labelCache+"=true"))})
		if err != nil {
			return err
		}
		for _, v := range found.Volumes {
			if v.Name == keep || !strings.HasPrefix(v.Name, prefix) {
				continue
			}
			if err := c.docker.VolumeRemove(ctx, v.Name, false); err != nil && !errdefs.IsConflict(err) && !errdefs.IsNotFound(err) {
				return err
			}
		}
		return nil
	})
}

// PurgeCache removes the images and artifacts volumes of all stacks that no container uses.
func PurgeCache(ctx context.Context) error {
	c, err := Connect()
	if err != nil {
		return err
	}
	defer c.Close()
	unlock, err := c.lockCache(ctx, func(string) {})
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.removeStores(ctx, "devctl-artifacts-", ""); err != nil {
		return err
	}
	return c.removeImages(ctx, "localhost/devctl/*")
}

// lockCache keeps two devctl processes of one user from building the same things. The lock ends with the process.
func (c *Cloud) lockCache(ctx context.Context, log func(string)) (unlock func(), err error) {
	path := filepath.Join(os.TempDir(), "devctl-cache-"+strconv.Itoa(os.Getuid())+".lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the image cache: %w", err)
	}
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for told := false; ; told = true {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			file.Close()
			return nil, fmt.Errorf("lock the image cache %s: %w", path, err)
		}
		if !told {
			log("waiting for another devctl that is building images")
		}
		select {
		case <-ctx.Done():
			file.Close()
			return nil, fmt.Errorf("lock the image cache: %w", ctx.Err())
		case <-c.Stop:
			file.Close()
			return nil, errors.New("interrupted; another devctl is still building images")
		case <-poll.C:
		}
	}
}
