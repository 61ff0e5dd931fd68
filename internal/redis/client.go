package redis

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"devctl/internal/api"
)

// answerTimeout is how long one member may take to connect and to answer a command. A member that is paused or cut
// off counts as one that gives no answer after that.
const answerTimeout = time.Second

// Credentials are an ACL user and its password.
type Credentials struct{ User, Password string }

// dial returns a client for one member that keeps at most one connection. Nothing is retried: the next pass does that.
func dial(address string, creds Credentials) *goredis.Client {
	return goredis.NewClient(&goredis.Options{
		Addr:     address,
		Username: creds.User,
		Password: creds.Password,

		PoolSize:              1,
		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           answerTimeout,
		ReadTimeout:           answerTimeout,
		WriteTimeout:          answerTimeout,
		ContextTimeoutEnabled: true,
		ReadBufferSize:        4096,
		WriteBufferSize:       4096,

		// What Redis 7.0 does not know is not sent.
		Protocol:                 2,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// observation is what one member says at one moment.
type observation struct {
	self   node
	nodes  []node // its view of the cluster, itself included
	state  string // cluster_state: ok | fail
	linkUp bool   // of a replica: the link is up and no full copy is in progress
	offset int64  // replication offset
	keys   int64
}

// observe asks one member everything at once.
func observe(ctx context.Context, client *goredis.Client) (observation, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	pipe := client.Pipeline()
	nodes := pipe.ClusterNodes(ctx)
	cluster := pipe.ClusterInfo(ctx)
	replication := pipe.Info(ctx, "replication")
	keys := pipe.DBSize(ctx)
	if _, err := pipe.Exec(ctx); err != nil {
		return observation{}, err
	}
	view, err := parseNodes(nodes.Val())
	if err != nil {
		return observation{}, err
	}
	info := parseInfo(replication.Val())
	o := observation{
		nodes:  view,
		state:  parseInfo(cluster.Val())["cluster_state"],
		linkUp: info["master_link_status"] == "up" && info["master_sync_in_progress"] == "0",
		keys:   keys.Val(),
	}
	for _, n := range view {
		if n.self {
			o.self = n
		}
	}
	offset := info["master_repl_offset"]
	if !o.self.primary {
		offset = info["slave_repl_offset"]
	}
	if o.offset, err = strconv.ParseInt(offset, 10, 64); err != nil {
		return observation{}, fmt.Errorf("replication offset %q is no number", offset)
	}
	return o, nil
}

// Inspect asks the Redis at address (host:port) what it is at the moment. The shard is the caller's to fill in.
// It takes one connection and one round trip, and fails after a second without an answer.
func Inspect(ctx context.Context, address string, creds Credentials) (api.RedisInstance, error) {
	_, portText, err := net.SplitHostPort(address)
	if err != nil {
		return api.RedisInstance{}, fmt.Errorf("inspect Redis: %w", err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return api.RedisInstance{}, fmt.Errorf("inspect Redis at %s: port %q is no number", address, portText)
	}
	client := dial(address, creds)
	defer client.Close()
	o, err := observe(ctx, client)
	if err != nil {
		return api.RedisInstance{}, fmt.Errorf("inspect Redis at %s: %w", address, err)
	}
	instance := api.RedisInstance{
		Port: port, NodeID: o.self.id, Role: "primary", State: o.state, Offset: o.offset, Slots: countSlots(o.self.slots),
	}
	if !o.self.primary {
		instance.Role, instance.PrimaryID, instance.LinkUp = "replica", o.self.primaryID, o.linkUp
	}
	return instance, nil
}

func countSlots(ranges []slotRange) int {
	count := 0
	for _, r := range ranges {
		count += r.last - r.first + 1
	}
	return count
}
