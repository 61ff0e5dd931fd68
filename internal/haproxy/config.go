// Package haproxy knows the load balancer in front of the Redis primaries: its configuration (Files), and how its
// backend follows the cluster through the runtime API, without a reload (Reconcile).
package haproxy

import (
	"fmt"
	"path"

	"devctl/internal/api"
)

// UID and GID that HAProxy changes to inside its container. The image names a user with the same number.
const (
	UID = 7010
	GID = 7010
)

const (
	backend = "redis" // name of the one backend
	slots   = 64      // servers in it, named redis1 …
	// nowhere is the address of a slot that is not in use; the slot is in maintenance, so nothing connects there.
	nowhere     = "127.0.0.1"
	nowherePort = 1
)

// Files returns HAProxy's configuration. It starts as root, opens its ports and the runtime socket, and goes on as an
// unprivileged user; the file has passwords and is for root only. Servers are added at run time, by Reconcile.
func Files(spec api.BalancerSpec, _ api.Identity) []api.File {
	return []api.File{{
		Path:    path.Join(api.ServicesDir, "haproxy.service", "haproxy.cfg"),
		Mode:    0o400,
		Content: config(spec),
	}}
}

// Dirs returns the directory of the runtime socket.
func Dirs() []api.File {
	return []api.File{{Path: path.Dir(api.HAProxySocket), Mode: 0o755}}
}

func config(spec api.BalancerSpec) string {
	return fmt.Sprintf(`# HAProxy in front of the Redis primaries. Rendered by devctl.
global
    uid %[1]d
    gid %[2]d
    chroot /var/lib/haproxy
    stats socket %[3]s mode 600 level admin
    maxconn 8000
    nbthread 2
    hard-stop-after 30s

defaults
    mode tcp
    timeout connect 1s
    timeout check 500ms
    # Redis clients keep idle connections; dead peers are found by keepalive instead.
    timeout client 24h
    timeout server 24h
    option clitcpka
    clitcpka-idle 30s
    clitcpka-intvl 10s
    clitcpka-cnt 3
    option srvtcpka
    srvtcpka-idle 30s
    srvtcpka-intvl 10s
    srvtcpka-cnt 3
    # A connection that fails is tried on another primary: any of them tells a client where its keys are.
    option redispatch 1
    retries 3

# The virtual IP comes and goes: listen on every address.
frontend endpoint
    bind :%[4]d
    default_backend %[5]s

# A slot for every Redis. devctld puts addresses in through the socket and lets primaries take part; HAProxy itself
# drops one that is no primary of a working cluster any more, and cuts its connections.
backend %[5]s
    balance roundrobin
    option tcp-check
    tcp-check connect
    tcp-check send AUTH\ %[6]s\ ${secret:%[7]s}\r\n
    tcp-check expect string +OK
    tcp-check send INFO\ replication\r\n
    # With a least length, an answer that does not match fails at once, and not when the time for a check is over. Both
    # of these look at one answer: a replica fails by the first.
    tcp-check expect min-recv 40 ! string role:slave
    tcp-check expect min-recv 40 string role:master
    tcp-check send CLUSTER\ INFO\r\n
    tcp-check expect min-recv 40 string cluster_state:ok
    default-server check inter 500ms fastinter 200ms downinter 200ms fall 2 rise 1 on-marked-down shutdown-sessions
    server-template %[5]s 1-%[8]d %[9]s:%[10]d disabled

frontend stats
    mode http
    bind :%[11]d
    timeout client 10s
    timeout http-request 5s
    # For people and their monitoring: 200 as long as there is a primary to send somebody to.
    monitor-uri /healthz
    monitor fail if { nbsrv(%[5]s) lt 1 }
    # For keepalived: HAProxy serves. A primary that is down is down for both balancers, and no reason to let go of the
    # address; nor has a new stack to wait for Redis before it has one.
    http-request return status 200 content-type text/plain string alive if { path /livez }
    http-request auth realm devctl unless { http_auth(people) }
    http-request use-service prometheus-exporter if { path /metrics }
    http-request redirect location /stats unless { path_beg /stats }
    stats enable
    stats uri /stats
    stats refresh 5s
    stats show-legends
    stats hide-version

userlist people
    user stats insecure-password ${secret:%[12]s}
`,
		UID, GID, api.HAProxySocket, spec.Port, backend, api.RedisUserCheck, api.SecretRedisCheck, slots, nowhere, nowherePort,
		spec.StatsPort, api.SecretStats)
}
