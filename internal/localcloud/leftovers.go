package localcloud

import (
	"context"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
)

// Leftovers lists every Docker object of the stack, for people: "container NAME", "network NAME", "volume NAME".
func Leftovers(ctx context.Context, stack string) ([]string, error) {
	c, err := Connect()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.leftovers(ctx, stack)
}

// RemoveStack removes every Docker object of the stack, also what no state knows of. It is no error when there is none.
func RemoveStack(ctx context.Context, stack string) error {
	c, err := Connect()
	if err != nil {
		return err
	}
	defer c.Close()
	return c.RemoveNetwork(ctx, stack)
}

func (c *Cloud) leftovers(ctx context.Context, stack string) ([]string, error) {
	var left []string
	err := c.call(ctx, "look for what is left of stack "+stack, func(ctx context.Context) error {
		ours := labelled(stackLabel(stack))
		containers, err := c.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: ours})
		if err != nil {
			return err
		}
		for _, found := range containers {
			left = append(left, "container "+displayName(found))
		}
		networks, err := c.docker.NetworkList(ctx, network.ListOptions{Filters: ours})
		if err != nil {
			return err
		}
		for _, found := range networks {
			left = append(left, "network "+found.Name)
		}
		volumes, err := c.docker.VolumeList(ctx, volume.ListOptions{Filters: ours})
		if err != nil {
			return err
		}
		for _, found := range volumes.Volumes {
			left = append(left, "volume "+found.Name)
		}
		return nil
	})
	return left, err
}
