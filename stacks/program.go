package stacks

import (
	"cmp"
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/ignition"
	"devctl/internal/api"
)

// Program returns the one Pulumi program: what every stack consists of, on whichever cloud. It registers the same
// resources with the same inputs whenever it is given the same spec.
//
// etcdImage is the container image reference of etcd as main nodes find it. made, unless nil, is called with the outputs as
// soon as an update knows them; a preview of a stack that is not there yet never does.
func Program(s *Spec, cloud components.Cloud, etcdImage string, made func(*Outputs)) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		authority, err := components.NewAuthority(ctx, s.Stack)
		if err != nil {
			return err
		}
		secrets := pulumi.StringMap{}
		var passwords []pulumi.Resource
		for _, secret := range s.Secrets() {
			if !secret.InDeployment() {
				continue
			}
			password, err := components.NewPassword(ctx, secret.Key, imported(ctx, secret.Key))
			if err != nil {
				return err
			}
			secrets[secret.Key] = password.Result
			passwords = append(passwords, password)
		}
		network, err := cloud.Network(ctx, components.NetworkArgs{Stack: s.Stack, CIDR: s.Network.CIDR, Zones: s.zones(), Access: s.access()})
		if err != nil {
			return fmt.Errorf("network of stack %q: %w", s.Stack, err)
		}
		artifacts, err := cloud.Artifacts(ctx, components.ArtifactsArgs{Stack: s.Stack})
		if err != nil {
			return fmt.Errorf("artifacts of stack %q: %w", s.Stack, err)
		}
		endpoint, err := cloud.Endpoint(ctx, components.EndpointArgs{Stack: s.Stack, Domain: s.Domain, Address: s.EndpointAddress()})
		if err != nil {
			return fmt.Errorf("endpoint of stack %q: %w", s.Stack, err)
		}
		// A destroy that fails half-way must not forget passwords that machines still use.
		group := components.NodeGroupArgs{Stack: s.Stack, Network: network, Artifacts: artifacts, Endpoint: endpoint, DependsOn: passwords}
		groups, configs := map[api.Role]components.NodeGroup{}, pulumi.StringMap{}
		for _, role := range api.Roles() {
			config, err := ignition.Role(s.RoleConfig(role, etcdImage, cloud.Boot()))
			if err == nil {
				groups[role], err = nodeGroup(ctx, s, cloud, authority, role, config, group)
			}
			if err != nil {
				return fmt.Errorf("%s nodes of stack %q: %w", role, s.Stack, err)
			}
			configs[string(role)] = pulumi.String(config.Hash)
		}
		export(ctx, s, exported{authority, secrets, artifacts, endpoint, groups, configs}, made)
		return nil
	}
}

// nodeGroup registers the machines of one role, with the arguments that all groups share. The groups do not depend on
// one another: workers and data nodes boot while the mains form their quorum, and join when it answers.
func nodeGroup(ctx *pulumi.Context, s *Spec, cloud components.Cloud, authority *components.Authority,
	role api.Role, config ignition.Rendered, args components.NodeGroupArgs) (components.NodeGroup, error) {
	cert, key := authority.Bootstrap(role)
	caKey := pulumi.String("").ToStringOutput()
	if role == api.RoleMain {
		caKey = authority.CAKey
	}
	secrets := pulumi.All(authority.CACert, cert, key, caKey).ApplyT(func(pems []any) (string, error) {
		rendered, err := ignition.Secrets(role, ignition.SecretFiles{
			CACert:        pems[0].(string),
			BootstrapCert: pems[1].(string),
			BootstrapKey:  pems[2].(string),
			CAKey:         pems[3].(string),
		})
		return string(rendered.Ignition), err
	}).(pulumi.StringOutput)

	args.Role, args.Nodes, args.MachineType = role, s.Group(role), s.machineType(role)
	if role == api.RoleWorker && s.cloud() {
		args.Elastic = &components.Elastic{Min: s.Nodes.Worker.Min, Max: s.Nodes.Worker.Max}
	}
	args.Config = string(config.Ignition)
	args.Secrets = pulumi.ToSecret(secrets).(pulumi.StringOutput)
	return cloud.NodeGroup(ctx, args)
}

func (s *Spec) machineType(role api.Role) string {
	return map[api.Role]string{
		api.RoleMain: s.Nodes.Main.MachineType, api.RoleWorker: s.Nodes.Worker.MachineType, api.RoleData: s.Nodes.Data.MachineType,
	}[role]
}

// machine is what the machines of a role are made from beside their config, a line each. It is empty for local, where all that
// a machine is made from is found in its label.
func (s *Spec) machine(role api.Role) string {
	switch s.Provider {
	case ProviderAWS:
		disk := s.AWS.Volumes.Root
		if role == api.RoleData {
			disk = s.AWS.Volumes.Data
		}
		return fmt.Sprintf("type %s\nimage Fedora CoreOS %s\ndisk %d GiB\n", s.machineType(role), s.AWS.CoreOS.Release, disk/GiB)
	case ProviderDigitalOcean:
		return fmt.Sprintf("type %s\nimage %s\n", s.machineType(role), cmp.Or(s.DigitalOcean.CoreOS.URL, s.DigitalOcean.CoreOS.ImageID))
	}
	return ""
}

func (s *Spec) access() components.Access {
	return components.Access{
		AdminCIDRs: s.AdminCIDRs, ClientCIDRs: s.Endpoint.ClientCIDRs,
		EndpointPort: s.Endpoint.Port, StatsPort: s.Endpoint.StatsPort, Shards: s.Redis.Shards,
	}
}

// RoleConfig is what the Ignition config of a role is rendered from, for a cloud's machines with what its Boot says.
func (s *Spec) RoleConfig(role api.Role, etcdImage string, boot components.Boot) ignition.RoleConfig {
	return ignition.RoleConfig{
		Stack: s.Stack, Role: role, Platform: boot.Platform, Mains: s.Mains(), EtcdImage: etcdImage, SSHKeys: s.SSHKeys,
		Images: boot.Images, Downloads: boot.Downloads, Registry: boot.Registry, Machine: s.machine(role),
	}
}
