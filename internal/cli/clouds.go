package cli

import (
	"context"
	"errors"

	"devctl/components"
	"devctl/images"
	"devctl/internal/clouds"
	"devctl/internal/engine"
	"devctl/stacks"
)

// cloudOf is the cloud that a spec wants.
func (d *deps) cloudOf(spec *stacks.Spec, set *images.Set) components.Cloud {
	return clouds.Of(spec, set, binDir(d.getenv))
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
