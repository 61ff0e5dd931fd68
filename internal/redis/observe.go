package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"devctl/internal/api"
)

// observation is what one member says at one moment.
type observation struct {
	run    string // the ID of its process: another one after every start
	self   node
	nodes  []node // its view of the cluster, itself included
	state  string // cluster_state: ok | fail
	epoch  uint64 // the current one, as far as it has heard
	linkUp bool   // of a replica: the link is up and no full copy is in progress
	offset int64  // replication offset
	keys   int64
	open   bool   // it serves copies
	stuck  string // why it cannot write its log, and so takes no writes; "" while it can

	rewrites  int64 // of its log since it started, those that failed included
	rewriting bool  // one is going on
	rewritten bool  // the last one that ended was no failure
}

// observe asks one member everything at once.
func observe(ctx context.Context, c *client) (observation, error) {
	replies, err := c.do(ctx,
		command{"CLUSTER", "NODES"}, command{"CLUSTER", "INFO"}, command{"INFO", "server", "replication", "persistence"}, command{"DBSIZE"}, mayCopy())
	if err != nil {
		return observation{}, err
	}
	cluster, info := parseInfo(replies[1]), parseInfo(replies[2])
	o := observation{
		run:    info["run_id"],
		state:  cluster["cluster_state"],
		open:   replies[4] == "OK",
		linkUp: info["master_link_status"] == "up" && info["master_sync_in_progress"] == "0",

		rewriting: info["aof_rewrite_in_progress"] == "1" || info["aof_rewrite_scheduled"] == "1",
		rewritten: info["aof_last_bgrewrite_status"] == "ok",
	}
	if o.nodes, err = parseNodes(replies[0]); err != nil {
		return observation{}, err
	}
	for _, n := range o.nodes {
		if n.self {
			o.self = n
		}
	}
	if o.keys, err = strconv.ParseInt(replies[3], 10, 64); err != nil {
		return observation{}, fmt.Errorf("number of keys %q is no number", replies[3])
	}
	if o.epoch, err = strconv.ParseUint(cluster["cluster_current_epoch"], 10, 64); err != nil {
		return observation{}, fmt.Errorf("current epoch %q is no number", cluster["cluster_current_epoch"])
	}
	// Of a replica too: what it says of its link is lost when its primary refuses it.
	offset := info["master_repl_offset"]
	if o.offset, err = strconv.ParseInt(offset, 10, 64); err != nil {
		return observation{}, fmt.Errorf("replication offset %q is no number", offset)
	}
	if o.rewrites, err = strconv.ParseInt(info["aof_rewrites"], 10, 64); err != nil {
		return observation{}, fmt.Errorf("number of rewrites %q is no number", info["aof_rewrites"])
	}
	if info["aof_last_write_status"] == "err" {
		o.stuck, err = refusal(ctx, c)
	}
	return o, err
}

// refusal says why a member that cannot write its log refuses writes, such as "No space left on device", or "" when it
// does not any more. It tells so to nobody but those whom it refuses, and a PING is refused like a write.
func refusal(ctx context.Context, c *client) (string, error) {
	_, err := c.do(ctx, command{"PING"})
	var refused replyError
	if !errors.As(err, &refused) {
		return "", err
	}
	if _, why, found := strings.Cut(string(refused), ": "); found {
		return why, nil
	}
	return string(refused), nil
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
	c := newClient(address, creds)
	defer c.Close()
	o, err := observe(ctx, c)
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
