// Command pulumi-resource-devctl is devctl's provider as a plugin: certificates, passwords and image bundles of stacks on
// clouds, for those who run `pulumi preview` and `pulumi up` themselves (docs/pulumi.md). devctl has it inside.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"devctl/images"
	"devctl/internal/bundle"
	"devctl/internal/localcloud"
	"devctl/internal/provider"
)

func main() {
	if err := serve(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "pulumi-resource-devctl:", err)
		os.Exit(1)
	}
}

// serve serves the provider with what is beside this program.
func serve(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find what nodes run: %w", err)
	}
	set, err := images.Load(os.DirFS(filepath.Dir(self)))
	if err != nil {
		return fmt.Errorf("look in %s for what nodes run: %w; run `make build`", filepath.Dir(self), err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("find a folder for image bundles: %w", err)
	}
	docker, err := localcloud.Connect()
	if err != nil {
		return err
	}
	defer func() { _ = docker.Close() }()
	return provider.Main(ctx, provider.Options{Images: set, Bundles: &bundle.Store{
		Dir: filepath.Join(cache, "devctl", "bundles"), Images: set.Refs(), SpacesKeys: spacesKeys,
		Save: func(ctx context.Context, image string, w io.Writer, log func(string)) error {
			return docker.SaveService(ctx, set, image, w, log)
		},
	}})
}

// spacesKeys is the access key to Spaces, as Pulumi's provider for DigitalOcean finds it too.
func spacesKeys(context.Context) (id, secret string, err error) {
	id, secret = os.Getenv("SPACES_ACCESS_KEY_ID"), os.Getenv("SPACES_SECRET_ACCESS_KEY")
	if id == "" || secret == "" {
		return "", "", errors.New("set SPACES_ACCESS_KEY_ID and SPACES_SECRET_ACCESS_KEY")
	}
	return id, secret, nil
}
