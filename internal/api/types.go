// Package api holds what devctl, the controller and the agents say to each other: the wire types, the
// names of ports and paths both sides must agree on, and the client of the controller's API.
//
// Everything here is plain data. No value of these types holds a secret, except DeployRequest.Secrets.
package api

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Role is what a node is for.
type Role string

// The three roles.
const (
	RoleMain   Role = "main"   // etcd member and controller
	RoleWorker Role = "worker" // load balancers and services
	RoleData   Role = "data"   // Redis
)

// Roles lists every role in the order in which nodes are brought up.
func Roles() []Role { return []Role{RoleMain, RoleWorker, RoleData} }

// Platform is where machines run, and so how they get what is not in their configuration.
type Platform string

// The platforms. A stack's spec calls them the same.
const (
	PlatformLocal        Platform = "local"
	PlatformAWS          Platform = "aws"
	PlatformDigitalOcean Platform = "digitalocean"
)

// Cloud tells whether the machines are Fedora CoreOS at a cloud provider's.
func (p Platform) Cloud() bool { return p == PlatformAWS || p == PlatformDigitalOcean }

// ResourceName is what a resource is called on a cloud, or in Docker: devctl-<stack>, with the part of the stack that it is behind that.
func ResourceName(stack string, part ...string) string {
	return strings.Join(append([]string{"devctl", stack}, part...), "-")
}

// Ports that are the same on every stack.
const (
	EtcdClientPort = 2379
	EtcdPeerPort   = 2380
	ControllerPort = 9443
)

// RedisPort is the port of the given shard's Redis (1-based) on any data node. A node never runs
// two members of one shard, so the port is unique on a node. The cluster bus is 10000 above.
func RedisPort(shard int) int { return 7100 + shard }

// Identity is what makes one machine of a group different from the next.
// On a node it is the environment file NodeEnvFile.
type Identity struct {
	Stack   string `json:"stack"`
	Name    string `json:"name"` // for example data-2: unique in the stack
	Role    Role   `json:"role"`
	Zone    string `json:"zone"`
	Address string `json:"address"` // IPv4, without prefix length
}

// Peer is a main node as the others must know it before any discovery works.
type Peer struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// UnitStatus is one systemd unit as its node sees it.
type UnitStatus struct {
	Name   string `json:"name"`   // for example redis-1.service
	Active string `json:"active"` // systemd ActiveState: active, activating, failed, inactive …
	Sub    string `json:"sub"`    // systemd SubState: running, auto-restart, dead …
	// Hash of the assignment that was applied last; empty for units that came with Ignition.
	Hash string `json:"hash,omitempty"`
	// Message says why the unit is not active: the error, then the last lines of its journal.
	Message string `json:"message,omitempty"`
}

// Ready tells whether the unit does its work.
func (u UnitStatus) Ready() bool { return u.Active == "active" }

// On says in words how the unit of the given node is.
func (u UnitStatus) On(node string) string {
	return fmt.Sprintf("%s on %s is %s (%s)", u.Name, node, cmp.Or(u.Active, "unknown"), cmp.Or(u.Sub, "unknown"))
}

// RedisInstance is one Redis process as its node's agent sees it.
type RedisInstance struct {
	Shard     int    `json:"shard"` // 1-based, from the assignment
	Port      int    `json:"port"`
	NodeID    string `json:"nodeID"`              // CLUSTER MYID
	Role      string `json:"role"`                // primary | replica
	PrimaryID string `json:"primaryID,omitempty"` // of a replica
	LinkUp    bool   `json:"linkUp"`              // of a replica: master_link_status:up and no sync in progress
	Slots     int    `json:"slots"`               // number of hash slots a primary owns
	State     string `json:"state"`               // cluster_state: ok | fail
	Offset    int64  `json:"offset"`              // replication offset
	DiskFull  bool   `json:"diskFull,omitempty"`  // there is no room left where it keeps its data
}

// LoadBalancer is a worker's HAProxy as its agent sees it through the runtime API.
type LoadBalancer struct {
	Backends int `json:"backends"` // servers that should get traffic
	Up       int `json:"up"`       // of these, servers that pass their health check
}

// NodeRecord is a node's heartbeat: it hangs on the node's lease under discovery.NodeKey.
type NodeRecord struct {
	Identity
	ID            string          `json:"id"` // container ID or instance ID
	Version       string          `json:"version"`
	Config        string          `json:"config"` // hash of the Ignition config the machine was made from
	Started       time.Time       `json:"started"`
	LastHeartbeat time.Time       `json:"lastHeartbeat"`
	FreeMemory    uint64          `json:"freeMemory"` // bytes
	Units         []UnitStatus    `json:"units"`
	Redis         []RedisInstance `json:"redis,omitempty"`
	LoadBalancer  *LoadBalancer   `json:"loadBalancer,omitempty"`
	HoldsEndpoint bool            `json:"holdsEndpoint,omitempty"` // the virtual IP is on this node
}

// Deployment is what should run on top of the nodes. It is derived from the spec and holds no secret.
type Deployment struct {
	Stack    string        `json:"stack"`
	Redis    RedisSpec     `json:"redis"`
	Balancer BalancerSpec  `json:"balancer"`
	Endpoint EndpointSpec  `json:"endpoint"`
	Nodes    []Identity    `json:"nodes"` // every node that is expected, sorted by name
	Images   ServiceImages `json:"images"`
	// Workers, unless nil, says that workers come and go: then none of them is in Nodes.
	Workers *ElasticWorkers `json:"workers,omitempty"`
}

// ElasticWorkers are workers that a cloud's group makes and takes away. Any machine that comes with the role's
// certificate, from the network, under the name that its ID gives it, is one of them.
type ElasticWorkers struct {
	Network string `json:"network"` // CIDR that their addresses are in
	Min     int    `json:"min"`     // fewer are a problem
}

// RedisSpec describes the Redis Cluster.
type RedisSpec struct {
	Shards        int   `json:"shards"`
	Replicas      int   `json:"replicas"`  // per shard
	MaxMemory     int64 `json:"maxMemory"` // bytes per instance
	NodeTimeoutMS int   `json:"nodeTimeoutMS"`
}

// BalancerSpec describes HAProxy, which runs on the first Instances workers.
type BalancerSpec struct {
	Instances int `json:"instances"`
	Port      int `json:"port"`
	StatsPort int `json:"statsPort"`
}

// EndpointSpec describes the virtual IP that keepalived moves between the balancers.
type EndpointSpec struct {
	Address  string `json:"address"`  // IPv4
	Prefix   int    `json:"prefix"`   // length of the network's prefix
	RouterID int    `json:"routerID"` // VRRP virtual router id, 1–255
	// Interface of the balancers that the address moves between; empty for eth0.
	Interface string `json:"interface,omitempty"`
	// Platform is the cloud that moves the address, because its network carries only what it has been told about. Empty
	// where the address is simply put on an interface.
	Platform Platform `json:"platform,omitempty"`
	// Allocation is the ID of the Elastic IP; AWS only.
	Allocation string `json:"allocation,omitempty"`
}

// ServiceImages are the container image references of the services.
type ServiceImages struct {
	Redis      string `json:"redis"`
	HAProxy    string `json:"haproxy"`
	Keepalived string `json:"keepalived"`
	// Source is the folder, as a URL, from which nodes fetch them (see ImageArchive). Empty where every node has them.
	Source string `json:"source,omitempty"`
}

// Names of the secrets of a deployment: keys of DeployRequest.Secrets, and of discovery.SecretKey.
const (
	SecretRedisAdmin       = "redis-admin"       // controller and agents of data nodes
	SecretRedisReplication = "redis-replication" // replicas towards primaries
	SecretRedisCheck       = "redis-check"       // HAProxy's health checks
	SecretRedisApp         = "redis-app"         // what people connect with
	SecretStats            = "haproxy-stats"     // HAProxy's stats page, user "stats"
	// SecretDigitalOcean is a token of DigitalOcean's API that may move reserved IPs, and nothing else; only there.
	SecretDigitalOcean = "digitalocean-token"
)

// Redis ACL users, one per purpose. Passwords are the secrets of the same purpose.
const (
	RedisUserAdmin       = "admin"
	RedisUserReplication = "replication"
	RedisUserCheck       = "check"
	RedisUserApp         = "app"
)

// File is a file that belongs to an assigned unit.
type File struct {
	Path string `json:"path"`
	Mode uint32 `json:"mode"` // permission bits
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	// Content may contain ${secret:NAME} and ${secret-sha256:NAME}: the agent puts the secret, or the
	// lower-case hex SHA-256 of it, in their place just before it writes the file; and DevicePlaceholder.
	Content string `json:"content"`
}

// DevicePlaceholder in a File stands for the name of the network interface that has the node's address: what it is called, only
// the node knows.
const DevicePlaceholder = "${device}"

// Assignment is a unit that one node has to run: unit file, and the files it needs.
type Assignment struct {
	Node  string `json:"node"`
	Unit  string `json:"unit"` // for example redis-1.service
	Text  string `json:"text"` // the unit file
	Files []File `json:"files,omitempty"`
	// Dirs are created before the unit starts and outlive it; Content is unused.
	Dirs []File `json:"dirs,omitempty"`
	// Shard is set for Redis units: which shard the member belongs to (1-based).
	Shard int `json:"shard,omitempty"`
	// Endpoint is set for the unit that moves the endpoint's address: so that the agent can tell whether its node holds it.
	Endpoint string `json:"endpoint,omitempty"`
	// Needs is the unit of the same node that has to be done before this one starts, or changes: its image's. Empty for none.
	Needs string `json:"needs,omitempty"`
	// Hash over all of the above: what UnitStatus.Hash reports once it runs.
	Hash string `json:"hash"`
}

// Assigned is the answer of GET /v1/assignments: what all nodes have to run. Secrets are placeholders in it.
type Assigned struct {
	Deployed    string       `json:"deployed"`             // revision of the desired deployment, "" if none
	Assignments []Assignment `json:"assignments"`          // sorted by node, then unit
	Deployment  *Deployment  `json:"deployment,omitempty"` // the desired one, nil if none
	// Live are the nodes whose heartbeat is fresh, Silent those elastic workers that are still waited for: who works out
	// what a deployment changes has to know both.
	Live   []Identity `json:"live"`
	Silent []Identity `json:"silent,omitempty"`
}

// DeployRequest is the body of PUT /v1/deployment.
type DeployRequest struct {
	Deployment Deployment        `json:"deployment"`
	Secrets    map[string]string `json:"secrets"`
}

// DeployResponse answers it.
type DeployResponse struct {
	Revision string `json:"revision"` // hash of the deployment
	Changed  bool   `json:"changed"`  // false: it was the desired state already
	Seq      int64  `json:"seq"`      // of the last event before: what follows is about this deployment
}

// WorkersRequest is the body of PUT /v1/workers: how many elastic workers there should be.
type WorkersRequest struct {
	Count int `json:"count"`
}

// WorkersResponse answers it.
type WorkersResponse struct {
	Before int      `json:"before"` // how many there should have been until then
	Ended  []string `json:"ended"`  // the IDs of the machines that were ended
}

// JoinRequest is the body of POST /v1/join: a new node asks, with its role's bootstrap certificate,
// for a certificate of its own.
type JoinRequest struct {
	Identity
	CSR string `json:"csr"` // PEM
}

// JoinResponse answers it.
type JoinResponse struct {
	Certificate string `json:"certificate"` // PEM; the common name is the node's name
}

// Event is one thing that happened in the cluster, for people.
type Event struct {
	Seq     int64     `json:"seq"` // counts up over the life of the stack: ask for events after it
	Time    time.Time `json:"time"`
	Level   string    `json:"level"` // info | warning | error
	Node    string    `json:"node,omitempty"`
	Unit    string    `json:"unit,omitempty"`
	Message string    `json:"message"`
}

// Status is the answer of GET /v1/status.
type Status struct {
	Stack    string         `json:"stack"`
	Healthy  bool           `json:"healthy"`
	Problems []string       `json:"problems"` // empty when healthy; each one sentence for people
	Deployed string         `json:"deployed"` // revision of the desired deployment, "" if none
	Settled  bool           `json:"settled"`  // everything desired runs and is ready
	Nodes    []NodeStatus   `json:"nodes"`    // those whose heartbeat is fresh; sorted by role, then name
	Missing  []NodeStatus   `json:"missing"`  // those that are expected and do not beat, sorted the same way
	Etcd     EtcdStatus     `json:"etcd"`
	Redis    RedisStatus    `json:"redis"`
	Endpoint EndpointStatus `json:"endpoint"`
}

// States of a node.
const (
	NodeReady    = "ready"    // it beats, and every unit does its work
	NodeDegraded = "degraded" // it beats, and some unit does not
	NodeMissing  = "missing"  // it is expected and does not beat: it has not joined yet, hangs, or is being replaced
)

// NodeStatus is one node, as its machine says itself. Of a missing one that is who it is to be, and the machine and the heartbeat that were
// the last, unless there was none.
type NodeStatus struct {
	Name          string       `json:"name"`
	ID            string       `json:"id"`
	Role          Role         `json:"role"`
	Zone          string       `json:"zone"`
	Address       string       `json:"address"`
	State         string       `json:"state"` // ready | degraded | missing
	LastHeartbeat time.Time    `json:"lastHeartbeat,omitzero"`
	Units         []UnitStatus `json:"units"`
	// Config is the hash of the Ignition config that the machine was made from.
	Config string `json:"config,omitempty"`
	// Outdated: the stack's machines are made from another one by now. Only devctl can tell, the controllers leave it out.
	Outdated bool `json:"outdated,omitempty"`
}

// EtcdStatus counts members.
type EtcdStatus struct {
	Members int    `json:"members"`
	Healthy int    `json:"healthy"`
	Leader  string `json:"leader"` // node name
}

// RedisStatus is the Redis Cluster as the controller last saw it.
type RedisStatus struct {
	State         string        `json:"state"` // ok | fail | forming | none
	SlotsAssigned int           `json:"slotsAssigned"`
	Primaries     int           `json:"primaries"`
	Replicas      int           `json:"replicas"` // in sync
	Shards        []ShardStatus `json:"shards"`
	// Problems are what keeps the state from being ok, and what cannot be repaired without a person. One sentence each.
	Problems []string `json:"problems,omitempty"`
}

// ShardStatus is one shard.
type ShardStatus struct {
	Slots    string        `json:"slots"` // for example 0-5460
	Primary  ShardMember   `json:"primary"`
	Replicas []ShardMember `json:"replicas"`
}

// ShardMember is one Redis of a shard.
type ShardMember struct {
	Node    string `json:"node"`
	Zone    string `json:"zone"`
	Address string `json:"address"` // host:port
	InSync  bool   `json:"inSync"`
}

// EndpointStatus tells where clients connect.
type EndpointStatus struct {
	Address  string `json:"address"`
	Port     int    `json:"port"`
	StatsURL string `json:"statsUrl"`
	Holder   string `json:"holder"` // node name, "" when nobody holds the address
}
