package api

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
	// PODMAN_CGROUPS (split on cgroup v2, disabled on v1) by `devctld setup`.
	PlatformEnvFile = "/run/devctl/platform.env"

	// PKIDir holds, from Ignition: ca.crt, bootstrap.crt and bootstrap.key (role certificate), and on mains ca.key.
	PKIDir = "/etc/devctl/pki"
	// NodePKIDir holds what the node made or was given since: node.{crt,key} on every node (the agent's identity);
	// on mains also etcd.{crt,key} (server and peer) and controller.{crt,key}.
	NodePKIDir = "/var/lib/devctl/pki"

	// EtcdDataDir is etcd's data directory on main nodes.
	EtcdDataDir = "/var/lib/devctl/etcd"
	// ServicesDir holds the files of assigned units, one folder per unit name.
	ServicesDir = "/etc/devctl/services"
	// DataDir holds what services keep, one folder per unit name without ".service".
	DataDir = "/var/lib/devctl/data"
	// HAProxySocket is HAProxy's runtime API on workers.
	HAProxySocket = "/run/devctl/haproxy/admin.sock"

	// Daemon is where devctld is on every node.
	Daemon = "/usr/local/lib/devctl/devctld"
)
