// Package agent is what runs on every node: it joins the cluster, beats as long as the node lives, makes systemd run
// the units that are assigned to the node, and reports what they do. While etcd gives no answer nothing is torn
// down: what was assigned last still runs.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/etcdmember"
	"devctl/internal/pki"
	"devctl/units"
)

// Where the agent keeps what it owns, and where systemd looks for units of the administrator.
const (
	stateFile = "/var/lib/devctl/agent/units.json"
	unitDir   = "/etc/systemd/system"
)

// ErrRenew ends Run when the node's certificate should be renewed. The next start does that.
var ErrRenew = errors.New("the node's certificate is due for renewal")

// ErrJoined ends Run when etcd did not know the node any more and it has joined again. The next start goes on with that.
var ErrJoined = errors.New("the node has joined again")

// errDenied: the node was away for so long that its user is gone, or the cluster is one of before it joined.
var errDenied = errors.New("etcd does not know this node any more")

// Config is what a node knows about itself before it has asked anybody.
type Config struct {
	Identity api.Identity
	Platform api.Platform // empty for local
	ID       string       // of the machine: container ID or instance ID
	Ignition string       // hash of the Ignition config the machine was made from
	Version  string       // of devctld
	Mains    []api.Peer
	Log      *slog.Logger
	// Ready is told once, after the first heartbeat that etcd took.
	Ready func()
	// Idle, unless nil, is told now and then, when the agent has looked at everything and has nothing to do.
	Idle func()
}

// Run runs the agent until ctx ends, the certificate is due for renewal, or the node had to join again, and returns which.
func Run(outer context.Context, c Config) error {
	pair, ca, err := certificate(outer, c)
	if err != nil {
		return err
	}
	ctx, cancel, err := UntilRenewal(outer, pair, time.Now())
	if err != nil {
		return err
	}
	defer cancel()
	tls, err := pki.ClientTLS(ca, pair)
	if err != nil {
		return err
	}
	cli, err := discovery.Dial(discovery.Endpoints(c.Mains), tls)
	if err != nil {
		return err
	}
	defer func() { _ = cli.Close() }()
	sd := &systemd{}
	defer sd.close()
	owned, err := loadOwned(stateFile)
	if err != nil {
		return err
	}

	board := newBoard(owned)
	secrets := func(ctx context.Context, name string) (string, error) {
		value, _, found, err := discovery.GetRaw(ctx, cli, discovery.SecretKey(name))
		if err == nil && !found {
			err = fmt.Errorf("there is no secret %q", name)
		}
		return string(value), err
	}
	g, ctx := errgroup.WithContext(ctx)
	desired := make(chan map[string]api.Assignment)
	g.Go(func() error { return followAssignments(ctx, cli, c, desired) })
	g.Go(func() error {
		r := &reconciler{
			systemd: sd, secrets: secrets, device: func() (string, error) { return deviceOf(c.Identity.Address) }, journal: journal, log: c.Log, unitDir: unitDir, stateFile: stateFile,
			owned: owned, base: baseUnits(c.Identity.Role, c.Platform), report: board.setUnits, pace: board.pace, idle: c.Idle,
		}
		return r.run(ctx, desired)
	})
	g.Go(func() error { return beat(ctx, cli, c, board) })
	switch c.Identity.Role {
	case api.RoleData:
		g.Go(func() error { return inspectRedis(ctx, c, board, secrets) })
	case api.RoleWorker:
		g.Go(func() error { return balance(ctx, cli, c, board) })
	case api.RoleMain:
		g.Go(func() error { return promote(ctx, c, ca) })
	}
	err = g.Wait() // every part returns the context's cause when that ends
	if errors.Is(err, errDenied) {
		c.Log.Warn("joining again", "reason", err)
		if _, err := join(outer, c, ca, true); err != nil {
			return err
		}
		return ErrJoined
	}
	return err
}

// UntilRenewal returns a context that ends, with ErrRenew as its cause, when the certificate is due for renewal. When
// it is due already that is in an hour: each try is a restart.
func UntilRenewal(ctx context.Context, p pki.Pair, now time.Time) (context.Context, context.CancelFunc, error) {
	renew, err := p.RenewAt()
	if err != nil {
		return nil, nil, err
	}
	if soonest := now.Add(time.Hour); renew.Before(soonest) {
		renew = soonest
	}
	ctx, cancel := context.WithDeadlineCause(ctx, renew, ErrRenew)
	return ctx, cancel, nil
}

// baseUnits are the names of the units that came with the machine.
func baseUnits(role api.Role, platform api.Platform) []string {
	var names []string
	for _, u := range units.Node(role, units.NodeArgs{Platform: platform}) {
		names = append(names, u.Name)
	}
	return names
}

// promote keeps a main node's etcd a voter. It speaks as etcd's root user, with the controller's certificate.
func promote(ctx context.Context, c Config, ca string) error {
	pair, err := pki.Load(api.NodePKIDir, "controller")
	if err != nil {
		return err
	}
	tls, err := pki.ClientTLS(ca, pair)
	if err != nil {
		return err
	}
	return etcdmember.Promote(ctx, etcdmember.Config{
		Name: c.Identity.Name, Members: etcdmember.Members(c.Mains), TLS: tls, Log: c.Log,
	})
}
