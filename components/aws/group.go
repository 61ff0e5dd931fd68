package aws

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/autoscaling"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/ec2"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/iam"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/s3"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/ignition"
	"devctl/internal/api"
)

// group is what the machines of one role have in common.
type group struct {
	components.NodeGroupArgs
	profile pulumi.StringOutput // ARN of the instance profile
	ready   []pulumi.Resource   // what has to be there before the first of them boots
}

// NodeGroup creates the machines of one role: slots, or an elastic group.
func (c *Cloud) NodeGroup(ctx *pulumi.Context, args components.NodeGroupArgs) (components.NodeGroup, error) {
	g := &group{NodeGroupArgs: args, ready: slices.Concat(c.ready, args.DependsOn)}
	if err := c.identity(ctx, g); err != nil {
		return components.NodeGroup{}, fmt.Errorf("register role of %s nodes: %w", args.Role, err)
	}
	secrets, err := c.object(ctx, string(args.Role)+"-secrets", s3.BucketObjectv2Args{
		Key:         pulumi.String(secretsKey(args.Role)),
		Content:     pulumi.ToSecret(args.Secrets).(pulumi.StringOutput),
		ContentType: pulumi.String(components.TypeIgnition),
	}, c.guards)
	if err != nil {
		return components.NodeGroup{}, err
	}
	g.ready = append(g.ready, secrets)
	if args.Elastic != nil {
		return components.NodeGroup{}, c.elastic(ctx, g)
	}
	var made components.NodeGroup
	for _, node := range args.Nodes {
		own := *g
		own.ready = slices.Clone(g.ready)
		address, err := c.slot(ctx, &own, node)
		if err != nil {
			return components.NodeGroup{}, fmt.Errorf("register slot %s: %w", node.Name, err)
		}
		if args.Role == api.RoleMain {
			made.Addresses = append(made.Addresses, address)
		}
	}
	return made, nil
}

// secretsKey is where a role's key files are: always in the same place, so that nothing about them is in user data.
func secretsKey(role api.Role) string { return folderConfig + "/" + string(role) + "/secrets.ign" }

// identity registers who the machines of a role are to AWS, and what they may.
func (c *Cloud) identity(ctx *pulumi.Context, g *group) error {
	name := string(g.Role)
	physical := pulumi.String(api.ResourceName(g.Stack, name))
	owned := tags(components.NewTags(g.Stack, name).OfRole(g.Role))
	role, err := iam.NewRole(ctx, name, &iam.RoleArgs{
		Name:             physical,
		Description:      pulumi.String("The " + name + " nodes of stack " + g.Stack),
		AssumeRolePolicy: pulumi.String(assumePolicy()),
		Tags:             owned,
	}, c.own())
	if err != nil {
		return err
	}
	allowed := g.Endpoint.ID.ApplyT(func(allocation string) string {
		return rolePolicy(c.options, g.Stack, g.Role, allocation)
	}).(pulumi.StringOutput)
	if g.Role != api.RoleWorker {
		allowed = pulumi.String(rolePolicy(c.options, g.Stack, g.Role, "")).ToStringOutput()
	}
	rights, err := iam.NewRolePolicy(ctx, name, &iam.RolePolicyArgs{Name: physical, Role: role.Name, Policy: allowed}, c.own())
	if err != nil {
		return err
	}
	profile, err := iam.NewInstanceProfile(ctx, name, &iam.InstanceProfileArgs{Name: physical, Role: role.Name, Tags: owned}, c.own())
	if err != nil {
		return err
	}
	g.profile, g.ready = profile.Arn, append(g.ready, rights)
	return nil
}

// slot registers one slot: its network interface with its address, and the group of one machine that has it. It returns
// the address that a main node has outside.
func (c *Cloud) slot(ctx *pulumi.Context, g *group, node api.Identity) (address pulumi.StringOutput, err error) {
	owned := components.NewTags(g.Stack, node.Name).OfNode(node)
	nic, err := ec2.NewNetworkInterface(ctx, node.Name, &ec2.NetworkInterfaceArgs{
		Description:    pulumi.String(api.ResourceName(g.Stack, node.Name)),
		SubnetId:       c.subnets[node.Zone],
		PrivateIps:     pulumi.StringArray{pulumi.String(node.Address)},
		SecurityGroups: pulumi.StringArray{c.groups[g.Role]},
		Tags:           tags(owned),
	}, c.own())
	if err != nil {
		return address, err
	}
	if g.Role == api.RoleMain {
		ip, err := ec2.NewEip(ctx, node.Name, &ec2.EipArgs{
			Domain:           pulumi.String("vpc"),
			NetworkInterface: nic.ID(),
			Tags:             tags(owned),
		}, c.own(pulumi.DependsOn([]pulumi.Resource{c.out}))) // AWS gives none to a network without a way out
		if err != nil {
			return address, err
		}
		address = ip.PublicIp
		g.ready = append(g.ready, ip)
	}
	template, err := c.template(ctx, g, node, owned, ec2.LaunchTemplateNetworkInterfaceArgs{
		DeviceIndex:         pulumi.Int(0),
		NetworkInterfaceId:  nic.ID(),
		DeleteOnTermination: pulumi.String("false"),
	})
	if err != nil {
		return address, err
	}
	_, err = autoscaling.NewGroup(ctx, node.Name, &autoscaling.GroupArgs{
		Name:            pulumi.String(api.ResourceName(g.Stack, node.Name)),
		MinSize:         pulumi.Int(1),
		MaxSize:         pulumi.Int(1),
		DesiredCapacity: pulumi.Int(1),
		// Zones and not subnets: the interface is in one already.
		AvailabilityZones:  pulumi.StringArray{pulumi.String(node.Zone)},
		LaunchTemplate:     template,
		ProtectFromScaleIn: pulumi.Bool(true),
		SuspendedProcesses: pulumi.ToStringArray([]string{"AZRebalance"}),
		Tags:               groupTags(owned),
	}, c.own(pulumi.DependsOn(g.ready),
		// Another network, another interface. AWS does not delete the old one while a machine has it, and ends no machine
		// of a group for a change: so the group goes first, with its machine.
		pulumi.ReplaceWith([]pulumi.Resource{nic}), pulumi.DeleteBeforeReplace(true),
	))
	return address, err
}

// elastic registers a group whose size is not the program's, once it is there.
func (c *Cloud) elastic(ctx *pulumi.Context, g *group) error {
	name := string(g.Role)
	owned := components.NewTags(g.Stack, name).OfRole(g.Role)
	template, err := c.template(ctx, g, api.Identity{Stack: g.Stack, Role: g.Role}, owned, ec2.LaunchTemplateNetworkInterfaceArgs{
		DeviceIndex: pulumi.Int(0),
		// Without one a worker could not ask AWS for the endpoint's.
		AssociatePublicIpAddress: pulumi.String("true"),
		DeleteOnTermination:      pulumi.String("true"),
		SecurityGroups:           pulumi.StringArray{c.groups[g.Role]},
	})
	if err != nil {
		return fmt.Errorf("register launch template of %s nodes: %w", g.Role, err)
	}
	var subnets pulumi.StringArray
	for _, zone := range sortedKeys(c.subnets) {
		subnets = append(subnets, c.subnets[zone])
	}
	_, err = autoscaling.NewGroup(ctx, name, &autoscaling.GroupArgs{
		Name:               pulumi.String(api.ResourceName(g.Stack, name)),
		MinSize:            pulumi.Int(g.Elastic.Min),
		MaxSize:            pulumi.Int(g.Elastic.Max),
		DesiredCapacity:    pulumi.Int(g.Elastic.Min),
		VpcZoneIdentifiers: subnets,
		LaunchTemplate:     template,
		// A change of the template replaces the workers, each after its successor is there.
		InstanceRefresh: autoscaling.GroupInstanceRefreshArgs{
			Strategy: pulumi.String("Rolling"),
			Preferences: autoscaling.GroupInstanceRefreshPreferencesArgs{
				MinHealthyPercentage: pulumi.Int(100),
				MaxHealthyPercentage: pulumi.Int(110),
				InstanceWarmup:       pulumi.String(strconv.Itoa(warmup)),
			},
		},
		Tags: groupTags(owned),
	}, c.own(pulumi.DependsOn(g.ready), pulumi.IgnoreChanges([]string{"desiredCapacity"})))
	if err != nil {
		return fmt.Errorf("register group of %s nodes: %w", g.Role, err)
	}
	return nil
}

// warmup is how many seconds a worker needs from its launch until it serves: AWS has no other sign of it.
const warmup = 120

// template registers what machines are launched from. A change makes a new version of it; the group that is returned to
// names the version, because AWS starts no refresh for one that is called "latest".
func (c *Cloud) template(ctx *pulumi.Context, g *group, id api.Identity, owned components.Tags,
	nic ec2.LaunchTemplateNetworkInterfaceArgs) (autoscaling.GroupLaunchTemplateArgs, error) {
	name := id.Name
	if name == "" {
		name = string(id.Role)
	}
	data, err := c.userData(ctx, g, id, name)
	if err != nil {
		return autoscaling.GroupLaunchTemplateArgs{}, err
	}
	size := c.options.RootGiB
	if g.Role == api.RoleData {
		size = c.options.DataGiB
	}
	made := ec2.LaunchTemplateTagSpecificationArray{}
	for _, kind := range []string{"instance", "network-interface", "volume"} {
		if kind == "network-interface" && g.Elastic == nil {
			continue // a slot's has its tags, and outlives the machine
		}
		made = append(made, ec2.LaunchTemplateTagSpecificationArgs{ResourceType: pulumi.String(kind), Tags: tags(owned)})
	}
	template, err := ec2.NewLaunchTemplate(ctx, name, &ec2.LaunchTemplateArgs{
		Name:                 pulumi.String(api.ResourceName(g.Stack, name)),
		UpdateDefaultVersion: pulumi.Bool(true),
		ImageId:              g.Artifacts.NodeImage,
		InstanceType:         pulumi.String(g.MachineType),
		IamInstanceProfile:   ec2.LaunchTemplateIamInstanceProfileArgs{Arn: g.profile},
		UserData:             pulumi.String(base64.StdEncoding.EncodeToString(data)),
		BlockDeviceMappings:  ec2.LaunchTemplateBlockDeviceMappingArray{disk(size)},
		NetworkInterfaces:    ec2.LaunchTemplateNetworkInterfaceArray{nic},
		// One hop: what runs in a container with a network of its own cannot ask for the machine's credentials.
		MetadataOptions: ec2.LaunchTemplateMetadataOptionsArgs{
			HttpEndpoint:            pulumi.String("enabled"),
			HttpTokens:              pulumi.String("required"),
			HttpPutResponseHopLimit: pulumi.Int(1),
		},
		TagSpecifications: made,
		Tags:              tags(owned),
	}, c.own())
	if err != nil {
		return autoscaling.GroupLaunchTemplateArgs{}, err
	}
	return autoscaling.GroupLaunchTemplateArgs{
		Id:      template.ID(),
		Version: template.LatestVersion.ApplyT(strconv.Itoa).(pulumi.StringOutput),
	}, nil
}

// userData is what a machine boots with. One that is too large even compressed goes to the bucket, and a pointer remains.
func (c *Cloud) userData(ctx *pulumi.Context, g *group, id api.Identity, name string) ([]byte, error) {
	config, err := ignition.CloudMachine([]byte(g.Config), ignition.Source{URL: c.url(secretsKey(g.Role))}, id)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(config)
	sum := hex.EncodeToString(digest[:])
	key := fmt.Sprintf("%s/%s/%s-%s.ign", folderConfig, g.Role, name, sum[:components.HashLength])
	data, err := ignition.UserData(config, ignition.LimitAWS, ignition.Source{URL: c.url(key), SHA256: sum})
	if err != nil || data.Form != ignition.Pointer {
		return data.Data, err
	}
	object, err := c.object(ctx, name+"-config", s3.BucketObjectv2Args{
		Key:         pulumi.String(key),
		Content:     pulumi.String(config),
		ContentType: pulumi.String(components.TypeIgnition),
	}, c.guards)
	if err != nil {
		return nil, err
	}
	g.ready = append(g.ready, object)
	return data.Data, nil
}

// rootDevice is what Fedora CoreOS's image calls its disk.
const rootDevice = "/dev/xvda"

// disk is a machine's one disk, which lives as long as the machine. Redis has none of its own: one that outlives the machine
// would hold older data than the other members of the shard, from which a new machine gets them, and one that does not
// would have to be found among disks whose names nobody can tell beforehand.
func disk(gib int) ec2.LaunchTemplateBlockDeviceMappingArgs {
	return ec2.LaunchTemplateBlockDeviceMappingArgs{
		DeviceName: pulumi.String(rootDevice),
		Ebs: ec2.LaunchTemplateBlockDeviceMappingEbsArgs{
			VolumeType:          pulumi.String("gp3"),
			VolumeSize:          pulumi.Int(gib),
			Encrypted:           pulumi.String("true"),
			DeleteOnTermination: pulumi.String("true"),
		},
	}
}

// groupTags are a group's own: its machines have theirs from the template.
func groupTags(owned components.Tags) autoscaling.GroupTagArray {
	var list autoscaling.GroupTagArray
	for _, key := range sortedKeys(owned) {
		list = append(list, autoscaling.GroupTagArgs{
			Key: pulumi.String(key), Value: pulumi.String(owned[key]), PropagateAtLaunch: pulumi.Bool(false),
		})
	}
	return list
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
