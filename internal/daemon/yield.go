package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/pki"
	"devctl/internal/redis"
	"devctl/units"
)

// yieldTimeout is how long a Redis that is to stop may look for somebody who takes over. After that it is missed, as any other.
const yieldTimeout = 5 * time.Second

// yield runs before a Redis of this node is stopped in order, for whatever reason: a shutdown, a new configuration, another node
// that has its work now. If it is a primary a replica takes over first.
func yield(ctx context.Context, get getter, log *slog.Logger) error {
	n, err := parseNode(get)
	if err != nil {
		return err
	}
	shard, err := strconv.Atoi(get(units.KeyShard))
	if err != nil {
		return fmt.Errorf("%s is no number of a shard: %w", units.KeyShard, err)
	}
	ctx, cancel := context.WithTimeout(ctx, yieldTimeout)
	defer cancel()
	password, err := adminPassword(ctx, n)
	if err != nil {
		return err
	}
	address := net.JoinHostPort(n.Identity.Address, strconv.Itoa(api.RedisPort(shard)))
	heir, err := redis.Yield(ctx, address, redis.Credentials{User: api.RedisUserAdmin, Password: password})
	if err == nil && heir != "" {
		log.Info("handed over", "shard", shard, "to", heir)
	}
	return err
}

// adminPassword reads it with the node's own certificate.
func adminPassword(ctx context.Context, n node) (string, error) {
	own, err := pki.Load(api.NodePKIDir, "node")
	if err != nil {
		return "", err
	}
	config, err := clientTLS(own)
	if err != nil {
		return "", err
	}
	cli, err := discovery.Dial(discovery.Endpoints(n.Mains), config)
	if err != nil {
		return "", err
	}
	defer func() { _ = cli.Close() }()
	password, _, _, err := discovery.GetRaw(ctx, cli, discovery.SecretKey(api.SecretRedisAdmin))
	return string(password), err
}

// clientTLS is for calls to the stack's etcd and controllers with a certificate of this node.
func clientTLS(own pki.Pair) (*tls.Config, error) {
	ca, err := os.ReadFile(api.PKIDir + "/ca.crt")
	if err != nil {
		return nil, fmt.Errorf("read the stack's authority: %w", err)
	}
	return pki.ClientTLS(string(ca), own)
}
