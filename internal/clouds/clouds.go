// Package clouds chooses the cloud that a spec names, and hands it what it wants to know of the spec. It alone knows all of
// them.
package clouds

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"slices"

	"devctl/components"
	"devctl/components/aws"
	"devctl/components/digitalocean"
	"devctl/components/local"
	"devctl/images"
	"devctl/stacks"
)

// Of is the cloud that a spec wants, for machines that run what is in set. It asks nobody and touches nothing. bin is the folder
// with the daemon, from where it goes to the stack's bucket. keep tells of a main or data node that stays as it is, where
// otherwise all whose configuration has changed would be replaced at once; nil: none.
func Of(spec *stacks.Spec, set *images.Set, bin string, keep func(node string) bool) components.Cloud {
	sum := sha256.Sum256(set.Daemon.Data)
	daemon := components.Daemon{Path: filepath.Join(bin, set.Daemon.Name), SHA256: hex.EncodeToString(sum[:])}
	switch spec.Provider {
	case stacks.ProviderAWS:
		return aws.New(aws.Options{
			Region: spec.AWS.Region, CIDR: spec.Network.CIDR, Bucket: spec.AWS.Bucket, Release: spec.AWS.CoreOS.Release, HostedZone: spec.AWS.HostedZone,
			RootGiB: int(spec.AWS.Volumes.Root / stacks.GiB), DataGiB: int(spec.AWS.Volumes.Data / stacks.GiB),
			Daemon: daemon, Images: set.Refs(),
		})
	case stacks.ProviderDigitalOcean:
		do := spec.DigitalOcean
		return digitalocean.New(digitalocean.Options{
			Region: do.Region, CIDR: spec.Network.CIDR, Bucket: do.Bucket, Project: do.Project, SSHKeys: spec.SSHKeys,
			ImageURL: do.CoreOS.URL, ImageID: do.CoreOS.ImageID,
			Daemon: daemon,
			// There is no VRRP there: the balancers elect one of them in etcd.
			Images: slices.DeleteFunc(set.Refs(), func(ref string) bool { return ref == set.Deployed().Keepalived }),
			Keep:   keep,
		})
	default:
		return local.New(set)
	}
}
