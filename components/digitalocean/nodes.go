package digitalocean

import (
	"errors"
	"fmt"
	"strings"

	do "github.com/pulumi/pulumi-digitalocean/sdk/v4/go/digitalocean"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"golang.org/x/crypto/ssh"

	"devctl/components"
	"devctl/ignition"
	"devctl/internal/api"
)

// NodeGroup creates the machines of one role: a droplet for each slot, or a pool for an elastic group.
//
// There are no volumes. What Redis keeps is on the droplet's own disk and in the other members of its shards, where a new
// machine gets it from; a volume would be a slower copy that outlives the machine, of data that is older than theirs.
func (c *Cloud) NodeGroup(ctx *pulumi.Context, args components.NodeGroupArgs) (components.NodeGroup, error) {
	keys, err := fingerprints(c.options.SSHKeys)
	if err != nil {
		return components.NodeGroup{}, err
	}
	ready, secrets, err := c.fetched(ctx, args)
	if err != nil {
		return components.NodeGroup{}, err
	}
	m := machines{
		NodeGroupArgs: args, keys: keys, secrets: secrets,
		after: pulumi.DependsOn(append(append(ready, c.ready...), args.DependsOn...)),
	}
	if args.Elastic != nil {
		return components.NodeGroup{}, c.pool(ctx, m)
	}
	return c.droplets(ctx, m)
}

// machines are what all machines of a group are made from.
type machines struct {
	components.NodeGroupArgs
	keys    pulumi.StringArray  // fingerprints of SSH keys
	secrets pulumi.StringOutput // signed URL of the role's key files
	after   pulumi.ResourceOption
}

// userData is what a machine boots with. It is a secret because of the URL of the secrets.
func (c *Cloud) userData(m machines, id api.Identity) pulumi.StringOutput {
	data := m.secrets.ApplyT(func(secrets string) (string, error) { return c.pointer(m.Config, secrets, id) })
	return pulumi.ToSecret(data).(pulumi.StringOutput)
}

// pointer says who a machine is, and where the rest is: its role's config in the bucket, its key files at a URL.
func (c *Cloud) pointer(config, secrets string, id api.Identity) (string, error) {
	role := ignition.Source{URL: c.url(configKey(id.Role, config)), SHA256: sum(config)}
	text, err := ignition.CloudPointer(role, ignition.Source{URL: secrets}, id)
	return string(text), err
}

// madeFrom are the properties of a droplet that a change of replaces it. The provider would change the size in place: it turns the
// droplet off for that, and all of a role at once. As a replacement it has to be allowed by name, one after the other.
var madeFrom = []string{"image", "size", "userData", "sshKeys"}

func (c *Cloud) droplets(ctx *pulumi.Context, m machines) (components.NodeGroup, error) {
	var group components.NodeGroup
	var droplets []*do.Droplet
	var urns []pulumi.StringOutput
	for _, node := range m.Nodes {
		opts := []pulumi.ResourceOption{
			m.after,
			pulumi.ReplaceOnChanges([]string{"size"}),
			pulumi.DeleteBeforeReplace(true), // two machines that say they are main-1 would be one too many
		}
		if c.options.Keep != nil && c.options.Keep(node.Name) {
			opts = append(opts, pulumi.IgnoreChanges(madeFrom))
		}
		droplet, err := do.NewDroplet(ctx, node.Name, &do.DropletArgs{
			Name:         pulumi.String(api.ResourceName(m.Stack, node.Name)),
			Region:       pulumi.String(c.options.Region),
			Size:         pulumi.String(m.MachineType),
			Image:        m.Artifacts.NodeImage,
			VpcUuid:      m.Network.ID,
			SshKeys:      m.keys,
			Tags:         machineTags(m.Stack, m.Role, node),
			UserData:     c.userData(m, node),
			DropletAgent: pulumi.Bool(false), // there is none for images of one's own
			// A member of a cluster says goodbye.
			GracefulShutdown: pulumi.Bool(true),
		}, opts...)
		if err != nil {
			return components.NodeGroup{}, fmt.Errorf("register droplet %s: %w", node.Name, err)
		}
		droplets, urns = append(droplets, droplet), append(urns, droplet.DropletUrn)
		group.Addresses = append(group.Addresses, droplet.Ipv4Address)
		group.Inside = append(group.Inside, droplet.Ipv4AddressPrivate)
	}
	if m.Role == api.RoleMain {
		if err := c.register(ctx, m.Nodes, droplets); err != nil {
			return components.NodeGroup{}, err
		}
	}
	return group, c.show(ctx, string(m.Role), urns...)
}

// pool registers an elastic group, whose size is not the program's once it is there. Pools that scale by load need an agent
// that there is not for images of one's own, so this one is of a fixed size: Elastic.Max has no place in it.
func (c *Cloud) pool(ctx *pulumi.Context, m machines) error {
	_, err := do.NewDropletAutoscale(ctx, string(m.Role), &do.DropletAutoscaleArgs{
		Name:   pulumi.String(api.ResourceName(m.Stack, string(m.Role))),
		Config: do.DropletAutoscaleConfigArgs{TargetNumberInstances: pulumi.Int(m.Elastic.Min)},
		DropletTemplate: do.DropletAutoscaleDropletTemplateArgs{
			Region:           pulumi.String(c.options.Region),
			Size:             pulumi.String(m.MachineType),
			Image:            m.Artifacts.NodeImage,
			VpcUuid:          m.Network.ID,
			ProjectId:        c.project.ID(),
			SshKeys:          m.keys,
			Tags:             machineTags(m.Stack, m.Role, api.Identity{}),
			UserData:         c.userData(m, api.Identity{Stack: m.Stack, Role: m.Role, Zone: c.options.Region}),
			WithDropletAgent: pulumi.Bool(false),
		},
	}, m.after,
		pulumi.IgnoreChanges([]string{"config.targetNumberInstances"}),
		// A VPC cannot go while a machine is in it, and a pool that is only updated keeps its machines until it has others.
		pulumi.ReplaceOnChanges([]string{"dropletTemplate.vpcUuid"}),
		pulumi.DeleteBeforeReplace(true),
	)
	if err != nil {
		return fmt.Errorf("register pool of %s nodes: %w", m.Role, err)
	}
	return nil
}

// fingerprints are what DigitalOcean calls SSH keys by. It takes no droplet of an image of one's own without one, and
// each key can be in an account only once: so the keys are the account's, and no stack makes or removes any.
func fingerprints(keys []string) (pulumi.StringArray, error) {
	if len(keys) == 0 {
		return nil, errors.New("no SSH key: DigitalOcean creates no machine from an image of one's own without")
	}
	var prints pulumi.StringArray
	for _, line := range keys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return nil, fmt.Errorf("read SSH key %q: %w", strings.TrimSpace(line), err)
		}
		prints = append(prints, pulumi.String(ssh.FingerprintLegacyMD5(key)))
	}
	return prints, nil
}
