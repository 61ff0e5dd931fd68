// Package discovery is how the parts of a cluster find each other: node records that hang on leases in etcd, and
// the few other keys that controller and agents share. No answer from etcd never means that something is gone.
package discovery

// Every key of devctl is below root; the version is part of it, so that two versions can live side by side.
const root = "/devctl/v1/"

// Prefixes and single keys. Values are JSON of the type that is named, unless it says otherwise.
const (
	NodesPrefix       = root + "nodes/"       // <name>: api.NodeRecord, leased
	AssignmentsPrefix = root + "assignments/" // <node>/<unit>: api.Assignment
	ObservedPrefix    = root + "observed/"    // <node>/<unit>: api.UnitStatus, leased
	SecretsPrefix     = root + "secrets/"     // <key>: the secret itself, no JSON
	EventsPrefix      = root + "events/"      // <seq, 16 digits>: api.Event
	DeploymentKey     = root + "deployment"   // api.Deployment
	ElectionKey       = root + "election/controller"
	EndpointKey       = root + "election/endpoint" // who holds the endpoint, where that is not keepalived's to say
	RedisKey          = root + "redis"             // how Redis is, leased by the leading controller
	ToldKey           = root + "told"              // what the controllers' events have said so far: theirs alone
)

// NodeKey is where a node's record is.
func NodeKey(name string) string { return NodesPrefix + name }

// AssignmentsOf is the prefix of everything assigned to a node.
func AssignmentsOf(node string) string { return AssignmentsPrefix + node + "/" }

// AssignmentKey is where one unit of a node is assigned.
func AssignmentKey(node, unit string) string { return AssignmentsOf(node) + unit }

// ObservedOf is the prefix of everything a node reports about its units.
func ObservedOf(node string) string { return ObservedPrefix + node + "/" }

// ObservedKey is where a node reports about one assigned unit.
func ObservedKey(node, unit string) string { return ObservedOf(node) + unit }

// SecretKey is where a secret of the deployment is.
func SecretKey(name string) string { return SecretsPrefix + name }
