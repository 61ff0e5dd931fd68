package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"

	"devctl/components"
	"devctl/components/aws"
	"devctl/components/digitalocean"
	"devctl/components/local"
	"devctl/images"
	"devctl/internal/engine"
	"devctl/stacks"
)

// cloudOf is the cloud that a spec wants. It asks nobody and touches nothing.
func (d *deps) cloudOf(spec *stacks.Spec, set *images.Set) components.Cloud {
	sum := sha256.Sum256(set.Daemon.Data)
	path, hash := filepath.Join(binDir(d.getenv), set.Daemon.Name), hex.EncodeToString(sum[:])
	switch spec.Provider {
	case stacks.ProviderAWS:
		return aws.New(aws.Options{
			Region: spec.AWS.Region, Bucket: spec.AWS.Bucket, Release: spec.AWS.CoreOS.Release, HostedZone: spec.AWS.HostedZone,
			RootGiB: int(spec.AWS.Volumes.Root / stacks.GiB), DataGiB: int(spec.AWS.Volumes.Data / stacks.GiB),
			Daemon: aws.Daemon{Path: path, SHA256: hash}, Images: set.Refs(), Bundle: set.Bundle(),
		})
	case stacks.ProviderDigitalOcean:
		do := spec.DigitalOcean
		return digitalocean.New(digitalocean.Options{
			Region: do.Region, CIDR: spec.Network.CIDR, Bucket: do.Bucket, Project: do.Project, SSHKeys: spec.SSHKeys,
			ImageURL: do.CoreOS.URL, ImageID: do.CoreOS.ImageID,
			Daemon: digitalocean.Daemon{Path: path, SHA256: hash}, Images: set.Refs(), Bundle: set.Bundle(),
		})
	default:
		return local.New(set)
	}
}

// spacesKeys is the access key to Spaces: the environment's, or else the one that was imported for the stack.
func (d *deps) spacesKeys(ctx context.Context, stack *engine.Stack) (id, secret string, err error) {
	if id, secret = d.getenv("SPACES_ACCESS_KEY_ID"), d.getenv("SPACES_SECRET_ACCESS_KEY"); id != "" && secret != "" {
		return id, secret, nil
	}
	if id, err = stack.Secret(ctx, "digitalocean:spacesAccessId"); err != nil {
		return "", "", err
	}
	if secret, err = stack.Secret(ctx, "digitalocean:spacesSecretKey"); err != nil {
		return "", "", err
	}
	if id == "" || secret == "" {
		return "", "", withNext(errors.New("there is no access key to Spaces"), d.command("secrets")+" shows how to import one")
	}
	return id, secret, nil
}
