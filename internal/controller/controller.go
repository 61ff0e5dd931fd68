// Package controller is the daemon of main nodes. All of them serve the HTTPS API, from what is in etcd; the one
// that etcd elects turns the desired deployment and what the nodes report into assignments, keeps the Redis Cluster
// in shape, and tells people about it in events.
//
// An answer from etcd's quorum is the only ground for a change: without one nothing is done, and a leader that was
// replaced cannot write, because every write is conditional on its election.
package controller

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/pki"
	"devctl/internal/redis"
)

// Config is what a controller must know to start.
type Config struct {
	Identity api.Identity
	Mains    []api.Peer // every main node, this one included
	// EtcdEndpoints are the URLs of the mains' etcd; empty for the usual port on every main.
	EtcdEndpoints []string
	// Listen is the host:port of the API; empty for the usual port on this node's address.
	Listen string
	// CADir holds ca.crt and ca.key, CertDir holds controller.crt and controller.key.
	CADir   string
	CertDir string
	// Snapshots is where the leader keeps snapshots of etcd; nil for nowhere.
	Snapshots Snapshots
	// Workers is the group of elastic workers; nil where their number is not the controllers'.
	Workers Workers
	// Ready is called once the API is served; nil for nobody.
	Ready func()
	Log   *slog.Logger
}

// reconcileRedis is that of a redis.Keeper. It is a parameter so that tests can stand in for Redis.
type reconcileRedis func(context.Context, api.RedisSpec, []redis.Member, redis.Credentials) (api.RedisStatus, []string, error)

// controller is what the API and the leader share. Its fields do not change after start.
type controller struct {
	self      api.Identity
	mains     []api.Peer
	authority pki.Pair
	etcd      *clientv3.Client
	clientTLS *tls.Config // of etcd
	snapshots Snapshots
	workers   Workers
	redis     reconcileRedis
	leading   atomic.Bool
	log       *slog.Logger
}

// Run serves the API and takes part in the election until ctx ends, then returns nil. It returns an error only when
// it cannot start: a certificate that is missing, an address that is taken.
func Run(ctx context.Context, c Config) error {
	listen := c.Listen
	if listen == "" {
		listen = net.JoinHostPort(c.Identity.Address, strconv.Itoa(api.ControllerPort))
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listen for the controller API: %w", err)
	}
	return run(ctx, c, l, new(redis.Keeper).Reconcile)
}

func run(ctx context.Context, c Config, l net.Listener, reconcile reconcileRedis) error {
	authority, err := pki.Load(c.CADir, "ca")
	if err != nil {
		return errors.Join(err, l.Close())
	}
	own, err := pki.Load(c.CertDir, "controller")
	if err != nil {
		return errors.Join(err, l.Close())
	}
	serverTLS, err := pki.ServerTLS(authority.Cert, own)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	clientTLS, err := pki.ClientTLS(authority.Cert, own)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	endpoints := c.EtcdEndpoints
	if len(endpoints) == 0 {
		endpoints = discovery.Endpoints(c.Mains)
	}
	etcd, err := discovery.Dial(endpoints, clientTLS)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer etcd.Close()
	con := &controller{
		self: c.Identity, mains: c.Mains, authority: authority, etcd: etcd, clientTLS: clientTLS, snapshots: c.Snapshots,
		workers: c.Workers, redis: reconcile, log: c.Log,
	}

	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return con.serve(gctx, l, serverTLS) })
	g.Go(func() error { return con.campaign(gctx) })
	g.Go(func() error { return con.enroll(gctx) })
	g.Go(func() error { return discovery.Reap(gctx, etcd, c.Log) })
	if c.Ready != nil {
		c.Ready() // the listener takes connections; without a quorum the answer is that there is none
	}
	if err := g.Wait(); ctx.Err() == nil {
		return err
	}
	return nil
}

// member is what one etcd member says about itself.
type member struct {
	id      uint64
	name    string
	learner bool
	answers bool
	healthy bool // it answers, votes, and knows a leader
	leader  bool
}

// probeTimeout bounds one question to one etcd member.
const probeTimeout = time.Second

// members asks every etcd member on its own whether it serves. It needs no quorum, so it also works, as far as it
// can, when nothing else does.
func (c *controller) members(ctx context.Context) ([]member, error) {
	listCtx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	list, err := c.etcd.MemberList(listCtx, clientv3.WithSerializable())
	if err != nil {
		return nil, fmt.Errorf("list etcd members: %w", err)
	}
	out := make([]member, len(list.Members))
	var g errgroup.Group
	for i, m := range list.Members {
		out[i] = member{id: m.ID, name: m.Name, learner: m.IsLearner}
		if out[i].name == "" && len(m.PeerURLs) > 0 { // added, and not started yet
			out[i].name = c.mainAt(m.PeerURLs[0])
		}
		if len(m.ClientURLs) == 0 {
			continue
		}
		g.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			st, err := c.etcd.Status(ctx, m.ClientURLs[0])
			if err == nil {
				out[i].answers = true
				out[i].healthy = !m.IsLearner && st.Leader != 0 && len(st.Errors) == 0
				out[i].leader = st.Leader == m.ID
			}
			return nil
		})
	}
	return out, g.Wait()
}

// mainAt names the main node that a URL belongs to, or is the URL itself.
func (c *controller) mainAt(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	for _, m := range c.mains {
		if m.Address == u.Hostname() {
			return m.Name
		}
	}
	return address
}
