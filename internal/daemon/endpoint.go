package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"devctl/internal/agent"
	"devctl/internal/api"
	"devctl/internal/aws"
	"devctl/internal/digitalocean"
	"devctl/internal/discovery"
	"devctl/internal/endpoint"
	"devctl/internal/metadata"
	"devctl/internal/pki"
)

// runEndpoint keeps the stack's address at this worker while it should be there. On AWS keepalived decides that; on
// DigitalOcean, whose firewalls know only TCP, UDP and ICMP, the balancers elect one of them in etcd.
func runEndpoint(ctx context.Context, get getter, log *slog.Logger) error {
	n, err := parseNode(get)
	if err != nil {
		return err
	}
	keeper := endpoint.Keeper{Address: get(endpoint.KeyAddress), File: api.EndpointFile, Log: log}
	if keeper.Address == "" {
		return fmt.Errorf("%s is missing: %s says which address this is about", endpoint.KeyAddress, endpoint.EnvFile)
	}
	switch n.Platform {
	case api.PlatformAWS:
		client := aws.Client{Metadata: metadata.AWS{Base: metadata.DefaultBase}}
		err := persist(ctx, log, "cannot find out where this machine is yet, trying on", func() (err error) {
			client, err = client.Here(ctx)
			return err
		})
		if err != nil {
			return err
		}
		keeper.Cloud = elasticIP{client, get(endpoint.KeyAllocation)}
		notify(log, "watching keepalived")
		shrink(log)
		return endpoint.WhileMarked(ctx, marked, keeper.Hold)
	case api.PlatformDigitalOcean:
		token, err := os.ReadFile(endpoint.TokenFile)
		if err != nil {
			return fmt.Errorf("read the token for moving the address: %w", err)
		}
		keeper.Cloud = reservedIP{
			metadata.DigitalOcean{Base: metadata.DefaultBase},
			digitalocean.Client{API: digitalocean.DefaultAPI, Token: strings.TrimSpace(string(token))}, keeper.Address, n.ID,
		}
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error { return followFile(ctx, get, api.PlatformEnvFile) })
		g.Go(func() error { return holdWhileElected(ctx, n, keeper, get(endpoint.KeyStatsPort), log) })
		return g.Wait()
	default:
		return fmt.Errorf("%s is %q: there keepalived moves the address alone", keyPlatform, n.Platform)
	}
}

// holdWhileElected stands for election as the node.
func holdWhileElected(ctx context.Context, n node, keeper endpoint.Keeper, statsPort string, log *slog.Logger) error {
	own, err := pki.Load(api.NodePKIDir, "node")
	if err != nil {
		return err
	}
	ctx, cancel, err := agent.UntilRenewal(ctx, own, time.Now())
	if err != nil {
		return err
	}
	defer cancel()
	config, err := clientTLS(own)
	if err != nil {
		return err
	}
	cli, err := discovery.Dial(discovery.Endpoints(n.Mains), config)
	if err != nil {
		return err
	}
	defer func() { _ = cli.Close() }()
	notify(log, "standing for election")
	shrink(log)
	elect := func(ctx context.Context, elected func(context.Context) error) error {
		return discovery.Elect(ctx, cli, discovery.EndpointKey, n.Identity.Name, elected)
	}
	return endpoint.WhileElected(ctx, elect, endpoint.Serves(statsPort), keeper.Hold, log)
}

// marked tells whether keepalived wants this machine to hold the address.
func marked() (bool, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return false, fmt.Errorf("look for keepalived's mark: %w", err)
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.String() == api.EndpointMarker {
			return true, nil
		}
	}
	return false, nil
}

// elasticIP is the endpoint's address on AWS.
type elasticIP struct {
	aws.Client
	allocation string
}

func (e elasticIP) Move(ctx context.Context) error { return e.Associate(ctx, e.allocation) }

func (e elasticIP) Address(ctx context.Context) (string, error) { return e.Metadata.PublicAddress(ctx) }

// reservedIP is the endpoint's address on DigitalOcean.
type reservedIP struct {
	metadata.DigitalOcean
	api              digitalocean.Client
	address, droplet string
}

func (r reservedIP) Move(ctx context.Context) error {
	if r.droplet == "" {
		return errors.New("this droplet has no ID yet")
	}
	return r.api.Assign(ctx, r.address, r.droplet)
}

func (r reservedIP) Address(ctx context.Context) (string, error) { return r.PublicAddress(ctx) }
