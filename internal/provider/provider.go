// Package provider is devctl's own Pulumi provider, served in-process: certificates and passwords (module pki), which
// every cloud needs, and the local cloud's networks, images and node groups (module local).
//
// It only translates: inputs, state and differences here, the work itself in packages pki and localcloud.
package provider

import (
	"context"
	"fmt"
	"strings"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	rpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"

	"devctl/images"
	"devctl/internal/localcloud"
	"devctl/internal/version"
)

// Name is the provider's package name in type tokens: devctl:local:Network.
const Name = "devctl"

// Options are what the resources work with.
type Options struct {
	// Cloud is where the resources of module local live. Without it, there are only those of module pki.
	Cloud *localcloud.Cloud
	// Images is what Image makes available.
	Images *images.Set
}

// New makes the provider.
func New(o Options) (p.Provider, error) {
	resources := []infer.InferredResource{infer.Resource(authority{}), infer.Resource(password{})}
	if o.Cloud != nil {
		resources = append(resources, infer.Resource(network{o.Cloud}), infer.Resource(image{o.Cloud, o.Images}),
			infer.Resource(nodeGroup{o.Cloud}))
	}
	provider, err := infer.NewProviderBuilder().WithNamespace(Name).WithResources(resources...).Build()
	if err != nil {
		return p.Provider{}, fmt.Errorf("build provider %s: %w", Name, err)
	}
	return provider, nil
}

// Serve serves the provider on a port of 127.0.0.1 until ctx ends. It returns once it listens; Pulumi finds it by
// PULUMI_DEBUG_PROVIDERS=devctl:PORT.
func Serve(ctx context.Context, o Options) (port int, err error) {
	provider, err := New(o)
	if err != nil {
		return 0, err
	}
	server, err := p.RawServer(Name, pulumiVersion(version.Version), provider)(nil)
	if err != nil {
		return 0, fmt.Errorf("serve provider %s: %w", Name, err)
	}
	stop := make(chan bool)
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: stop,
		Init: func(s *grpc.Server) error {
			rpc.RegisterResourceProviderServer(s, server)
			return nil
		},
	})
	if err != nil {
		return 0, fmt.Errorf("serve provider %s: %w", Name, err)
	}
	go func() {
		select {
		case <-ctx.Done():
			close(stop)
			<-handle.Done
		case <-handle.Done:
		}
	}()
	return handle.Port, nil
}

// pulumiVersion makes a version that Pulumi can parse.
func pulumiVersion(v string) string {
	v = strings.TrimPrefix(v, "v")
	if v == "" {
		return "0.0.0"
	}
	return v
}

// reporter is how the work of a resource tells its progress.
func reporter(ctx context.Context) func(string) {
	logger := p.GetLogger(ctx)
	return func(line string) { logger.Info(line) }
}

// changed is the difference of one input that an update takes care of.
func changed() p.PropertyDiff { return p.PropertyDiff{Kind: p.Update, InputDiff: true} }

// replaced is the difference of one input that only a new resource takes care of.
func replaced() p.PropertyDiff { return p.PropertyDiff{Kind: p.UpdateReplace, InputDiff: true} }
