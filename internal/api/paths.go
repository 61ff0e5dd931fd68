package api

import (
	"path"
	"strings"
)

// Places on a node that Ignition, units and the daemon must agree on.
const (
	// NodeEnvFile holds the Identity as environment: DEVCTL_STACK, DEVCTL_NODE, DEVCTL_ROLE, DEVCTL_ZONE,
	// DEVCTL_ADDRESS, DEVCTL_CONFIG (hash of the role's Ignition config), and on main nodes
	// DEVCTL_ETCD=new|join. Written by Ignition, different on every machine.
	NodeEnvFile = "/etc/devctl/node.env"
	// ClusterEnvFile is the same on every machine of a role: DEVCTL_MAINS=main-1=198.18.0.11,main-2=…
	// Written by Ignition.
	ClusterEnvFile = "/etc/devctl/cluster.env"
	// PlatformEnvFile is written at every boot, before any unit of ours: DEVCTL_INSTANCE_ID by the platform,
	// PODMAN_CGROUPS (split on cgroup v2, disabled on v1) by `devctld setup`, which on clouds adds what only the
	// machine itself can find out: of the identity, the mains and DEVCTL_ETCD what Ignition could not say.
	PlatformEnvFile = "/run/devctl/platform.env"

	// PKIDir holds, from Ignition: ca.crt, bootstrap.crt and bootstrap.key (role certificate), and on mains ca.key.
	PKIDir = "/etc/devctl/pki"
	// NodePKIDir holds what the node made or was given since: node.{crt,key} on every node (the agent's identity);
	// on mains also etcd.{crt,key} (server and peer) and controller.{crt,key}.
	NodePKIDir = "/var/lib/devctl/pki"

	// EtcdDataDir is etcd's data directory on main nodes.
	EtcdDataDir = "/var/lib/devctl/etcd"
	// SnapshotsDir is where main nodes keep snapshots of etcd, on a disk that is there when they are all gone. Local only.
	SnapshotsDir = "/var/lib/devctl/snapshots"
	// ServicesDir holds the files of assigned units, one folder per unit name.
	ServicesDir = "/etc/devctl/services"
	// DataDir holds what services keep, one folder per unit name without ".service".
	DataDir = "/var/lib/devctl/data"
	// HAProxySocket is HAProxy's runtime API on workers.
	HAProxySocket = "/run/devctl/haproxy/admin.sock"

	// EndpointFile holds the endpoint's address while a cloud confirms that it is on this node.
	EndpointFile = "/run/devctl/endpoint"
	// EndpointMarker is the address that keepalived has on the loopback interface while this node should hold the endpoint, where a
	// cloud moves the address. It leads nowhere.
	EndpointMarker = "169.254.242.10"

	// Daemon is where devctld is on every node: in a folder whose files SELinux lets systemd start. On clouds Ignition puts it
	// there, on local nodes it is a link into the artifacts volume.
	Daemon = "/usr/local/bin/devctld"
	// ImageArchives is where archives of images are while a node of a cloud loads them.
	ImageArchives = "/var/lib/devctl/images"
)

// ImageArchive is what the archive of an image is called in its folder: redis-0123456789ab.tar.gz for
// localhost/devctl/redis:0123456789ab. An image's name says what is in it, so an archive never changes.
func ImageArchive(ref string) string { return strings.ReplaceAll(path.Base(ref), ":", "-") + ".tar.gz" }

// Objects in the registry of a stack on a cloud, where machines find what their configuration cannot say.
const (
	// RegistryMains is an environment file with DEVCTL_MAINS=main-1=10.20.0.3,… It is there where addresses are known
	// only after the machines have been made, and only as a whole: with every main node.
	RegistryMains = "mains.env"
	// RegistryFounders is an environment file with DEVCTL_FOUNDERS=ID,ID,…, the IDs of the machines of the stack's
	// first main nodes, and with DEVCTL_MAINS as it was then. Written once, for as long as the stack lives: a machine that came later is not in it.
	RegistryFounders = "founders.env"
	// BucketSnapshots is the folder of a bucket with snapshots of etcd.
	BucketSnapshots = "snapshots"
	// RegistryFounding is the folder in which main nodes, where machines are not made one by one, write themselves
	// what RegistryFounders says elsewhere. Nothing in it is ever written twice.
	RegistryFounding = "founding"
)
