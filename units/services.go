package units

import (
	"fmt"
	"path"
	"strings"

	"devctl/internal/api"
)

// KeyShard says in the environment of a Redis member which shard it is of.
const KeyShard = "DEVCTL_SHARD"

// Redis returns the unit of the member of the given shard (1-based) on a data node. Its redis.conf and users.acl
// are in api.ServicesDir, its append-only file and nodes.conf in api.DataDir. Before it stops in order a replica takes over.
func Redis(shard int, image string) Unit {
	name := fmt.Sprintf("redis-%d.service", shard)
	s := container{
		image:      image,
		entrypoint: "redis-server",
		// Redis says READY=1 when it has loaded its data, but only if it is told who supervises it.
		args:     []string{config(name, "redis.conf"), "--supervised", "systemd", "--daemonize", "no"},
		reads:    []string{config(name)},
		writes:   []string{data(name)},
		notifies: true,
		grace:    30, // waits up to 10 s for its replicas, then flushes the append-only file
	}.service()
	s.description = fmt.Sprintf("Redis Cluster member of shard %d", shard)
	s.documentation = "https://redis.io/docs/latest/operate/oss_and_stack/management/scaling/"
	s.environment = []string{fmt.Sprintf("%s=%d", KeyShard, shard)}
	s.yield = command{api.Daemon, "yield"}
	s.startTimeout = "infinity" // loading its data takes as long as it takes
	return s.unit(name)
}

// HAProxy returns the unit of the load balancer on a worker. Its haproxy.cfg is in api.ServicesDir, its runtime
// API at api.HAProxySocket. Reloading it starts new workers and drops no connection.
func HAProxy(image string) Unit {
	const name = "haproxy.service"
	sockets := path.Dir(api.HAProxySocket)
	s := container{
		image:      image,
		entrypoint: "haproxy",
		args:       []string{"-Ws", "-f", config(name, "haproxy.cfg")}, // master and workers, READY=1 when they listen
		reads:      []string{config(name)},
		writes:     []string{sockets},
		// It starts as root, binds, and goes on as its own user in an empty root; the master signals the workers.
		capabilities: []string{"KILL", "NET_BIND_SERVICE", "SETGID", "SETUID", "SYS_CHROOT"},
		notifies:     true,
		grace:        10,
	}.service()
	s.description = "HAProxy in front of the Redis primaries"
	s.documentation = "https://docs.haproxy.org/2.6/management.html"
	s.directory = strings.TrimPrefix(sockets, "/run/") // on a tmpfs: gone after a reboot
	s.reload = command{podman, "kill", "--signal=USR2", "%N"}
	return s.unit(name)
}

// Keepalived returns the unit that holds the virtual IP on one of the balancers. Its keepalived.conf and scripts
// are in api.ServicesDir. It has no way to say that it is ready: the unit is active when the process runs.
func Keepalived(image string) Unit {
	const name = "keepalived.service"
	s := container{
		image:      image,
		entrypoint: "keepalived",
		args:       []string{"--dont-fork", "--log-console", "--vrrp", "--use-file=" + config(name, "keepalived.conf")},
		reads:      []string{config(name)},
		// Addresses on interfaces; VRRP is an IP protocol of its own; check scripts run as a user that it sets.
		capabilities: []string{"NET_ADMIN", "NET_RAW", "SETGID", "SETUID"},
		grace:        5,
	}.service()
	s.description = "keepalived for the stack's virtual IP"
	s.documentation = "https://www.keepalived.org/manpage.html"
	// Stopped in reverse: the address has moved before HAProxy goes away.
	s.after = []string{"haproxy.service"}
	s.reload = command{podman, "kill", "--signal=HUP", "%N"}
	return s.unit(name)
}

// Endpoint returns the unit that asks a cloud to move the endpoint's address to its worker, while it should be there. It is a
// process of its own: it has rights at the cloud, and the agent has none.
func Endpoint() Unit {
	const name = "devctl-endpoint.service"
	s := daemon("endpoint")
	s.description = "Keep the stack's address at this worker"
	s.documentation = "https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateAddress.html " +
		"https://docs.digitalocean.com/products/networking/reserved-ips/"
	s.environment = idle
	s.environmentFiles = append(s.environmentFiles, config(name, "endpoint.env"))
	// Stopped in reverse: the address has moved before HAProxy goes away.
	s.after = []string{"haproxy.service"}
	s.hardening = hardening([]string{"/run/devctl"}, nil)
	return s.unit(name)
}

// config is the folder with the files of a unit, or a file in it.
func config(unit string, file ...string) string {
	return path.Join(append([]string{api.ServicesDir, unit}, file...)...)
}

// data is the folder with what a unit keeps.
func data(unit string) string {
	return path.Join(api.DataDir, strings.TrimSuffix(unit, ".service"))
}
