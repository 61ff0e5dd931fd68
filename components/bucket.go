package components

import (
	"devctl/ignition"
	"devctl/internal/api"
)

// Folders of a bucket that all clouds with one have.
const (
	FolderArtifacts = "artifacts" // the daemon, named after its content
	FolderImages    = "images"    // archives of the services' images: see api.ImageArchive
)

// TypeIgnition is what a bucket says that an Ignition config is.
const TypeIgnition = "application/vnd.coreos.ignition+json"

// HashLength is how much of a hash is in a name.
const HashLength = 12

// BucketURL is where machines find a bucket, without a slash at the end.
func BucketURL(platform api.Platform, region, bucket string) string {
	if platform == api.PlatformDigitalOcean {
		return "https://" + bucket + "." + region + ".digitaloceanspaces.com"
	}
	return "s3://" + bucket
}

// Registry is the folder of a bucket in which the machines of a network look up what no config can say. Another network has
// another one: all its machines are new, and have to found a cluster of their own.
func Registry(cidr string) string { return "registry/" + Hyphens(cidr) }

// Daemon is the node daemon's binary on this machine.
type Daemon struct {
	Path   string
	SHA256 string // hex
}

// Name is what the daemon is called in a bucket: another one has another name.
func (d Daemon) Name() string { return "devctld-" + d.SHA256[:min(HashLength, len(d.SHA256))] }

// Key is where in a bucket the daemon is.
func (d Daemon) Key() string { return FolderArtifacts + "/" + d.Name() }

// BucketBoot says what the machines of a network fetch from the bucket at a URL.
func BucketBoot(platform api.Platform, url, cidr string, daemon Daemon) Boot {
	return Boot{
		Platform: platform,
		Images:   url + "/" + FolderImages,
		Downloads: []ignition.Download{
			{Path: api.Daemon, Mode: 0o755, Source: ignition.Source{URL: url + "/" + daemon.Key(), SHA256: daemon.SHA256}},
		},
		Registry: url + "/" + Registry(cidr),
	}
}
