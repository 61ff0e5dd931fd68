package stacks

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"
)

// badSpec is a file with something wrong in it.
type badSpec struct {
	name string
	file string
	want string // the problems, one a line, each without the file's name in front
	// schema tells whether the JSON Schema refuses the file too: it cannot see what concerns several keys.
	schema bool
}

const local = "config:\n  devctl:provider: local\n"

func badSpecs() []badSpec {
	const (
		oddCount = "must be 3, 5, 7 or 9: etcd needs a majority, and one member more than an odd number tolerates no failure more"
		zoneList = "must be a list of one or more zone names, each a lower-case DNS label, for example [a, b, c]"
		minSize  = "must be a size of 8MiB or more in KiB, MiB or GiB, for example 64MiB"
		sshKey   = `must be one SSH public key, a line such as "ssh-ed25519 AAAA… you@example"`
		majority = "losing one data node must leave a majority of primaries"
	)
	return []badSpec{
		// The file as a whole.
		{"empty", "", "1: is empty, must be a mapping with the key config", false},
		{"only a comment", "# nothing\n", "1: is empty, must be a mapping with the key config", false},
		{"null", "---\n", "2:1: is empty, must be a mapping with the key config", true},
		{"no YAML", "config:\n  devctl:provider: local\n    more: x\n", "3: is no YAML: mapping values are not allowed in this context", false},
		{"no YAML in line 1", "\x00\x01", "1: is no YAML: control characters are not allowed", false},
		{"open bracket", local + "  devctl:network: {cidr: [\n", "3: is no YAML: did not find expected node content", false},
		{"text", "hello world\n", `1:1: is "hello world", must be a mapping with the key config`, true},
		{"list", "- a\n", "1:1: is a list, must be a mapping with the key config", true},
		{"two documents", local + "---\nconfig: {}\n", "3: is a second YAML document, must be the only one", false},
		{"second document broken", local + "---\n[\n", "4: is no YAML: did not find expected node content", false},
		{"no config", "encryptionsalt: v1:abc\n", "1:1: config: is missing, must be a mapping with at least the key devctl:provider", true},
		{"config empty", "config:\n", "1:8: config: is empty, must be a mapping with at least the key devctl:provider", true},
		{"no provider", "config:\n  aws:region: eu-central-1\n", "2:3: devctl:provider: is missing, must be local, aws or digitalocean", true},
		{"misspelt key of Pulumi", "encryptionslat: v1:abc\n" + local, "1:1: encryptionslat: is no key of a stack file: did you mean encryptionsalt?", true},
		{"unlike any key of Pulumi", "environment: [a]\n" + local, "1:1: environment: is no key of a stack file; valid: config, secretsprovider, encryptedkey, encryptionsalt", true},
		{"key beside config", "devctl:domain: a.test\n" + local, "1:1: devctl:domain: is at the top of the file, must be under config", true},

		// Names of keys.
		{"misspelt key", local + "  devctl:rediss: {}\n", "3:3: devctl:rediss: is no key of devctl: did you mean devctl:redis?", true},
		{"unlike any key", local + "  devctl:flavour: x\n", "3:3: devctl:flavour: is no key of devctl; valid: devctl:provider, devctl:domain, " +
			"devctl:network, devctl:nodes, devctl:redis, devctl:endpoint, devctl:adminCidrs, devctl:sshKeys, devctl:state, devctl:aws, devctl:digitalocean", true},
		{"misspelt namespace", local + "  devclt:domain: a.test\n", "3:3: devclt:domain: is no key of devctl: did you mean devctl:domain?", false},
		{"no namespace", local + "  domain: a.test\n", "3:3: domain: has no namespace: did you mean devctl:domain?", true},
		{"misspelt key inside", local + "  devctl:redis:\n    maxMemry: 64MiB\n", "4:5: devctl:redis.maxMemry: is no key of devctl:redis: did you mean maxmemory?", true},
		{"unlike any key inside", local + "  devctl:nodes:\n    etcd: 3\n", "4:5: devctl:nodes.etcd: is no key of devctl:nodes; valid: main, worker, data", true},
		{"path as a key", local + "  devctl:nodes:\n    main.count: 5\n", "4:5: devctl:nodes.main.count: is no key of devctl:nodes; valid: main, worker, data", true},
		{"key twice", local + "  devctl:redis:\n    shards: 3\n    shards: 4\n", "5:5: devctl:redis.shards: is given twice, first in line 4: keep one of them", false},
		{"top key twice", local + "  devctl:provider: local\n", "3:3: devctl:provider: is given twice, first in line 2: keep one of them", false},
		{"list as a key", local + "  ? [a]\n  : b\n", "3:5: has a list as a key, must be a mapping with at least the key devctl:provider", false},

		// Types.
		{"scalar for a mapping", local + "  devctl:nodes: 3\n", "3:17: devctl:nodes: is 3, must be a mapping with the keys main, worker and data", true},
		{"empty mapping value", local + "  devctl:redis:\n", "3:16: devctl:redis: is empty, must be a mapping with the keys shards, replicas and maxmemory", true},
		{"text for a number", local + "  devctl:redis: {shards: three}\n", `3:26: devctl:redis.shards: is "three", must be a number from 3 to 64: Redis Cluster needs three primaries to agree on a failover`, true},
		{"quoted number", local + "  devctl:redis: {shards: \"3\"}\n", `3:26: devctl:redis.shards: is "3", must be a number: write it without quotes`, true},
		{"fraction", local + "  devctl:nodes: {main: {count: 3.5}}\n", "3:32: devctl:nodes.main.count: is 3.5, " + oddCount, true},
		{"number beyond any", local + "  devctl:nodes: {main: {count: 99999999999999999999}}\n", "3:32: devctl:nodes.main.count: is 99999999999999999999, " + oddCount, true},
		{"list for a number", local + "  devctl:nodes: {main: {count: [3]}}\n", "3:32: devctl:nodes.main.count: is a list, " + oddCount, true},
		{"mapping for a text", local + "  devctl:domain: {secure: abc}\n", "3:18: devctl:domain: is a mapping, must be a lower-case DNS name, for example local.devctl.test", true},
		{"number for a text", local + "  devctl:network: {zones: [1, b]}\n", "3:28: devctl:network.zones[0]: is 1, must be a string: write it in quotes", true},
		{"text for a list", local + "  devctl:network: {zones: a}\n", `3:27: devctl:network.zones: is "a", ` + zoneList, true},

		// Provider and domain.
		{"unknown provider", "config:\n  devctl:provider: azure\n", `2:20: devctl:provider: is "azure", must be local, aws or digitalocean`, true},
		{"bad domain", local + "  devctl:domain: Local_.test\n", `3:18: devctl:domain: is "Local_.test", must be a lower-case DNS name, for example local.devctl.test`, true},

		// Network.
		{"no CIDR", local + "  devctl:network: {cidr: 198.18.0.0}\n", `3:26: devctl:network.cidr: is "198.18.0.0", must be an IPv4 range, for example 198.18.0.0/24`, true},
		{"empty CIDR", local + "  devctl:network: {cidr: \"\"}\n", `3:26: devctl:network.cidr: is "", must be an IPv4 range, for example 198.18.0.0/24`, true},
		{"CIDR with host bits", local + "  devctl:network: {cidr: 198.18.0.7/24}\n", `3:26: devctl:network.cidr: is "198.18.0.7/24", must be 198.18.0.0/24: there are bits set behind the prefix`, false},
		{"IPv6 CIDR", local + "  devctl:network: {cidr: \"fd00::/64\"}\n", `3:26: devctl:network.cidr: is "fd00::/64", must be an IPv4 range: the network has no IPv6`, true},
		{"CIDR too small", local + "  devctl:network: {cidr: 198.18.0.0/25}\n", `3:26: devctl:network.cidr: is "198.18.0.0/25", must be /24 or larger: the nodes' addresses do not fit into less`, true},
		{"CIDR too large", local + "  devctl:network: {cidr: 10.0.0.0/8}\n", `3:26: devctl:network.cidr: is "10.0.0.0/8", must be /16 or smaller: clouds allow no larger network`, true},
		{"loopback CIDR", local + "  devctl:network: {cidr: 127.1.0.0/16}\n", `3:26: devctl:network.cidr: is "127.1.0.0/16", must be outside 127.0.0.0/8, which is not for machines; for example 198.18.0.0/24`, false},
		{"no zone", local + "  devctl:network: {zones: []}\n", "3:27: devctl:network.zones: is an empty list, " + zoneList, true},
		{"zone twice", local + "  devctl:network: {zones: [a, b, a]}\n", `3:34: devctl:network.zones[2]: is "a", must be a name of its own: devctl:network.zones[0] is the same`, true},
		{"bad zone", local + "  devctl:network: {zones: [a, b_]}\n", `3:31: devctl:network.zones[1]: is "b_", ` + zoneList, true},

		// Nodes.
		{"even main count", local + "  devctl:nodes: {main: {count: 4}}\n", "3:32: devctl:nodes.main.count: is 4, " + oddCount, true},
		{"one main", local + "  devctl:nodes: {main: {count: 1}}\n", "3:32: devctl:nodes.main.count: is 1, " + oddCount, true},
		{"eleven mains", local + "  devctl:nodes: {main: {count: 11}}\n", "3:32: devctl:nodes.main.count: is 11, " + oddCount, true},
		{"one worker", local + "  devctl:nodes: {worker: {min: 1}}\n", "3:32: devctl:nodes.worker.min: is 1, must be a number from 2 to 500, to 79 on the local provider: two workers hold the load balancers", true},
		{"too many workers", local + "  devctl:nodes: {worker: {max: 80}}\n", "3:32: devctl:nodes.worker.max: is 80, must be at most 79 on the local provider, whose address plan has no more", false},
		{"too many workers anywhere", awsSpec + "  devctl:nodes: {worker: {max: 501}}\n", "5:32: devctl:nodes.worker.max: is 501, must be a number from min to 500, to 79 on the local provider", true},
		{"fewer workers than min", local + "  devctl:nodes: {worker: {min: 4, max: 3}}\n", "3:40: devctl:nodes.worker.max: is 3, must be a number from min, 4, to 500", false},
		{"two data nodes", local + "  devctl:nodes: {data: {count: 2}}\n", "3:32: devctl:nodes.data.count: is 2, must be a number from 3: " + majority, true},
		{"fewer data nodes than shards", local + "  devctl:nodes: {data: {count: 4}}\n  devctl:redis: {shards: 5}\n",
			"3:32: devctl:nodes.data.count: is 4, must be at least 5, a node for the primary of each of the 5 shards: " + majority, false},
		{"default data nodes, more shards", local + "  devctl:redis: {shards: 5}\n",
			"1:1: devctl:nodes.data.count: is 3, must be at least 5, a node for the primary of each of the 5 shards: " + majority, false},
		{"fewer data nodes than members", local + "  devctl:network: {zones: [a, b, c, d]}\n  devctl:nodes: {data: {count: 3}}\n  devctl:redis: {replicas: 3}\n",
			"4:32: devctl:nodes.data.count: is 3, must be at least 4: a primary and its 3 replicas are each on a node of their own", false},
		{"more data nodes than addresses", local + "  devctl:nodes: {data: {count: 155}}\n",
			"3:32: devctl:nodes.data.count: is 155, must be at most 154, the addresses that devctl:network.cidr 198.18.0.0/24 has for data nodes", false},
		{"machine type of containers", local + "  devctl:nodes: {data: {machineType: t3.small}}\n",
			`3:38: devctl:nodes.data.machineType: is "t3.small", must be left out on the local provider, whose nodes are containers that share this machine`, false},
		{"bad machine type", awsSpec + "  devctl:nodes: {main: {machineType: t3 small}}\n",
			`5:38: devctl:nodes.main.machineType: is "t3 small", must be the name of one of the provider's machine types`, true},

		// Redis.
		{"two shards", local + "  devctl:redis: {shards: 2}\n", "3:26: devctl:redis.shards: is 2, must be a number from 3 to 64: Redis Cluster needs three primaries to agree on a failover", true},
		{"65 shards", local + "  devctl:redis: {shards: 65}\n", "3:26: devctl:redis.shards: is 65, must be a number from 3 to 64: Redis Cluster needs three primaries to agree on a failover", true},
		{"negative replicas", local + "  devctl:redis: {replicas: -1}\n", "3:28: devctl:redis.replicas: is -1, must be a number from 0", true},
		{"more replicas than zones", local + "  devctl:network: {zones: [a, b]}\n  devctl:redis: {replicas: 2}\n",
			"4:28: devctl:redis.replicas: is 2, must be at most 1, one fewer than the 2 zones in devctl:network.zones: a primary and its replicas are each in a zone of their own", false},
		{"too little memory", local + "  devctl:redis: {maxmemory: 8191KiB}\n", `3:29: devctl:redis.maxmemory: is "8191KiB", ` + minSize, false},
		{"memory without a unit", local + "  devctl:redis: {maxmemory: \"64\"}\n", `3:29: devctl:redis.maxmemory: is "64", ` + minSize, true},
		{"memory as a number", local + "  devctl:redis: {maxmemory: 64}\n", "3:29: devctl:redis.maxmemory: is 64, " + minSize, true},
		{"memory in a list", local + "  devctl:redis: {maxmemory: [64MiB]}\n", "3:29: devctl:redis.maxmemory: is a list, " + minSize, true},
		{"memory in another unit", local + "  devctl:redis: {maxmemory: 64mb}\n", `3:29: devctl:redis.maxmemory: is "64mb", ` + minSize, true},
		{"memory beyond any", local + "  devctl:redis: {maxmemory: 9999999999GiB}\n", `3:29: devctl:redis.maxmemory: is "9999999999GiB", ` + minSize, false},

		// Endpoint.
		{"privileged port", local + "  devctl:endpoint: {port: 22}\n", "3:27: devctl:endpoint.port: is 22, must be a port from 1024 to 65535", true},
		{"no port", local + "  devctl:endpoint: {statsPort: 65536}\n", "3:32: devctl:endpoint.statsPort: is 65536, must be a port from 1024 to 65535", true},
		{"etcd's client port", local + "  devctl:endpoint: {port: 2379}\n", "3:27: devctl:endpoint.port: is 2379, must be another port: devctl keeps this one for etcd's clients", false},
		{"etcd's peer port", local + "  devctl:endpoint: {statsPort: 2380}\n", "3:32: devctl:endpoint.statsPort: is 2380, must be another port: devctl keeps this one for etcd's members", false},
		{"the controllers' port", local + "  devctl:endpoint: {port: 9443}\n", "3:27: devctl:endpoint.port: is 9443, must be another port: devctl keeps this one for the controllers' API", false},
		{"one port for both", local + "  devctl:endpoint: {port: 7020}\n", "3:3: devctl:endpoint.statsPort: is 7020, must be another port than devctl:endpoint.port, which is the same", false},
		{"no address", local + "  devctl:endpoint: {address: here}\n", `3:30: devctl:endpoint.address: is "here", must be an IPv4 address, for example 198.18.0.10`, true},
		{"address outside", local + "  devctl:endpoint: {address: 10.0.0.10}\n",
			`3:30: devctl:endpoint.address: is "10.0.0.10", must be an address of devctl:network.cidr 198.18.0.0/24 that no node may get: 198.18.0.2 to 198.18.0.10, 198.18.0.20 or 198.18.0.100`, false},
		{"address of a node", local + "  devctl:endpoint: {address: 198.18.0.11}\n",
			`3:30: devctl:endpoint.address: is "198.18.0.11", must be an address of devctl:network.cidr 198.18.0.0/24 that no node may get: 198.18.0.2 to 198.18.0.10, 198.18.0.20 or 198.18.0.100`, false},

		// Access.
		{"bad admin CIDR", local + "  devctl:adminCidrs: [192.0.2.1]\n", `3:23: devctl:adminCidrs[0]: is "192.0.2.1", must be an IPv4 range, for example 192.0.2.0/24`, true},
		{"admin CIDR with host bits", local + "  devctl:adminCidrs: [192.0.2.1/24]\n", `3:23: devctl:adminCidrs[0]: is "192.0.2.1/24", must be 192.0.2.0/24: there are bits set behind the prefix`, false},
		{"bad SSH key", local + "  devctl:sshKeys: [ssh-ed25519 AAAA]\n", `3:20: devctl:sshKeys[0]: is "ssh-ed25519 AAAA", ` + sshKey, false},
		{"private SSH key", local + "  devctl:sshKeys:\n    - |\n      -----BEGIN OPENSSH PRIVATE KEY-----\n      b3BlbnNzaC1rZXktdjEAAAAA\n",
			`4:7: devctl:sshKeys[0]: is "-----BEGIN OPENSSH PRIVATE KEY--…", ` + sshKey, false},

		// State.
		{"relative backend", local + "  devctl:state: {backend: file://state}\n", `3:27: devctl:state.backend: is "file://state", ` +
			"must be file:// and an absolute path, or s3:// and a bucket, for example s3://example-devctl-state?region=eu-central-1", true},
		{"a passphrase itself", local + "  devctl:state: {secrets: hunter2}\n", `3:27: devctl:state.secrets: is "hunter2", ` +
			"must be passphrase, or awskms:// and a key, for example awskms://alias/devctl?region=eu-central-1", true},

		// Keys of one provider.
		{"AWS on local", local + "  devctl:aws: {region: eu-central-1}\n", "3:3: devctl:aws: is given, must be left out with provider local: it is for provider aws only", false},
		{"clients of local", local + "  devctl:endpoint: {clientCidrs: [192.0.2.0/24]}\n",
			"3:34: devctl:endpoint.clientCidrs: is 192.0.2.0/24, must be left out on the local provider, whose endpoint only this machine reaches", false},
		{"address on AWS", awsSpec + "  devctl:endpoint: {address: 10.10.0.10}\n",
			"5:30: devctl:endpoint.address: is given, must be left out with provider aws: it is for provider local only", false},
		{"nothing about AWS", "config:\n  devctl:provider: aws\n",
			"1:1: devctl:adminCidrs: is missing, must be a list of at least one IPv4 range on a cloud: from elsewhere nobody reaches the controllers, and devctl has to\n" +
				"1:1: devctl:aws: is missing, must be a mapping with the keys region, coreos, bucket, volumes and hostedZone", false},
		{"no release", "config:\n  devctl:provider: aws\n  devctl:aws: {region: eu-central-1, coreos: {}}\n  devctl:adminCidrs: [192.0.2.0/24]\n",
			"3:38: devctl:aws.coreos.release: is missing, must be a release of Fedora CoreOS, for example 44.20260802.3.1", true},
		{"bad region", strings.Replace(awsSpec, "eu-central-1", "Frankfurt", 1),
			`3:24: devctl:aws.region: is "Frankfurt", must be the name of an AWS region, for example eu-central-1`, true},
		{"region of another partition", strings.Replace(awsSpec, "eu-central-1", "us-gov-west-1", 1),
			`3:24: devctl:aws.region: is "us-gov-west-1", must be a region of AWS's public cloud, for example eu-central-1: the rights of machines are written for that`, false},
		{"zone of another region", awsSpec + "  devctl:network: {zones: [eu-central-1a, eu-west-1b]}\n",
			`5:43: devctl:network.zones[1]: is "eu-west-1b", must be an availability zone of eu-central-1, for example eu-central-1a`, false},
		{"small network on AWS", awsSpec + "  devctl:network: {cidr: 10.10.0.0/22}\n",
			`5:26: devctl:network.cidr: is "10.10.0.0/22", must be /21 or larger on AWS, where each zone gets an eighth of it`, false},
		{"more data nodes than slots", awsSpec + "  devctl:network: {cidr: 10.10.0.0/21}\n  devctl:nodes: {data: {count: 28}}\n",
			"6:32: devctl:nodes.data.count: is 28, must be at most 27, the addresses that devctl:network.cidr 10.10.0.0/21 has for data nodes", false},
		{"Arm processors", awsSpec + "  devctl:nodes: {data: {machineType: r6gd.large}}\n",
			`5:38: devctl:nodes.data.machineType: is "r6gd.large", must be one with x86-64 processors, for example t3.small: devctl's daemon and images are built for them`, false},
		{"a droplet on AWS", awsSpec + "  devctl:nodes: {data: {machineType: s-1vcpu-2gb}}\n",
			`5:38: devctl:nodes.data.machineType: is "s-1vcpu-2gb", must be a machine type of AWS, for example t3.small`, false},
		{"half a GiB", strings.Replace(awsSpec, "coreos", "volumes: {root: 10752MiB}, coreos", 1),
			`3:54: devctl:aws.volumes.root: is "10752MiB", must be a size of 10GiB or more in GiB, for example 16GiB`, false},
		{"an instance on DigitalOcean", digitaloceanSpec + "  devctl:nodes: {data: {machineType: t3.small}}\n",
			`6:38: devctl:nodes.data.machineType: is "t3.small", must be a droplet size, for example s-1vcpu-2gb`, false},
		{"zones on DigitalOcean", digitaloceanSpec + "  devctl:network: {zones: [a, b, c]}\n",
			"6:27: devctl:network.zones: is [a, b, c], must be [fra1] or left out: DigitalOcean has no zones, and nothing says which machines fail together", false},
		{"two images", strings.Replace(digitaloceanSpec, "imageId:", "url: "+exampleImage+", imageId:", 1),
			"3:39: devctl:digitalocean.coreos: is a mapping, must be one with the key url or the key imageId, and not both", false},
		{"no SSH key on DigitalOcean", digitaloceanSpec[:strings.Index(digitaloceanSpec, "  devctl:sshKeys")],
			"1:1: devctl:sshKeys: is missing, must be a list of at least one SSH public key: DigitalOcean creates no machine from an image of one's own without", false},

		// Several at once, in the order of the file, with nothing that only follows from another.
		{"everything", "config:\n  devctl:redis:\n    shards: two\n    replicas: 4\n  devctl:nodes:\n    main:\n      count: 4\n    data:\n      cuont: 3\n  devctl:provider: locla\n",
			`3:13: devctl:redis.shards: is "two", must be a number from 3 to 64: Redis Cluster needs three primaries to agree on a failover` + "\n" +
				"4:15: devctl:redis.replicas: is 4, must be at most 2, one fewer than the 3 zones in devctl:network.zones: a primary and its replicas are each in a zone of their own\n" +
				"7:14: devctl:nodes.main.count: is 4, " + oddCount + "\n" +
				"8:5: devctl:nodes.data.count: is 3, must be at least 5: a primary and its 4 replicas are each on a node of their own\n" +
				"9:7: devctl:nodes.data.cuont: is no key of devctl:nodes.data: did you mean count?\n" +
				`10:20: devctl:provider: is "locla", must be local, aws or digitalocean`, true},
	}
}

const hintText = "\n`devctl config schema` describes every key; `devctl config check spec.yaml` checks it again"

func TestParseReportsProblems(t *testing.T) {
	t.Parallel()
	for _, tt := range badSpecs() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("spec.yaml", []byte(tt.file), "local")
			var problems *SpecError
			if !errors.As(err, &problems) {
				t.Fatalf("got error %v, want a *SpecError", err)
			}
			want := "spec.yaml:" + strings.ReplaceAll(tt.want, "\n", "\nspec.yaml:") + hintText
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProblemKeepsItsParts(t *testing.T) {
	t.Parallel()
	_, err := Parse("spec.yaml", []byte(local+"  devctl:nodes: {main: {count: 4}, worker: {min: 3, max: 2}}\n"), "local")
	var problems *SpecError
	if !errors.As(err, &problems) {
		t.Fatalf("got error %v, want a *SpecError", err)
	}
	want := []Problem{
		{File: "spec.yaml", Line: 3, Column: 32, Path: "devctl:nodes.main.count", Value: "4"},
		{File: "spec.yaml", Line: 3, Column: 58, Path: "devctl:nodes.worker.max", Value: "2"},
	}
	if diff := cmp.Diff(want, problems.Problems, cmpopts.IgnoreFields(Problem{}, "Message")); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestParseRefusesStackNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Local", "1st", "a_b", "a-", "-a", "abcdefghijklmnopqrstu", "a/b", "ä"} {
		_, err := Parse("spec.yaml", []byte(local), name)
		want := `spec.yaml: stack name "` + shorten(name) + `" must be at most 20 lower-case letters, digits and hyphens, ` +
			"begin with a letter and not end with a hyphen, for example staging-2" + hintText
		if err == nil || err.Error() != want {
			t.Errorf("stack %q: got error %v, want %s", name, err, want)
		}
	}
	for _, name := range []string{"a", "local", "staging-2", "abcdefghijklmnopqrst"} {
		if _, err := Parse("spec.yaml", []byte(local), name); err != nil {
			t.Errorf("stack %q: %v", name, err)
		}
	}
}

func ignorePlaces() cmp.Option { return cmpopts.IgnoreUnexported(Spec{}) }

func TestParse(t *testing.T) {
	t.Parallel()
	shipped := Spec{
		Stack: "local", Provider: "local", Domain: "local.devctl.test",
		Network:  Network{CIDR: "198.18.0.0/24", Zones: []string{"a", "b", "c"}},
		Nodes:    Nodes{Main: MainNodes{Count: 3}, Worker: WorkerNodes{Min: 2, Max: 2}, Data: DataNodes{Count: 3}},
		Redis:    Redis{Shards: 3, Replicas: 1, MaxMemory: 64 << 20},
		Endpoint: Endpoint{Port: 7010, StatsPort: 7020},
	}
	file, err := os.ReadFile("Pulumi.local.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		file string
		want func() Spec
	}{
		"the shipped file":               {string(file), func() Spec { return shipped }},
		"defaults are the shipped file":  {local, func() Spec { return shipped }},
		"Pulumi's keys, others' configs": {"encryptionsalt: v1:x\nsecretsprovider: y\nencryptedkey: z\n" + local + "  aws:region: {any: [1]}\n", func() Spec { return shipped }},
		"an alias":                       {"config:\n  devctl:provider: local\n  devctl:network: {zones: &z [a, b, c]}\n  other:zones: *z\n", func() Spec { return shipped }},
		"everything": {`config:
  devctl:provider: aws
  devctl:domain: shop.example.org
  devctl:network: {cidr: 10.10.0.0/16, zones: [eu-central-1a, eu-central-1b]}
  devctl:nodes:
    main: {count: 9, machineType: t3.small}
    worker: {min: 3, max: 500, machineType: t3.medium}
    data: {count: 300, machineType: r6i.large}
  devctl:redis: {shards: 64, replicas: 1, maxmemory: 1536MiB}
  devctl:endpoint: {port: 1024, statsPort: 65535, clientCidrs: [203.0.113.0/24]}
  devctl:aws:
    region: eu-central-1
    coreos: {release: 44.20260802.3.1}
    bucket: shop-machines
    volumes: {root: 20GiB, data: 100GiB}
    hostedZone: Z0123456789
  devctl:state: {backend: s3://shop-state, secrets: awskms://alias/shop}
  devctl:adminCidrs: [192.0.2.0/24, 198.51.100.7/32]
  devctl:sshKeys: ["` + exampleSSHKey + `"]
`, func() Spec {
			return Spec{
				Stack: "local", Provider: "aws", Domain: "shop.example.org",
				Network: Network{CIDR: "10.10.0.0/16", Zones: []string{"eu-central-1a", "eu-central-1b"}},
				Nodes: Nodes{Main: MainNodes{Count: 9, MachineType: "t3.small"}, Worker: WorkerNodes{Min: 3, Max: 500, MachineType: "t3.medium"},
					Data: DataNodes{Count: 300, MachineType: "r6i.large"}},
				Redis:    Redis{Shards: 64, Replicas: 1, MaxMemory: 1536 << 20},
				Endpoint: Endpoint{Port: 1024, StatsPort: 65535, ClientCIDRs: []string{"203.0.113.0/24"}},
				AWS: AWS{Region: "eu-central-1", CoreOS: AWSCoreOS{Release: "44.20260802.3.1"}, Bucket: "shop-machines",
					Volumes: AWSVolumes{Root: 20 * GiB, Data: 100 * GiB}, HostedZone: "Z0123456789"},
				State:      State{Backend: "s3://shop-state", Secrets: "awskms://alias/shop"},
				AdminCIDRs: []string{"192.0.2.0/24", "198.51.100.7/32"},
				SSHKeys:    []string{exampleSSHKey},
			}
		}},
		"the least on AWS": {awsSpec, func() Spec {
			s := shipped
			s.Provider, s.AdminCIDRs = "aws", []string{"192.0.2.0/24"}
			s.Network = Network{CIDR: "10.10.0.0/16", Zones: []string{"eu-central-1a", "eu-central-1b", "eu-central-1c"}}
			s.Nodes.Main.MachineType, s.Nodes.Worker.MachineType, s.Nodes.Data.MachineType = "t3.small", "t3.small", "t3.medium"
			s.AWS = AWS{Region: "eu-central-1", CoreOS: AWSCoreOS{Release: "44.20260802.3.1"}, Bucket: "devctl-local-local-devctl-test",
				Volumes: AWSVolumes{Root: 16 * GiB, Data: 16 * GiB}}
			return s
		}},
		"the least on DigitalOcean": {digitaloceanSpec, func() Spec {
			s := shipped
			s.Provider, s.AdminCIDRs, s.SSHKeys = "digitalocean", []string{"192.0.2.0/24"}, []string{exampleSSHKey}
			s.Network = Network{CIDR: "10.10.0.0/16", Zones: []string{"fra1"}}
			s.Nodes.Main.MachineType, s.Nodes.Worker.MachineType, s.Nodes.Data.MachineType = "s-1vcpu-2gb", "s-1vcpu-2gb", "s-2vcpu-4gb"
			s.DigitalOcean = DigitalOcean{Region: "fra1", CoreOS: DigitalOceanCoreOS{ImageID: "123456789"},
				Bucket: "devctl-local-local-devctl-test", Project: "devctl-local"}
			return s
		}},
		"max follows min": {local + "  devctl:nodes: {worker: {min: 5}}\n", func() Spec {
			s := shipped
			s.Nodes.Worker = WorkerNodes{Min: 5, Max: 5}
			return s
		}},
		"one zone without replicas": {local + "  devctl:network: {zones: [a]}\n  devctl:redis: {replicas: 0}\n", func() Spec {
			s := shipped
			s.Network.Zones, s.Redis.Replicas = []string{"a"}, 0
			return s
		}},
		"a port of Redis, which is on data nodes": {local + "  devctl:endpoint: {port: 7101}\n", func() Spec {
			s := shipped
			s.Endpoint.Port = 7101
			return s
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Parse("spec.yaml", []byte(tt.file), "local")
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want()
			if diff := cmp.Diff(&want, got, ignorePlaces()); diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDefaultDomainFollowsStack(t *testing.T) {
	t.Parallel()
	s, err := Parse("spec.yaml", []byte(local), "staging")
	if err != nil {
		t.Fatal(err)
	}
	if want := "staging.devctl.test"; s.Domain != want {
		t.Errorf("domain %q, want %q", s.Domain, want)
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{"1KiB": 1 << 10, "64MiB": 64 << 20, "1536MiB": 1536 << 20, "2GiB": 2 << 30, "1048576GiB": 1 << 50} {
		var size Size
		if err := size.UnmarshalText([]byte(text)); err != nil || size != want {
			t.Errorf("%s: got %d, %v; want %d", text, size, err, want)
		}
		if got := size.String(); got != text {
			t.Errorf("%d: got %s, want %s", size, got, text)
		}
	}
	for text, want := range map[string]string{
		"64":                      `size "64" is no whole number of KiB, MiB or GiB`,
		"0MiB":                    `size "0MiB" is no whole number of KiB, MiB or GiB`,
		"1048577GiB":              `size "1048577GiB" is more than 1048576 GiB`,
		"99999999999999999999KiB": `size "99999999999999999999KiB" is more than 1048576 GiB`,
	} {
		var size Size
		if err := size.UnmarshalText([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: got error %v, want %s", text, err, want)
		}
	}
}

// FuzzParse looks for files that make Parse panic, fail in another way than with problems, or answer differently
// the second time.
func FuzzParse(f *testing.F) {
	for _, bad := range badSpecs() {
		f.Add([]byte(bad.file))
	}
	f.Add([]byte("config: &a\n  devctl:provider: local\n  devctl:network: *a\n"))
	f.Add([]byte("config:\n  <<: {devctl:provider: local}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := Parse("spec.yaml", data, "local")
		second, again := Parse("spec.yaml", data, "local")
		if err != nil {
			var problems *SpecError
			if !errors.As(err, &problems) || len(problems.Problems) == 0 {
				t.Fatalf("got error %v, want a *SpecError with problems", err)
			}
			if again == nil || err.Error() != again.Error() {
				t.Fatalf("first %v, then %v", err, again)
			}
			return
		}
		if diff := cmp.Diff(first, second, ignorePlaces()); diff != "" {
			t.Fatalf("first and second differ:\n%s", diff)
		}
		// What is valid can be derived from, and every node has an address of its own.
		addresses := map[string]bool{first.EndpointAddress(): true}
		for _, id := range first.Identities() {
			if addresses[id.Address] {
				t.Fatalf("address %s is given out twice", id.Address)
			}
			addresses[id.Address] = true
		}
	})
}

func decodeYAML(t *testing.T, data string) any {
	t.Helper()
	var value any
	if err := yaml.NewDecoder(bytes.NewReader([]byte(data))).Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}
