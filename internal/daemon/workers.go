package daemon

import (
	"context"
	"strings"

	"devctl/internal/api"
	"devctl/internal/aws"
	"devctl/internal/controller"
	"devctl/internal/metadata"
)

// workersOf is the group of a stack's elastic workers; nil where main nodes have no right to resize it: on a laptop the supervisor
// keeps as many as the spec says, and a droplet is nobody that DigitalOcean would know.
func workersOf(n node) controller.Workers {
	if n.Platform != api.PlatformAWS {
		return nil
	}
	return scalingGroup{client: aws.Client{Metadata: metadata.AWS{Base: metadata.DefaultBase}}, name: api.ResourceName(n.Identity.Stack, string(api.RoleWorker))}
}

// scalingGroup is a group of machines on AWS.
type scalingGroup struct {
	client aws.Client
	name   string
}

func (g scalingGroup) Machines(ctx context.Context) (ids []string, wanted int, err error) {
	client, err := g.client.Here(ctx)
	if err != nil {
		return nil, 0, err
	}
	group, err := client.Group(ctx, g.name)
	if err != nil {
		return nil, 0, err
	}
	for _, i := range group.Instances {
		if !strings.HasPrefix(i.State, "Terminat") { // Terminating, Terminating:Wait, Terminated …
			ids = append(ids, i.ID)
		}
	}
	return ids, group.Desired, nil
}

func (g scalingGroup) Resize(ctx context.Context, count int) error {
	client, err := g.client.Here(ctx)
	if err != nil {
		return err
	}
	return client.Resize(ctx, g.name, count)
}

func (g scalingGroup) End(ctx context.Context, id string) error {
	client, err := g.client.Here(ctx)
	if err != nil {
		return err
	}
	return client.Terminate(ctx, id, true)
}
