package units

import (
	"fmt"
	"strings"

	"devctl/internal/api"
)

// NodeArgs is what the units of a machine are made from.
type NodeArgs struct {
	Platform  api.Platform // empty for local
	EtcdImage string       // container image reference; mains only
	Images    string       // folder, as a URL, with archives of images; clouds only
}

// EtcdEnvFile holds the part of etcd's environment that is decided at every start by `devctld etcd-prepare`:
// ETCD_INITIAL_CLUSTER and ETCD_INITIAL_CLUSTER_STATE. With an intact data directory it may be empty, but it
// must exist.
const EtcdEnvFile = "/run/devctl/etcd.env"

// Node returns the units that come with a machine of the given role, in the order in which they start.
func Node(role api.Role, a NodeArgs) []Unit {
	out := []Unit{a.setup()}
	if role == api.RoleMain && a.Platform.Cloud() {
		out = append(out, Image("etcd", a.EtcdImage, a.Images, "etcd.service"))
	}
	if role == api.RoleMain {
		out = append(out, a.etcd(), a.controller())
	}
	return append(out, a.agent())
}

// setup runs once per boot, before everything else of devctl: it completes api.PlatformEnvFile and issues the
// certificates of a main node.
func (a NodeArgs) setup() Unit {
	s := daemon("setup")
	s.description = "Prepare this node for devctl"
	s.documentation = "https://docs.podman.io/en/latest/markdown/podman-run.1.html"
	s.wants = nil
	s.kind = "oneshot"
	s.remainAfterExit = true
	s.restart = "on-failure" // systemd allows a oneshot no "always"
	s.startTimeout = ""      // a oneshot has none unless asked for
	s.before = []string{"etcd.service", "devctl-controller.service", "devctl-agent.service"}
	s.environmentFiles = []string{api.NodeEnvFile, api.ClusterEnvFile} // it writes the platform's itself
	s.directory = "devctl"
	s.hardening = hardening([]string{api.NodePKIDir}, nil)
	if a.Platform.Cloud() {
		s.wants = []string{"network-online.target"} // it asks the cloud who the machine is
	}
	return s.unit(setupUnit)
}

// idle is for what has nothing to do nearly always: collect garbage early rather than hold memory that services could use.
var idle = []string{"GOGC=25", "GOMAXPROCS=1", "GOMEMLIMIT=24MiB"}

// agent runs on every node.
func (a NodeArgs) agent() Unit {
	s := daemon("agent")
	s.description = "devctl node agent"
	s.documentation = "https://www.freedesktop.org/software/systemd/man/latest/org.freedesktop.systemd1.html"
	s.environment = idle
	s.hardening = append(hardening(
		// It installs the units that are assigned to the node: their files, their data's place, its own key.
		[]string{"/etc/systemd/system", api.ServicesDir, "/var/lib/devctl", "/run/devctl"},
		// Files and folders of a service belong to the service's user.
		[]string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"},
	), setting{"OOMScoreAdjust", "-500"}) // a node that Redis has filled must still be heard
	return s.unit("devctl-agent.service")
}

// controller runs on mains; one of them leads.
func (a NodeArgs) controller() Unit {
	s := daemon("controller")
	s.description = "devctl controller"
	s.documentation = "https://etcd.io/docs/v3.7/dev-guide/api_concurrency_reference_v3/"
	// Not After=etcd.service: without a quorum it still serves, and says that there is none.
	var writable []string
	if !a.Platform.Cloud() {
		writable = []string{api.SnapshotsDir} // a disk of its own, there before systemd is
	}
	s.hardening = hardening(writable, nil)
	return s.unit("devctl-controller.service")
}

// daemon is the service that runs one subcommand of devctld.
func daemon(subcommand string) service {
	return service{
		wants:            []string{"network-online.target", setupUnit},
		kind:             "notify",
		environmentFiles: []string{api.NodeEnvFile, api.ClusterEnvFile, api.PlatformEnvFile},
		start:            command{api.Daemon, subcommand},
		restart:          "always",
		startTimeout:     "infinity", // READY=1 may have to wait for a quorum
		stopTimeout:      "15",
	}
}

// hardening takes away what devctld does not need. It sees the file system read-only but for the given paths and
// keeps only the given capabilities.
func hardening(writable, capabilities []string) []setting {
	settings := []setting{{"ProtectSystem", "strict"}}
	if len(writable) > 0 {
		settings = append(settings, setting{"ReadWritePaths", strings.Join(writable, " ")})
	}
	return append(settings, []setting{
		{"ProtectHome", "yes"},
		{"PrivateTmp", "yes"},
		{"ProtectKernelModules", "yes"},
		{"ProtectKernelTunables", "yes"},
		{"ProtectControlGroups", "yes"},
		{"NoNewPrivileges", "yes"},
		{"CapabilityBoundingSet", strings.Join(capabilities, " ")}, // empty: none
		{"RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"},
		{"RestrictNamespaces", "yes"},
		{"RestrictRealtime", "yes"},
		{"RestrictSUIDSGID", "yes"},
		{"LockPersonality", "yes"},
		{"MemoryDenyWriteExecute", "yes"},
		{"SystemCallArchitectures", "native"},
	}...)
}

// etcd is the member on a main node. It is ready when it serves, which is when there is a quorum: whoever waits
// for the unit after replacing one main may go on with the next.
//
// The flags are those of etcd 3.7. The static ones are here, those that depend on the state of the cluster in
// EtcdEnvFile.
func (a NodeArgs) etcd() Unit {
	const address, loopback = "https://${DEVCTL_ADDRESS}", "https://127.0.0.1"
	client, peer := fmt.Sprintf(":%d", api.EtcdClientPort), fmt.Sprintf(":%d", api.EtcdPeerPort)
	ca, cert, key := api.PKIDir+"/ca.crt", api.NodePKIDir+"/etcd.crt", api.NodePKIDir+"/etcd.key"
	s := container{
		image:      a.EtcdImage,
		entrypoint: "/usr/local/bin/etcd",
		args: []string{
			"--name=${DEVCTL_NODE}",
			"--data-dir=" + api.EtcdDataDir,
			"--initial-cluster-token=devctl-${DEVCTL_STACK}",
			"--initial-advertise-peer-urls=" + address + peer,
			"--listen-peer-urls=" + address + peer,
			"--listen-client-urls=" + address + client + "," + loopback + client,
			"--advertise-client-urls=" + address + client,
			"--client-cert-auth",
			"--trusted-ca-file=" + ca, "--cert-file=" + cert, "--key-file=" + key,
			"--peer-client-cert-auth",
			"--peer-trusted-ca-file=" + ca, "--peer-cert-file=" + cert, "--peer-key-file=" + key,
			// Every node has a certificate of this CA: only a member's makes a peer.
			"--peer-cert-allowed-cn=etcd",
			"--tls-min-version=TLS1.3",
			"--enable-grpc-gateway=false",
			// Half of etcd's default, and still 10 round trips within a region and more: the first election, and every
			// later one after a leader is lost, is over in a second.
			"--heartbeat-interval=100", "--election-timeout=500",
			"--auto-compaction-mode=periodic", "--auto-compaction-retention=1h",
		},
		envFile:  EtcdEnvFile,
		reads:    []string{ca, cert, key}, // files, not their folders: ca.key and the controller's key stay outside
		writes:   []string{api.EtcdDataDir},
		notifies: true,
		grace:    10,
	}.service()
	s.description = "etcd member"
	s.documentation = "https://etcd.io/docs/v3.7/op-guide/configuration/"
	s.environmentFiles = []string{api.NodeEnvFile, api.ClusterEnvFile, api.PlatformEnvFile}
	s.startPre = command{api.Daemon, "etcd-prepare"}
	s.startTimeout = "infinity" // finding a quorum takes as long as it takes
	return s.unit("etcd.service")
}
