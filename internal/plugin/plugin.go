// Package plugin serves Pulumi providers from inside this process, in place of plugins that would have to be downloaded.
package plugin

import (
	"context"
	"fmt"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	rpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Serve serves the provider of the named package, in a version such as 1.0.0, on a port of 127.0.0.1 until ctx ends. It
// returns once it listens; Pulumi finds it by PULUMI_DEBUG_PROVIDERS=NAME:PORT. done is closed when ctx has ended and so
// have all calls, for which that is the end too.
func Serve(ctx context.Context, name, version string, provider p.Provider) (port int, done <-chan struct{}, err error) {
	server, err := p.RawServer(name, version, provider)(nil)
	if err != nil {
		return 0, nil, fmt.Errorf("serve provider %s: %w", name, err)
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
		return 0, nil, fmt.Errorf("serve provider %s: %w", name, err)
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
// first interrupt and at the end of every run. Providers would cut off the calls under way then, and all later ones; here
// what is being made is finished, and the next run finds the provider as new.
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
