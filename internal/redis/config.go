package redis

import (
	"fmt"
	"path"
	"strings"

	"devctl/internal/api"
)

// UID and GID of Redis inside its container, and so of its files on the node. The image sets the same number.
const (
	UID = 7100
	GID = 7100
)

// DataFolder is where the member of the given shard (1-based) keeps what it has, on any node.
func DataFolder(shard int) string { return path.Join(api.DataDir, fmt.Sprintf("redis-%d", shard)) }

// Files returns the configuration of the member of the given shard (1-based) on node self, and the directories it
// needs. Both can be read by Redis only: they get passwords and their hashes when they are written.
func Files(spec api.RedisSpec, shard int, self api.Identity) (files, dirs []api.File) {
	unit := fmt.Sprintf("redis-%d", shard)
	folder := path.Join(api.ServicesDir, unit+".service")
	data := DataFolder(shard)
	file := func(name, content string) api.File {
		return api.File{Path: path.Join(folder, name), Mode: 0o400, UID: UID, GID: GID, Content: content}
	}
	files = []api.File{
		file("redis.conf", config(spec, shard, self, data, path.Join(folder, "users.acl"))),
		file("users.acl", users()),
	}
	return files, []api.File{{Path: data, Mode: 0o700, UID: UID, GID: GID}}
}

func config(spec api.RedisSpec, shard int, self api.Identity, data, aclFile string) string {
	return fmt.Sprintf(`# Redis Cluster member of shard %[1]d on %[2]s. Rendered by devctl.
port %[3]d
bind %[4]s 127.0.0.1
tcp-keepalive 30
aclfile %[5]s

# What is confirmed is in the append-only file; a killed process loses nothing, a lost machine what the last
# second brought and no replica had. No RDB snapshots beside it: they would fork for nothing.
dir %[6]s
appendonly yes
appendfsync everysec
save ""

# A full instance refuses writes rather than dropping data.
maxmemory %[7]d
maxmemory-policy noeviction

cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout %[8]d
cluster-announce-ip %[4]s
# Replicas stay where they were placed: one that moved to another shard could end up in its primary's zone.
cluster-allow-replica-migration no
# A shard that is down takes no other shard with it, and any replica is better than none.
cluster-require-full-coverage no
cluster-replica-validity-factor 0

# Replicas sync at once and over the socket. The backlog lets one that was away shortly catch up without a full copy.
masteruser %[9]s
masterauth ${secret:%[10]s}
repl-diskless-sync yes
repl-diskless-sync-delay 0
repl-backlog-size %[11]d

# Memory is freed in the background: no client waits for it.
lazyfree-lazy-eviction yes
lazyfree-lazy-expire yes
lazyfree-lazy-server-del yes
lazyfree-lazy-user-del yes
lazyfree-lazy-user-flush yes
replica-lazy-flush yes
latency-monitor-threshold 100
`,
		shard, self.Name, api.RedisPort(shard), self.Address, aclFile, data, spec.MaxMemory, spec.NodeTimeoutMS,
		api.RedisUserReplication, api.SecretRedisReplication, backlog(spec.MaxMemory))
}

// backlog is the size of the replication backlog in bytes: it counts towards maxmemory, so a sixteenth of it.
func backlog(maxMemory int64) int64 {
	const mib = 1 << 20
	return min(max(maxMemory/16, mib), 64*mib)
}

// openCommand lets a running member serve copies to replicas.
func openCommand() command { return command{"ACL", "SETUSER", api.RedisUserReplication, "+psync"} }

// mayCopy asks a member whether it serves copies. The answer is OK or why not.
func mayCopy() command { return command{"ACL", "DRYRUN", api.RedisUserReplication, "PSYNC", "?", "-1"} }

// users is the ACL file. AUTH, HELLO and QUIT need no permission.
func users() string {
	user := func(name, secret string, rules ...string) string {
		return fmt.Sprintf("user %s reset on #${secret-sha256:%s} %s\n", name, secret, strings.Join(rules, " "))
	}
	return "user default reset off sanitize-payload\n" +
		// Sees and shapes the cluster, and cannot read or lose a key; ACL SETUSER is for openCommand. Whoever has its
		// password, nodes that hold the data and controllers, could take more rights with it.
		user(api.RedisUserAdmin, api.SecretRedisAdmin,
			"+ping", "+info", "+dbsize", "+role", "+wait", "+command", "+config|get", "+slowlog", "+latency",
			"+acl|setuser", "+acl|dryrun", "+bgrewriteaof",
			"+cluster", "-cluster|reset", "-cluster|flushslots", "-cluster|delslots", "-cluster|delslotsrange") +
		// A replica towards its primary. +psync is added once the member owns or holds keys (openCommand): one that
		// came back empty where a primary was would empty that one's replicas.
		user(api.RedisUserReplication, api.SecretRedisReplication, "+ping", "+replconf") +
		// HAProxy's health check.
		user(api.RedisUserCheck, api.SecretRedisCheck, "+ping", "+info", "+cluster|info") +
		// Every command on data, and what clients ask a cluster; nothing that manages a server or stops it for others.
		user(api.RedisUserApp, api.SecretRedisApp, "~*", "&*", "+@all", "-@admin", "-@dangerous",
			"+info", "+role", "+sort", "+sort_ro", "+cluster|replicas", "+cluster|slaves")
}
