package discovery

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"

	"devctl/internal/api"
	"devctl/internal/backoff"
)

// callTimeout bounds one question to etcd. It is short because a member that hangs (rather than refuses) costs
// the whole of it, and the next question goes to another member.
const callTimeout = 2 * time.Second

// buffer is the size, in bytes, of the buffers of a connection.
const buffer = 4096

// Endpoints are the URLs of the main nodes' etcd.
func Endpoints(mains []api.Peer) []string {
	out := make([]string, len(mains))
	for i, m := range mains {
		out[i] = "https://" + net.JoinHostPort(m.Address, strconv.Itoa(api.EtcdClientPort))
	}
	return out
}

// Dial makes a client of the etcd members at endpoints (URLs). It does not wait for a connection: calls fail
// while there is none. The caller closes the client.
func Dial(endpoints []string, tls *tls.Config) (*clientv3.Client, error) {
	cli, err := clientv3.New(clientv3.Config{
		Endpoints:   endpoints,
		TLS:         tls,
		DialTimeout: 3 * time.Second,
		// A member that was paused, or whose machine is gone, closes no connection: these find out.
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		MaxUnaryRetries:      3,
		Logger:               zap.NewNop(), // the caller logs what it does about an error, once
		DialOptions: []grpc.DialOption{
			// gRPC's own are 32 KiB each, for each of the members; what is said here is small.
			grpc.WithReadBufferSize(buffer), grpc.WithWriteBufferSize(buffer),
			grpc.WithChainUnaryInterceptor(askAgain),
			// gRPC waits 1 s after the first failure and up to two minutes later. On a machine that boots, etcd is there
			// a moment after who asks for it.
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           grpcbackoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
				MinConnectTimeout: 3 * time.Second,
			}),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("connect to etcd at %v: %w", endpoints, err)
	}
	return cli, nil
}

// askAgain repeats what etcd refuses because a user or role changed between its arrival and its turn: it was not done, and nothing
// is wrong with it. While a stack begins every node that joins changes them.
func askAgain(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	retry := backoff.Backoff{Min: 2 * time.Millisecond, Max: 100 * time.Millisecond}
	for {
		err := invoke(ctx, method, req, reply, conn, opts...)
		if !errors.Is(rpctypes.Error(err), rpctypes.ErrAuthOldRevision) || retry.Wait(ctx) != nil {
			return err
		}
	}
}

// refusedByLearner tells whether a member refused because it is still learning: the next attempt goes to another one,
// and there is nothing to worry about.
func refusedByLearner(err error) bool {
	return errors.Is(err, rpctypes.Error(rpctypes.ErrGRPCNotSupportedForLearner))
}

// Snapshot is what etcd held under a prefix at one revision.
type Snapshot struct {
	Revision int64
	Values   map[string][]byte // by the rest of the key after the prefix
}

// List reads everything under prefix, with the consent of a quorum.
func List(ctx context.Context, cli *clientv3.Client, prefix string) (Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := cli.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return Snapshot{}, fmt.Errorf("list %s: %w", prefix, err)
	}
	values := make(map[string][]byte, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		values[string(kv.Key[len(prefix):])] = kv.Value
	}
	return Snapshot{Revision: resp.Header.Revision, Values: values}, nil
}

// Get reads the JSON at key, with the consent of a quorum. found is false when there is no such key; revision is
// that of the key's last change.
func Get[T any](ctx context.Context, cli *clientv3.Client, key string) (value T, revision int64, found bool, err error) {
	raw, revision, found, err := GetRaw(ctx, cli, key)
	if err != nil || !found {
		return value, 0, false, err
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		return value, 0, false, fmt.Errorf("decode %s: %w", key, err)
	}
	return value, revision, true, nil
}

// GetRaw is Get for a value that is no JSON.
func GetRaw(ctx context.Context, cli *clientv3.Client, key string) (value []byte, revision int64, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := cli.Get(ctx, key)
	if err != nil {
		return nil, 0, false, fmt.Errorf("read %s: %w", key, err)
	}
	if len(resp.Kvs) == 0 {
		return nil, 0, false, nil
	}
	return resp.Kvs[0].Value, resp.Kvs[0].ModRevision, true, nil
}

// Nodes lists the records of all live nodes, sorted by name, and the revision they were read at.
func Nodes(ctx context.Context, cli *clientv3.Client) ([]api.NodeRecord, int64, error) {
	snap, err := List(ctx, cli, NodesPrefix)
	if err != nil {
		return nil, 0, err
	}
	return ParseNodes(snap.Values), snap.Revision, nil
}

// ParseNodes decodes node records by name, sorted. A record that does not parse, or that speaks for another
// node than the one whose key it is under, counts for nothing: a node may only write its own key.
func ParseNodes(values map[string][]byte) []api.NodeRecord {
	records := make([]api.NodeRecord, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		var r api.NodeRecord
		if json.Unmarshal(values[name], &r) == nil && r.Name == name {
			records = append(records, r)
		}
	}
	return records
}

// ParseAssignments decodes assignments by unit. One that does not parse makes all of them unusable: leaving it
// out would mean that its unit has to be removed.
func ParseAssignments(values map[string][]byte) (map[string]api.Assignment, error) {
	out := make(map[string]api.Assignment, len(values))
	for unit, raw := range values {
		var a api.Assignment
		if err := json.Unmarshal(raw, &a); err != nil {
			return nil, fmt.Errorf("decode assignment of %s: %w", unit, err)
		}
		if a.Unit != unit {
			return nil, fmt.Errorf("assignment of %s is about %q", unit, a.Unit)
		}
		out[unit] = a
	}
	return out, nil
}
