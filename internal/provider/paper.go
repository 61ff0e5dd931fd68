package provider

import (
	"context"
	"errors"

	"devctl/images"
	"devctl/internal/api"
	"devctl/internal/bundle"
	"devctl/internal/localcloud"
)

// docker is the local cloud as its resources use it: *localcloud.Cloud, or Paper.
type docker interface {
	EnsureArtifacts(ctx context.Context, set *images.Set, log func(string)) error
	HasArtifacts(ctx context.Context, nodeImage, store string) (bool, error)
	EnsureNetwork(ctx context.Context, stack, cidr string) error
	FindNetwork(ctx context.Context, stack string) (cidr string, err error)
	RemoveNetwork(ctx context.Context, stack string) error
	Want(g localcloud.Group)
	Converge(ctx context.Context, g localcloud.Group, formed bool, log func(string)) ([]localcloud.Node, error)
	Nodes(ctx context.Context, stack string, role api.Role) ([]localcloud.Node, error)
	RemoveGroup(ctx context.Context, stack string, role api.Role, log func(string)) error
}

var (
	_ docker = (*localcloud.Cloud)(nil)
	_ docker = Paper{}
)

// Paper is a local cloud, and buckets, where everything that is asked for is there at once, because nothing is made: for previews that
// compare with what a spec says and not with what exists.
type Paper struct{}

// EnsureArtifacts does nothing.
func (Paper) EnsureArtifacts(context.Context, *images.Set, func(string)) error { return nil }

// EnsureNetwork does nothing.
func (Paper) EnsureNetwork(context.Context, string, string) error { return nil }

// Want does nothing.
func (Paper) Want(localcloud.Group) {}

// RemoveNetwork does nothing.
func (Paper) RemoveNetwork(context.Context, string) error { return nil }

// RemoveGroup does nothing.
func (Paper) RemoveGroup(context.Context, string, api.Role, func(string)) error { return nil }

// Converge returns the group's machines as they would be.
func (Paper) Converge(_ context.Context, g localcloud.Group, _ bool, _ func(string)) ([]localcloud.Node, error) {
	var nodes []localcloud.Node
	for _, node := range g.Nodes {
		nodes = append(nodes, localcloud.Node{Name: node.Name, Fingerprint: g.Fingerprint(node), Running: true, Ready: true})
	}
	return nodes, nil
}

var errPaper = errors.New("there is nothing to look at: this run compares with what is written down")

// HasArtifacts cannot know.
func (Paper) HasArtifacts(context.Context, string, string) (bool, error) { return false, errPaper }

// FindNetwork cannot know.
func (Paper) FindNetwork(context.Context, string) (string, error) { return "", errPaper }

// Nodes cannot know.
func (Paper) Nodes(context.Context, string, api.Role) ([]localcloud.Node, error) {
	return nil, errPaper
}

// Upload does nothing.
func (Paper) Upload(context.Context, bundle.Location, string, func(string)) error { return nil }

// Exists cannot know.
func (Paper) Exists(context.Context, bundle.Location) (bool, error) { return false, errPaper }
