package agent

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/endpoint"
	"devctl/internal/haproxy"
	"devctl/units"
)

// balance keeps the servers of the node's HAProxy what the node records say, and looks whether the node holds the
// virtual IP. A worker that runs no HAProxy does not follow the records: they would be sent to it every second.
func balance(ctx context.Context, cli *clientv3.Client, c Config, b *board) error {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	unit := units.HAProxy("").Name
	for {
		tick.Reset(b.pace())
		_, assigned := b.assigned()[unit]
		if assigned {
			if err := balanceWhile(ctx, cli, c, b, unit); err != nil {
				return err
			}
		}
		b.setBalancer(nil)
		b.setUnheld(false)
		b.setHolds(holdsEndpoint(b.assigned()))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// balanceWhile follows the node records for as long as the unit is assigned to the node.
func balanceWhile(ctx context.Context, cli *clientv3.Client, c Config, b *board, unit string) error {
	g, gctx := errgroup.WithContext(ctx)
	gctx, done := context.WithCancel(gctx)
	records := make(chan []api.NodeRecord)
	g.Go(func() error {
		defer done()
		err := discovery.FollowNodes(gctx, cli, c.Log, func(nodes []api.NodeRecord) {
			select {
			case records <- nodes:
			case <-gctx.Done():
			}
		})
		if ctx.Err() == nil && gctx.Err() != nil {
			return nil // the unit has gone
		}
		return err
	})
	g.Go(func() error {
		defer done()
		tick := time.NewTicker(lookInterval)
		defer tick.Stop()
		var want []haproxy.Server
		var failing bool
		for {
			// Also when no record has changed: HAProxy may have been restarted.
			tick.Reset(b.pace())
			select {
			case <-gctx.Done():
				return nil // the other one says why
			case nodes := <-records:
				want = servers(nodes, want)
				b.setUnheld(!slices.ContainsFunc(nodes, func(n api.NodeRecord) bool { return n.HoldsEndpoint }))
			case <-tick.C:
			}
			if _, assigned := b.assigned()[unit]; !assigned {
				return nil
			}
			b.setHolds(holdsEndpoint(b.assigned()))
			if want == nil {
				continue // nobody has been heard of yet
			}
			lb, err := haproxy.Reconcile(gctx, api.HAProxySocket, want)
			if err != nil {
				if !failing && gctx.Err() == nil {
					c.Log.Warn("cannot set HAProxy's servers, trying on", "error", err)
				}
				failing = true
				b.setBalancer(nil)
				continue
			}
			failing = false
			b.setBalancer(&lb)
		}
	})
	return g.Wait()
}

// servers are the Redis instances that node records speak of, in the order of the records. When not one is left, the
// ones known before stay: whatever has happened, no server at all would only make it worse, and HAProxy's own
// checks know which of them live.
func servers(nodes []api.NodeRecord, known []haproxy.Server) []haproxy.Server {
	var out []haproxy.Server
	for _, n := range nodes {
		for _, r := range n.Redis {
			out = append(out, haproxy.Server{
				Name: fmt.Sprintf("%s:%d", n.Name, r.Port), Addr: n.Address, Port: r.Port, Primary: r.Role == "primary",
			})
		}
	}
	if len(out) == 0 {
		return known
	}
	return out
}

// holdsEndpoint tells whether the endpoint's address is on this node: on an interface, or, where a cloud moves it, as the cloud
// has confirmed.
func holdsEndpoint(owned map[string]applied) bool {
	for _, o := range owned {
		if o.Endpoint != "" && (hasAddress(o.Endpoint) || endpoint.Held(api.EndpointFile) == o.Endpoint) {
			return true
		}
	}
	return false
}

func hasAddress(address string) bool {
	want := net.ParseIP(address)
	addresses, err := net.InterfaceAddrs()
	if err != nil || want == nil {
		return false
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.Equal(want) {
			return true
		}
	}
	return false
}
