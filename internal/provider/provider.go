// Package provider is devctl's own Pulumi provider, served in-process: certificates and passwords (module pki), which
// every cloud needs, and the local cloud's networks, images and node groups (module local).
//
// It only translates: inputs, state and differences here, the work itself in packages pki and localcloud.
package provider

import (
	"context"
	"fmt"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	rpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"devctl/images"
	"devctl/internal/localcloud"
)

// Name is the provider's package name in type tokens: devctl:local:Network.
const Name = "devctl"

// schemaVersion is the version of the resources' shape. It is not devctl's: Pulumi wants semantic versions only,
// and a build of devctl may be called after a commit.
const schemaVersion = "1.0.0"

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
// PULUMI_DEBUG_PROVIDERS=devctl:PORT. done is closed when ctx has ended and so have all calls, for which that is the end
// too.
func Serve(ctx context.Context, o Options) (port int, done <-chan struct{}, err error) {
	provider, err := New(o)
	if err != nil {
		return 0, nil, err
	}
	server, err := p.RawServer(Name, schemaVersion, provider)(nil)
	if err != nil {
		return 0, nil, fmt.Errorf("serve provider %s: %w", Name, err)
	}
	stop, ended := make(chan bool), make(chan struct{})
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel:  stop,
		Options: []grpc.ServerOption{grpc.UnaryInterceptor(until(ctx))},
		Init: func(s *grpc.Server) error {
			rpc.RegisterResourceProviderServer(s, server)
			return nil
		},
	})
	if err != nil {
		return 0, nil, fmt.Errorf("serve provider %s: %w", Name, err)
	}
	go func() {
		defer close(ended)
		select {
		case <-ctx.Done():
			close(stop)
			<-handle.Done
		case <-handle.Done:
		}
	}()
	return handle.Port, ended, nil
}

// until ends calls when ctx does, and on nothing else but the end of the engine itself. The engine calls Cancel at the
// first interrupt and at the end of every run. infer would cut off the calls under way then, and all later ones; here what
// is being made is finished (see localcloud.Cloud.Stop), and the next run finds the provider as new.
func until(ctx context.Context) grpc.UnaryServerInterceptor {
	return func(call context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if info.FullMethod == rpc.ResourceProvider_Cancel_FullMethodName {
			return &emptypb.Empty{}, nil
		}
		call, cancel := context.WithCancel(call)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		return handler(call, req)
	}
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
