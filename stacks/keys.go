package stacks

import "strings"

// key describes one key of the spec.
type key struct {
	path string // below `config`, for example devctl:nodes.main.count
	doc  string // what it is, for the schema
	want string // completes the sentence "must be …"
	// field is where the value goes: *int, *string, *[]string or *Size. Nil: the key is a mapping of other keys.
	field    func(*Spec) any
	min, max int      // of a number, a size, or of the length of a list; max 0: no upper bound
	enum     []string // of a string
	odd      bool     // of a number
	wholeGiB bool     // of a size
	pattern  string   // of a string, or of each item of a list
	// check finds what a pattern cannot, in a string or in each item of a list. It completes the sentence
	// "devctl:… is …" in place of want; empty: nothing is wrong.
	check    func(string) string
	required bool
	// provider is the only one that has a use for the key. Empty: all have. A required key of one provider is required there only.
	provider string
	example  any
}

const namespace = "devctl:"

// Limits of the address plan in derive.go, of etcd and of Redis Cluster.
const (
	minMains, maxMains   = 3, 9
	maxWorkers           = 500
	maxLocalWorkers      = dataOffset - workerOffset - 1
	minData              = 3
	minShards, maxShards = 3, 64
	minPort, maxPort     = 1024, 65535
	minPrefix, maxPrefix = 16, 24
	minMemory            = 8 * MiB
)

const (
	patternLabel   = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`
	patternDomain  = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`
	patternSize    = `^([1-9][0-9]*)(KiB|MiB|GiB)$`
	patternNetwork = `^([0-9]{1,3}\.){3}[0-9]{1,3}/(1[6-9]|2[0-4])$`
	patternCIDR    = `^([0-9]{1,3}\.){3}[0-9]{1,3}/[0-9]{1,2}$`
	patternAddress = `^([0-9]{1,3}\.){3}[0-9]{1,3}$`
	patternMachine = `^[A-Za-z0-9][A-Za-z0-9._-]*$`
)

const exampleSSHKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIBz6mO9qHyJTMuiPkPmkyuQVR+hfTBRg2W1KRA0v4nW you@example"

const (
	wantPort    = "a port from 1024 to 65535"
	wantMachine = "the name of one of the provider's machine types"
)

// keys describes every key of a spec, each mapping before what is in it.
func keys() []key { return append(commonKeys(), cloudKeys()...) }

// commonKeys are the keys that are not about one provider only.
func commonKeys() []key {
	return []key{
		{path: "devctl:provider", required: true, example: ProviderLocal,
			doc:   "Where the environment is: containers on this machine, or a cloud.",
			want:  "local, aws or digitalocean",
			enum:  []string{ProviderLocal, ProviderAWS, ProviderDigitalOcean},
			field: func(s *Spec) any { return &s.Provider }},
		{path: "devctl:domain", example: "local.devctl.test",
			doc:     "DNS domain of the environment. Default: the stack's name below devctl.test.",
			want:    "a lower-case DNS name, for example local.devctl.test",
			pattern: patternDomain,
			field:   func(s *Spec) any { return &s.Domain }},

		{path: "devctl:network", doc: "The private network, and the zones over which nodes are spread.",
			want: "a mapping with the keys cidr and zones"},
		{path: "devctl:network.cidr", example: "198.18.0.0/24",
			doc: "IPv4 range of the network. Names and addresses of nodes follow from it: main nodes from .11, " +
				"workers from .21, data nodes from .101, the endpoint at .10. On AWS each zone has its own eighth of it. " +
				"Default on clouds: 10.10.0.0/16.",
			want:    "an IPv4 range from /16 to /24, for example 198.18.0.0/24",
			pattern: patternNetwork, check: checkNetwork,
			field: func(s *Spec) any { return &s.Network.CIDR }},
		{path: "devctl:network.zones", example: []string{"a", "b", "c"}, min: 1,
			doc: "Failure zones. The nodes of each role take turns through them. On AWS they are availability zones, by default " +
				"those of the region that end in a, b and c; DigitalOcean has none.",
			want:    "a list of one or more zone names, each a lower-case DNS label, for example [a, b, c]",
			pattern: patternLabel,
			field:   func(s *Spec) any { return &s.Network.Zones }},

		{path: "devctl:nodes", doc: "How many machines of each role.",
			want: "a mapping with the keys main, worker and data"},
		{path: "devctl:nodes.main", doc: "Main nodes: etcd and the controllers.",
			want: "a mapping with the keys count and machineType"},
		{path: "devctl:nodes.main.count", example: 3, min: minMains, max: maxMains, odd: true,
			doc:   "Number of main nodes. Odd, because one etcd member more than an odd number tolerates no failure more.",
			want:  "3, 5, 7 or 9: etcd needs a majority, and one member more than an odd number tolerates no failure more",
			field: func(s *Spec) any { return &s.Nodes.Main.Count }},
		machineType("main", func(s *Spec) any { return &s.Nodes.Main.MachineType }),
		{path: "devctl:nodes.worker", doc: "Worker nodes: load balancers and services.",
			want: "a mapping with the keys min, max and machineType"},
		{path: "devctl:nodes.worker.min", example: 2, min: balancers, max: maxWorkers,
			doc:   "Smallest number of workers, and the number to begin with. The first two hold the load balancers.",
			want:  "a number from 2 to 500, to 79 on the local provider: two workers hold the load balancers",
			field: func(s *Spec) any { return &s.Nodes.Worker.Min }},
		{path: "devctl:nodes.worker.max", example: 2, min: balancers, max: maxWorkers,
			doc:   "Largest number of workers. Default: min.",
			want:  "a number from min to 500, to 79 on the local provider",
			field: func(s *Spec) any { return &s.Nodes.Worker.Max }},
		machineType("worker", func(s *Spec) any { return &s.Nodes.Worker.MachineType }),
		{path: "devctl:nodes.data", doc: "Data nodes: Redis.",
			want: "a mapping with the keys count and machineType"},
		{path: "devctl:nodes.data.count", example: 3, min: minData,
			doc: "Number of data nodes. At least the number of shards, so that losing one node leaves a majority of " +
				"primaries; at least one more than replicas.",
			want:  "a number from 3: losing one data node must leave a majority of primaries",
			field: func(s *Spec) any { return &s.Nodes.Data.Count }},
		machineType("data", func(s *Spec) any { return &s.Nodes.Data.MachineType }),

		{path: "devctl:redis", doc: "The Redis Cluster.",
			want: "a mapping with the keys shards, replicas and maxmemory"},
		{path: "devctl:redis.shards", example: 3, min: minShards, max: maxShards,
			doc:   "Number of shards. Redis Cluster needs three primaries to agree on a failover.",
			want:  "a number from 3 to 64: Redis Cluster needs three primaries to agree on a failover",
			field: func(s *Spec) any { return &s.Redis.Shards }},
		{path: "devctl:redis.replicas", example: 1, min: 0,
			doc:   "Replicas of each primary, each in a zone of its own: at most one fewer than there are zones.",
			want:  "a number from 0",
			field: func(s *Spec) any { return &s.Redis.Replicas }},
		{path: "devctl:redis.maxmemory", example: "64MiB", min: int(minMemory),
			doc:     "Memory for the data of each Redis instance, in KiB, MiB or GiB. At least 8MiB: an empty Redis uses about 2MiB.",
			want:    "a size of 8MiB or more in KiB, MiB or GiB, for example 64MiB",
			pattern: patternSize,
			field:   func(s *Spec) any { return &s.Redis.MaxMemory }},

		{path: "devctl:endpoint", doc: "Where clients connect.",
			want: "a mapping with the keys port, statsPort, address and clientCidrs"},
		{path: "devctl:endpoint.port", example: 7010, min: minPort, max: maxPort, want: wantPort,
			doc:   "Port on which the load balancers accept Redis clients.",
			field: func(s *Spec) any { return &s.Endpoint.Port }},
		{path: "devctl:endpoint.statsPort", example: 7020, min: minPort, max: maxPort, want: wantPort,
			doc:   "Port of the load balancers' stats page.",
			field: func(s *Spec) any { return &s.Endpoint.StatsPort }},
		{path: "devctl:endpoint.address", example: "198.18.0.10",
			doc:      "The address that moves between the load balancers. Default: .10 of the network. Clouds give out one of theirs.",
			want:     "an IPv4 address, for example 198.18.0.10",
			provider: ProviderLocal,
			pattern:  patternAddress, check: checkAddress,
			field: func(s *Spec) any { return &s.Endpoint.Address }},
		{path: "devctl:endpoint.clientCidrs", example: []string{"203.0.113.0/24"},
			doc: "From where clients may connect to the load balancers. Default: nowhere. " +
				"Not on the local provider, where that is this machine.",
			want:    "a list of IPv4 ranges, for example [203.0.113.0/24]",
			pattern: patternCIDR, check: checkCIDR,
			field: func(s *Spec) any { return &s.Endpoint.ClientCIDRs }},

		{path: "devctl:adminCidrs", example: []string{"192.0.2.0/24"},
			doc:     "From where SSH, the controllers' API and the stats page may be reached. On the local provider that is this machine only.",
			want:    "a list of IPv4 ranges, for example [192.0.2.0/24]",
			pattern: patternCIDR, check: checkCIDR,
			field: func(s *Spec) any { return &s.AdminCIDRs }},
		{path: "devctl:sshKeys", example: []string{exampleSSHKey},
			doc:   "SSH public keys that may log in to every node, as in authorized_keys.",
			want:  `a list of SSH public keys, each a line such as "ssh-ed25519 AAAA… you@example"`,
			check: checkSSHKey,
			field: func(s *Spec) any { return &s.SSHKeys }},

		{path: "devctl:state", doc: "Where Pulumi keeps what it knows of the stack.",
			want: "a mapping with the keys backend and secrets"},
		{path: "devctl:state.backend", example: "s3://example-devctl-state?region=eu-central-1",
			doc: "Folder or bucket of the state, as Pulumi's backends are called. Default: devctl's data folder on this machine. " +
				"People and CI that share a stack need one that all of them reach.",
			want:    "file:// and an absolute path, or s3:// and a bucket, for example s3://example-devctl-state?region=eu-central-1",
			pattern: `^(file:///|s3://[a-z0-9])[^\s]*$`,
			field:   func(s *Spec) any { return &s.State.Backend }},
		{path: "devctl:state.secrets", example: "awskms://alias/devctl?region=eu-central-1",
			doc:     "What encrypts the secrets in the state. Default: a passphrase, which devctl makes.",
			want:    "passphrase, or awskms:// and a key, for example awskms://alias/devctl?region=eu-central-1",
			pattern: `^(passphrase|awskms://[^\s]+)$`,
			field:   func(s *Spec) any { return &s.State.Secrets }},
	}
}

// cloudKeys are the keys that one provider has for itself.
func cloudKeys() []key {
	return []key{
		{path: "devctl:aws", doc: "What the provider aws needs to know.", required: true, provider: ProviderAWS,
			want: "a mapping with the keys region, coreos, bucket, volumes and hostedZone"},
		{path: "devctl:aws.region", example: "eu-central-1", required: true, provider: ProviderAWS,
			doc:     "Region. The zones of the network are zones of it.",
			want:    "the name of an AWS region, for example eu-central-1",
			pattern: `^[a-z]{2}(-[a-z]+)+-[0-9]$`,
			field:   func(s *Spec) any { return &s.AWS.Region }},
		{path: "devctl:aws.coreos", doc: "What machines boot.", required: true, provider: ProviderAWS,
			want: "a mapping with the key release"},
		{path: "devctl:aws.coreos.release", example: "44.20260802.3.1", required: true, provider: ProviderAWS,
			doc: "Release of Fedora CoreOS. The image is looked up by it in the region. Pinned, because another one replaces every " +
				"machine: it changes when you say so.",
			want:    "a release of Fedora CoreOS, for example 44.20260802.3.1",
			pattern: `^[0-9]{2}\.[0-9]{8}\.[0-9]+\.[0-9]+$`,
			field:   func(s *Spec) any { return &s.AWS.CoreOS.Release }},
		{path: "devctl:aws.bucket", example: "devctl-prod-example-com", provider: ProviderAWS,
			doc:     "Bucket for what machines fetch at their first boot. " + docBucket,
			want:    wantBucket,
			pattern: patternBucket,
			field:   func(s *Spec) any { return &s.AWS.Bucket }},
		{path: "devctl:aws.volumes", doc: "The machines' disks: gp3, encrypted.", provider: ProviderAWS,
			want: "a mapping with the keys root and data"},
		{path: "devctl:aws.volumes.root", example: "16GiB", provider: ProviderAWS, min: int(minVolume), wholeGiB: true,
			doc:   "Disk of main nodes and workers. Default: 16GiB. At least 10GiB: Fedora CoreOS wants 8GiB for itself.",
			want:  wantVolume,
			field: func(s *Spec) any { return &s.AWS.Volumes.Root }},
		{path: "devctl:aws.volumes.data", example: "32GiB", provider: ProviderAWS, min: int(minVolume), wholeGiB: true,
			doc: "Disk of data nodes. Default: 16GiB. Redis keeps its data there, and needs three times as much as in memory when it " +
				"writes them anew. It lives as long as its machine: a new one gets its data from the other members of its shards.",
			want:  wantVolume,
			field: func(s *Spec) any { return &s.AWS.Volumes.Data }},
		{path: "devctl:aws.hostedZone", example: "Z0123456789ABCDEFGHIJ", provider: ProviderAWS,
			doc:     "ID of the Route 53 zone in which devctl:domain becomes the name of the endpoint. Default: it gets none.",
			want:    "the ID of a hosted zone, for example Z0123456789ABCDEFGHIJ",
			pattern: `^Z[A-Z0-9]{1,31}$`,
			field:   func(s *Spec) any { return &s.AWS.HostedZone }},

		{path: "devctl:digitalocean", doc: "What the provider digitalocean needs to know.", required: true, provider: ProviderDigitalOcean,
			want: "a mapping with the keys region, coreos, bucket and project"},
		{path: "devctl:digitalocean.region", example: "fra1", required: true, provider: ProviderDigitalOcean,
			doc:     "Region. DigitalOcean has no zones: all machines are in one, which is called as the region is.",
			want:    "the name of a DigitalOcean region, for example fra1",
			pattern: `^[a-z]{3}[0-9]$`,
			field:   func(s *Spec) any { return &s.DigitalOcean.Region }},
		{path: "devctl:digitalocean.coreos", doc: "What machines boot: an image to import, or one of the account.", required: true,
			provider: ProviderDigitalOcean,
			want:     "a mapping with the key url or the key imageId"},
		{path: "devctl:digitalocean.coreos.url", example: exampleImage, provider: ProviderDigitalOcean,
			doc:     "Where DigitalOcean fetches the image of Fedora CoreOS for DigitalOcean (qcow2.gz) from.",
			want:    "an https:// address of an image that ends in .qcow2.gz",
			pattern: `^https://[^\s]+\.qcow2\.gz$`,
			field:   func(s *Spec) any { return &s.DigitalOcean.CoreOS.URL }},
		{path: "devctl:digitalocean.coreos.imageId", example: "123456789", provider: ProviderDigitalOcean,
			doc:     "ID of a custom image in the account.",
			want:    `the ID of a custom image, in quotes, for example "123456789"`,
			pattern: `^[0-9]+$`,
			field:   func(s *Spec) any { return &s.DigitalOcean.CoreOS.ImageID }},
		{path: "devctl:digitalocean.bucket", example: "devctl-prod-example-com", provider: ProviderDigitalOcean,
			doc:     "Spaces bucket for what machines fetch at their first boot. " + docBucket,
			want:    wantBucket,
			pattern: patternBucket,
			field:   func(s *Spec) any { return &s.DigitalOcean.Bucket }},
		{path: "devctl:digitalocean.project", example: "devctl-prod", provider: ProviderDigitalOcean,
			doc:     "Name of the project that everything is shown in. Default: devctl- and the stack's name.",
			want:    "a name of letters, digits, spaces and hyphens",
			pattern: `^[A-Za-z0-9]([A-Za-z0-9 -]{0,98}[A-Za-z0-9])?$`,
			field:   func(s *Spec) any { return &s.DigitalOcean.Project }},
	}
}

const (
	minVolume     = 10 * GiB
	wantVolume    = "a size of 10GiB or more in GiB, for example 16GiB"
	patternBucket = `^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`
	wantBucket    = "the name of a bucket: 3 to 63 lower-case letters, digits and hyphens"
	docBucket     = "Default: devctl-, the stack's name, and the domain with hyphens for dots. Another name replaces every machine."
	exampleImage  = "https://builds.coreos.fedoraproject.org/prod/streams/stable/builds/44.20260802.3.1/x86_64/" +
		"fedora-coreos-44.20260802.3.1-digitalocean.x86_64.qcow2.gz"
)

func machineType(role string, field func(*Spec) any) key {
	return key{path: "devctl:nodes." + role + ".machineType", example: "t3.small", want: wantMachine, pattern: patternMachine, field: field,
		doc: "Machine type at the provider, with x86-64 processors. Not on the local provider, whose nodes are containers."}
}

// parent splits a path into the mapping it is in (empty at the top) and the name of the key there.
func parent(path string) (mapping, name string) {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// child is the inverse of parent.
func child(mapping, name string) string {
	if mapping == "" {
		return name
	}
	return mapping + "." + name
}
