package digitalocean

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	do "github.com/pulumi/pulumi-digitalocean/sdk/v4/go/digitalocean"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/ignition"
	"devctl/internal/api"
)

// A machine has no identity towards Spaces, so it fetches without credentials. The bucket lists nothing to anybody. What
// is no secret in it can be read by whoever knows its name, which follows from its content: machines check that. Only what
// they look up, the mains and their founders, is where anybody could guess: addresses inside of the network, and IDs. A
// role's key files are private, and user data has a URL to them that an access key has signed which may read this bucket and
// nothing else. For the sake of that URL user data is a secret of the stack. Who reads user data on a machine can fetch
// the key files of the machine's role, until the access key is deleted.

// Folders of the bucket, beside those that clouds have in common.
const (
	folderConfig  = "config"
	folderSecrets = "secrets"
)

const (
	aclPrivate     = "private"
	aclPublicRead  = "public-read" // for who knows its name: the bucket itself is private, so nobody can list it
	typeEnv        = "text/plain; charset=utf-8"
	typeBinary     = "application/octet-stream"
	neverChanges   = "public, max-age=31536000, immutable"
	alwaysAskAgain = "no-cache"
)

// url is where machines find an object.
func (c *Cloud) url(key string) string {
	return components.BucketURL(api.PlatformDigitalOcean, c.options.Region, c.options.Bucket) + "/" + key
}

// object registers an object of the bucket.
func (c *Cloud) object(ctx *pulumi.Context, name string, args do.SpacesBucketObjectArgs, opts ...pulumi.ResourceOption) (*do.SpacesBucketObject, error) {
	args.Bucket, args.Region = c.bucket.Name, pulumi.String(c.options.Region)
	if args.Acl == nil {
		args.Acl = pulumi.String(aclPublicRead)
	}
	object, err := do.NewSpacesBucketObject(ctx, name, &args, opts...)
	if err != nil {
		return nil, fmt.Errorf("register object %s: %w", name, err)
	}
	return object, nil
}

// Artifacts creates the bucket with what every machine fetches, and imports the image that they boot.
func (c *Cloud) Artifacts(ctx *pulumi.Context, args components.ArtifactsArgs) (components.Artifacts, error) {
	var err error
	c.bucket, err = do.NewSpacesBucket(ctx, "bucket", &do.SpacesBucketArgs{
		Name:   pulumi.String(c.options.Bucket),
		Region: pulumi.String(c.options.Region),
		Acl:    pulumi.String(aclPrivate),
		// Older images are in no program.
		ForceDestroy: pulumi.Bool(true),
	})
	if err != nil {
		return components.Artifacts{}, fmt.Errorf("register bucket %q: %w", c.options.Bucket, err)
	}
	if err := c.show(ctx, "bucket", c.bucket.BucketUrn); err != nil {
		return components.Artifacts{}, err
	}
	c.reader, err = do.NewSpacesKey(ctx, "reader", &do.SpacesKeyArgs{
		Name:   pulumi.String(api.ResourceName(args.Stack, "reader")),
		Grants: do.SpacesKeyGrantArray{do.SpacesKeyGrantArgs{Bucket: c.bucket.Name, Permission: pulumi.String("read")}},
	}, pulumi.AdditionalSecretOutputs([]string{"secretKey"}))
	if err != nil {
		return components.Artifacts{}, fmt.Errorf("register access key to bucket %q: %w", c.options.Bucket, err)
	}
	// Its hash is in the resource's name too: the path on this machine is another on the next, and no reason to upload it again.
	daemon, err := c.object(ctx, c.options.Daemon.Name(), do.SpacesBucketObjectArgs{
		Key:          pulumi.String(c.options.Daemon.Key()),
		Source:       pulumi.String(c.options.Daemon.Path),
		ContentType:  pulumi.String(typeBinary),
		CacheControl: pulumi.String(neverChanges),
	}, pulumi.IgnoreChanges([]string{"source"}))
	if err != nil {
		return components.Artifacts{}, err
	}
	images, err := components.NewBundles(ctx, components.BundleArgs{
		Platform: api.PlatformDigitalOcean, Region: c.options.Region, Bucket: c.bucket.Name, Images: c.options.Images,
	})
	if err != nil {
		return components.Artifacts{}, err
	}
	c.ready = append(append(c.ready, daemon), images...)
	image, err := c.image(ctx, args.Stack)
	if err != nil {
		return components.Artifacts{}, err
	}
	return components.Artifacts{NodeImage: image, Store: c.bucket.Name}, nil
}

// image is the ID of what machines boot.
func (c *Cloud) image(ctx *pulumi.Context, stack string) (pulumi.StringOutput, error) {
	if c.options.ImageID != "" {
		return pulumi.String(c.options.ImageID).ToStringOutput(), nil
	}
	image, err := do.NewCustomImage(ctx, "coreos", &do.CustomImageArgs{
		Name:         pulumi.String(api.ResourceName(stack, "coreos")),
		Description:  pulumi.String("Fedora CoreOS of stack " + stack),
		Distribution: pulumi.String("Fedora"),
		Url:          pulumi.String(c.options.ImageURL),
		Regions:      pulumi.StringArray{pulumi.String(c.options.Region)},
		Tags:         tags(components.NewTags(stack, "coreos")),
	}, pulumi.DeleteBeforeReplace(false)) // the new one first: machines that this run leaves as they are keep the old one's ID
	if err != nil {
		return pulumi.StringOutput{}, fmt.Errorf("register image %s: %w", c.options.ImageURL, err)
	}
	return pulumi.Sprintf("%d", image.ImageId), nil
}

// configKey is where a role's config is in the bucket.
func configKey(role api.Role, config string) string {
	return folderConfig + "/" + string(role) + "-" + sum(config) + ".ign"
}

// fetched registers what machines of a role fetch: the config, in the clear, so that a preview can show what changes in
// it, and the key files, of which it returns a signed URL.
func (c *Cloud) fetched(ctx *pulumi.Context, args components.NodeGroupArgs) (ready []pulumi.Resource, secrets pulumi.StringOutput, err error) {
	role := string(args.Role)
	public, err := c.object(ctx, role+"-config", do.SpacesBucketObjectArgs{
		Key:          pulumi.String(configKey(args.Role, args.Config)),
		Content:      pulumi.String(args.Config),
		ContentType:  pulumi.String(components.TypeIgnition),
		CacheControl: pulumi.String(neverChanges),
	})
	if err != nil {
		return nil, secrets, err
	}
	key := folderSecrets + "/" + role + ".ign"
	secret, err := c.object(ctx, role+"-secrets", do.SpacesBucketObjectArgs{
		Key:          pulumi.String(key),
		Content:      pulumi.ToSecret(args.Secrets).(pulumi.StringOutput),
		Acl:          pulumi.String(aclPrivate),
		ContentType:  pulumi.String(components.TypeIgnition),
		CacheControl: pulumi.String(alwaysAskAgain),
	})
	if err != nil {
		return nil, secrets, err
	}
	signed := pulumi.All(c.reader.AccessKey, c.reader.SecretKey).ApplyT(func(v []any) string {
		return c.signed(key, v[0].(string), v[1].(string))
	})
	return []pulumi.Resource{public, secret}, pulumi.ToSecret(signed).(pulumi.StringOutput), nil
}

// sum is a SHA-256 in hex.
func sum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// register puts what main nodes can know only after they were made where they look it up. Others find them there as well.
func (c *Cloud) register(ctx *pulumi.Context, mains []api.Identity, droplets []*do.Droplet) error {
	var values []any
	for _, d := range droplets {
		values = append(values, d.Ipv4AddressPrivate, d.ID().ToStringOutput())
	}
	all := pulumi.All(values...)
	text := func(write func(peers []api.Peer, ids []string) (string, error)) pulumi.StringOutput {
		return all.ApplyT(func(v []any) (string, error) {
			peers, ids := make([]api.Peer, len(mains)), make([]string, len(mains))
			for i, m := range mains {
				peers[i], ids[i] = api.Peer{Name: m.Name, Address: v[2*i].(string)}, v[2*i+1].(string)
			}
			return write(peers, ids)
		}).(pulumi.StringOutput)
	}
	for _, entry := range []struct {
		name, key string
		content   pulumi.StringOutput
		opts      []pulumi.ResourceOption
	}{
		{"mains", api.RegistryMains, text(func(peers []api.Peer, _ []string) (string, error) { return ignition.MainsEnv(peers) }), nil},
		// Whoever is on this list may found a cluster. Main nodes that are made later are not: they join. Since what is
		// ignored stays as it is even when an object is replaced, the one in another place is another resource.
		{"founders-" + sum(c.url(components.Registry(c.options.CIDR)))[:components.HashLength], api.RegistryFounders, text(ignition.FoundersEnv), []pulumi.ResourceOption{pulumi.IgnoreChanges([]string{"content"})}},
	} {
		_, err := c.object(ctx, entry.name, do.SpacesBucketObjectArgs{
			Key:          pulumi.String(components.Registry(c.options.CIDR) + "/" + entry.key),
			Content:      entry.content,
			ContentType:  pulumi.String(typeEnv),
			CacheControl: pulumi.String(alwaysAskAgain),
		}, entry.opts...)
		if err != nil {
			return err
		}
	}
	return nil
}
