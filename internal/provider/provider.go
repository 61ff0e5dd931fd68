// Package provider is devctl's own Pulumi provider, served in-process: certificates and passwords (module pki), which
// every cloud needs, the local cloud's networks, images and node groups (module local), and the image bundles in the buckets of
// other clouds (modules aws and digitalocean).
//
// It only translates: inputs, state and differences here, the work itself in packages pki, localcloud and bundle.
package provider

import (
	"context"
	"fmt"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"

	"devctl/images"
	"devctl/internal/api"
	"devctl/internal/plugin"
)

// Name is the provider's package name in type tokens: devctl:local:Network.
const Name = "devctl"

// schemaVersion is the version of the resources' shape. It is not devctl's: Pulumi wants semantic versions only,
// and a build of devctl may be called after a commit.
const schemaVersion = "1.0.0"

// Options are what the resources work with.
type Options struct {
	// Cloud is where the resources of module local live: a *localcloud.Cloud, or Paper. Without it there are none.
	Cloud docker
	// Images is what Image makes available.
	Images *images.Set
	// Bundles are where the resources Bundle of modules aws and digitalocean live. Without them there are none.
	Bundles Bundles
}

// New makes the provider.
func New(o Options) (p.Provider, error) {
	resources := []infer.InferredResource{infer.Resource(authority{}), infer.Resource(password{})}
	if o.Cloud != nil {
		resources = append(resources, infer.Resource(network{o.Cloud}), infer.Resource(image{o.Cloud, o.Images}),
			infer.Resource(nodeGroup{o.Cloud}))
	}
	if o.Bundles != nil {
		resources = append(resources, infer.Resource(awsBundle{imageBundle{o.Bundles, api.PlatformAWS}}),
			infer.Resource(digitalOceanBundle{imageBundle{o.Bundles, api.PlatformDigitalOcean}}))
	}
	provider, err := infer.NewProviderBuilder().WithNamespace(Name).WithResources(resources...).Build()
	if err != nil {
		return p.Provider{}, fmt.Errorf("build provider %s: %w", Name, err)
	}
	return provider, nil
}

// Serve serves the provider on a port of 127.0.0.1 until ctx ends: see plugin.Serve. What is being made when the engine is
// interrupted is finished (see localcloud.Cloud.Stop).
func Serve(ctx context.Context, o Options) (port int, done <-chan struct{}, err error) {
	provider, err := New(o)
	if err != nil {
		return 0, nil, err
	}
	return plugin.Serve(ctx, Name, schemaVersion, provider)
}

// Main is the provider as a plugin that Pulumi starts: it writes its port to stdout and serves until Pulumi is done with it.
func Main(ctx context.Context, o Options) error {
	provider, err := New(o)
	if err != nil {
		return err
	}
	return p.RunProvider(ctx, Name, schemaVersion, provider)
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
