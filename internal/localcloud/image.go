package localcloud

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"devctl/images"
)

const (
	// registryBase is what a registry has of the base image.
	registryBase = "docker.io/library/debian:" + images.Suite + "-slim"
	// registryTimeout is how long a registry may take to say that it has an image.
	registryTimeout = 10 * time.Second
	// buildTimeout bounds the build of one image.
	buildTimeout = 20 * time.Minute
)

// proxyVariables are handed to builds, so that apt-get gets out the way the person who runs devctl does.
var proxyVariables = []string{"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}

// imageExists tells whether Docker has the image under this name.
func (c *Cloud) imageExists(ctx context.Context, ref string) (exists bool, err error) {
	err = c.call(ctx, fmt.Sprintf("look for image %q", ref), func(ctx context.Context) error {
		_, err := c.docker.ImageInspect(ctx, ref)
		if errdefs.IsNotFound(err) {
			return nil
		}
		exists = err == nil
		return err
	})
	return exists, err
}

// ensureBase makes sure that the image all others are built on is there: pulled where a registry can be reached, else
// made from Debian's packages.
func (c *Cloud) ensureBase(ctx context.Context, base images.Image, log func(string)) error {
	if exists, err := c.imageExists(ctx, base.Ref); err != nil || exists {
		return err
	}
	started := time.Now()
	pullErr := c.pullBase(ctx, base.Ref)
	if pullErr == nil {
		log(fmt.Sprintf("base image: pulled %s in %s", registryBase, seconds(started)))
		return nil
	}
	if ctx.Err() != nil {
		return pullErr
	}
	log("base image: no registry can be reached, making it from Debian's packages")
	if err := c.bootstrapBase(ctx, base); err != nil {
		return errors.Join(err, pullErr)
	}
	log(fmt.Sprintf("base image: made in %s", seconds(started)))
	return nil
}

func (c *Cloud) pullBase(ctx context.Context, ref string) error {
	action := "pull " + registryBase
	pulling, cancel := context.WithCancel(ctx)
	defer cancel()
	// Docker answers once the registry has; from there on a slow line is no reason to give up.
	silence := time.AfterFunc(registryTimeout, cancel)
	answer, err := c.docker.ImagePull(pulling, registryBase, image.PullOptions{})
	if !silence.Stop() && err == nil {
		err = context.DeadlineExceeded
		answer.Close()
	}
	if err != nil {
		if ctx.Err() == nil && pulling.Err() != nil {
			err = fmt.Errorf("no answer within %s", registryTimeout)
		}
		return fmt.Errorf("%s: %w", action, err)
	}
	defer answer.Close()
	if _, err := drain(answer); err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return c.call(ctx, fmt.Sprintf("tag image %q", ref), func(ctx context.Context) error {
		return c.docker.ImageTag(ctx, registryBase, ref)
	})
}

// bootstrapBase makes the base image with mmdebstrap.
func (c *Cloud) bootstrapBase(ctx context.Context, base images.Image) error {
	const hint = "connect this machine to a registry, or run `apt-get install mmdebstrap` and then devctl as root"
	tool, err := exec.LookPath("mmdebstrap")
	if err != nil {
		return fmt.Errorf("make the base image without a registry: mmdebstrap is not installed: %s", hint)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("make the base image without a registry: mmdebstrap needs root: %s", hint)
	}
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	args := []string{"--quiet", "--variant=minbase", "--format=tar", "--include=ca-certificates", `--aptopt=Acquire::Languages "none"`}
	for _, option := range dpkgOptions(base) {
		args = append(args, "--dpkgopt="+option)
	}
	var complaint bytes.Buffer
	command := exec.CommandContext(ctx, tool, append(args, images.Suite, "-")...)
	command.Stderr = &complaint
	rootfs, err := command.StdoutPipe()
	if err != nil {
		return fmt.Errorf("run mmdebstrap: %w", err)
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("run mmdebstrap: %w", err)
	}
	// The tag is set only when mmdebstrap is known to have finished: a stream that broke off could be an image too.
	id, importErr := c.importImage(ctx, rootfs)
	if err := command.Wait(); err != nil {
		return fmt.Errorf("make the base image with mmdebstrap: %w\n%s", err, lastLines(complaint.String(), 15))
	}
	if importErr != nil {
		return importErr
	}
	return c.call(ctx, fmt.Sprintf("tag image %q", base.Ref), func(ctx context.Context) error {
		return c.docker.ImageTag(ctx, id, base.Ref)
	})
}

// dpkgOptions are the lines of the base image's dpkg configuration.
func dpkgOptions(base images.Image) []string {
	var options []string
	for _, f := range base.Files {
		for line := range strings.Lines(string(f.Data)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				options = append(options, line)
			}
		}
	}
	return options
}

func (c *Cloud) importImage(ctx context.Context, rootfs io.Reader) (id string, err error) {
	answer, err := c.docker.ImageImport(ctx, image.ImportSource{Source: rootfs, SourceName: "-"}, "", image.ImportOptions{})
	if err != nil {
		return "", c.explain(ctx, "import the base image", err)
	}
	defer answer.Close()
	output, err := drain(answer)
	if err != nil {
		return "", c.explain(ctx, "import the base image", err)
	}
	return lastLines(output, 1), nil
}

// ensureImage builds the image unless it is there.
func (c *Cloud) ensureImage(ctx context.Context, img images.Image, base string, log func(string)) error {
	if exists, err := c.imageExists(ctx, img.Ref); err != nil || exists {
		return err
	}
	started := time.Now()
	arguments := map[string]*string{"BASE": &base}
	for _, name := range proxyVariables {
		if value, set := os.LookupEnv(name); set {
			arguments[name] = &value
		}
	}
	archive, err := archive(img.Files)
	if err != nil {
		return fmt.Errorf("pack the build context of image %q: %w", img.Name, err)
	}
	building, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	action := fmt.Sprintf("build image %q", img.Ref)
	answer, err := c.docker.ImageBuild(building, archive, build.ImageBuildOptions{
		Tags:        []string{img.Ref},
		Dockerfile:  "Containerfile",
		BuildArgs:   arguments,
		NetworkMode: "host", // Docker's bridge may lead nowhere where the host gets out
		Remove:      true,
		ForceRemove: true,
		Version:     build.BuilderV1, // every engine has it, BuildKit needs a session
	})
	if err != nil {
		return c.explain(ctx, action, err)
	}
	defer answer.Body.Close()
	if output, err := drain(answer.Body); err != nil {
		return c.explain(ctx, action, fmt.Errorf("%w\n%s", err, lastLines(output, 15)))
	}
	log(fmt.Sprintf("image %s: built in %s", img.Name, seconds(started)))
	return nil
}

// archive packs a build context. Times are fixed, so that Docker's build cache sees equal contexts as equal.
func archive(files []images.File) (io.Reader, error) {
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.Name, Mode: f.Mode, Size: int64(len(f.Data)), ModTime: time.Unix(0, 0)}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.Data); err != nil {
			return nil, err
		}
	}
	return &packed, w.Close()
}

// progress is one message of a stream that Docker sends while it works.
type progress struct {
	Stream string `json:"stream"`
	Status string `json:"status"`
	Detail *struct {
		Total int64 `json:"total"`
	} `json:"progressDetail"`
	Error string `json:"error"`
}

// drain reads a stream of progress messages to its end and returns their text. An error among them is the error.
func drain(stream io.Reader) (string, error) {
	var text strings.Builder
	decoder := json.NewDecoder(stream)
	for {
		var message progress
		if err := decoder.Decode(&message); errors.Is(err, io.EOF) {
			return text.String(), nil
		} else if err != nil {
			return text.String(), err
		}
		if message.Error != "" {
			return text.String(), errors.New(message.Error)
		}
		text.WriteString(message.Stream)
		if message.Status != "" && message.Detail == nil {
			text.WriteString(message.Status + "\n")
		}
	}
}

// pruneImages removes what ref's image was called with other sources, where no container uses it.
func (c *Cloud) pruneImages(ctx context.Context, ref string) error {
	repository, _, _ := strings.Cut(ref, ":")
	return c.removeImages(ctx, repository, ref)
}

// removeImages removes the unused images of a repository (a pattern) except those in keep.
func (c *Cloud) removeImages(ctx context.Context, repository string, keep ...string) error {
	return c.call(ctx, fmt.Sprintf("remove unused images %s", repository), func(ctx context.Context) error {
		found, err := c.docker.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", repository))})
		if err != nil {
			return err
		}
		for _, img := range found {
			for _, tag := range img.RepoTags {
				if slices.Contains(keep, tag) {
					continue
				}
				_, err := c.docker.ImageRemove(ctx, tag, image.RemoveOptions{PruneChildren: true})
				if err != nil && !errdefs.IsConflict(err) && !errdefs.IsNotFound(err) {
					return err
				}
			}
		}
		return nil
	})
}

// terminalCodes are the colours and carriage returns that consoles have and error messages should not.
var terminalCodes = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]|\r")

// lastLines returns the last n lines of text that are not blank.
func lastLines(text string, n int) string {
	lines := slices.DeleteFunc(strings.Split(terminalCodes.ReplaceAllString(text, ""), "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// seconds is the time since started, for people.
func seconds(started time.Time) string {
	return fmt.Sprintf("%.1fs", time.Since(started).Seconds())
}
