package cli

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"devctl/components"
	"devctl/images"
	"devctl/internal/clouds"
	"devctl/internal/engine"
	"devctl/stacks"
)

// cloudOf is the cloud that a spec wants; allowed are the names given with --allow-replace. Where devctl cannot replace machines one
// after the other while it runs, up replaces none but these.
func (d *deps) cloudOf(spec *stacks.Spec, set *images.Set, allowed []string) components.Cloud {
	return clouds.Of(spec, set, binDir(d.getenv), func(node string) bool { return !slices.Contains(allowed, node) })
}

// openSlots is deps.slots.
func openSlots(ctx context.Context, spec *stacks.Spec) (slots, error) {
	return clouds.OpenSlots(ctx, spec)
}

// spacesKeys is the access key to Spaces: the one that was imported for the stack, or else the environment's, as Pulumi's
// provider for DigitalOcean has it.
func (d *deps) spacesKeys(ctx context.Context, stack *engine.Stack) (id, secret string, err error) {
	if id, err = stack.Secret(ctx, "digitalocean:spacesAccessId"); err != nil {
		return "", "", err
	}
	if secret, err = stack.Secret(ctx, "digitalocean:spacesSecretKey"); err != nil {
		return "", "", err
	}
	id, secret = cmp.Or(id, d.getenv("SPACES_ACCESS_KEY_ID")), cmp.Or(secret, d.getenv("SPACES_SECRET_ACCESS_KEY"))
	if id == "" || secret == "" {
		return "", "", withNext(errors.New("there is no access key to Spaces"), d.command("secrets ls")+" shows what is missing")
	}
	return id, secret, nil
}
