package localcloud

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"

	"devctl/internal/api"
)

// NetworkName is how the network of a stack is called.
func NetworkName(stack string) string { return api.ResourceName(stack) }

// EnsureNetwork makes sure that the stack has its network: a bridge over cidr with the gateway at its first address.
// It may be called at the same time from anywhere.
func (c *Cloud) EnsureNetwork(ctx context.Context, stack, cidr string) error {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return fmt.Errorf("network of stack %q: %w", stack, err)
	}
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for {
		found, err := c.FindNetwork(limited, stack)
		if err != nil {
			return err
		}
		if found == prefix.Masked().String() {
			return nil
		}
		if found != "" {
			return fmt.Errorf("stack %q has a network already, over %s instead of %s; run `devctl destroy -s %s` first", stack, found, cidr, stack)
		}
		err = c.createNetwork(limited, stack, prefix)
		// Docker refuses a second network over the same addresses. When no other has them, somebody else is making
		// ours just now, and it shows in a moment.
		if !errdefs.IsPermissionDenied(err) && !errdefs.IsConflict(err) {
			return err
		}
		select {
		case <-limited.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// FindNetwork returns the CIDR of the stack's network, "" when it has none.
func (c *Cloud) FindNetwork(ctx context.Context, stack string) (cidr string, err error) {
	var networks []network.Summary
	err = c.call(ctx, "look for the network of stack "+stack, func(ctx context.Context) (err error) {
		networks, err = c.docker.NetworkList(ctx, network.ListOptions{Filters: labelled(stackLabel(stack))})
		return err
	})
	if err != nil {
		return "", err
	}
	for _, n := range networks {
		for _, p := range subnets(n) {
			return p.String(), nil
		}
	}
	return "", nil
}

func (c *Cloud) createNetwork(ctx context.Context, stack string, prefix netip.Prefix) error {
	name := NetworkName(stack)
	err := c.call(ctx, fmt.Sprintf("create network %q", name), func(ctx context.Context) error {
		_, err := c.docker.NetworkCreate(ctx, name, network.CreateOptions{
			Driver: "bridge",
			IPAM: &network.IPAM{Config: []network.IPAMConfig{{
				Subnet:  prefix.Masked().String(),
				Gateway: prefix.Masked().Addr().Next().String(),
			}}},
			Labels: map[string]string{labelStack: stack},
		})
		return err
	})
	if err == nil {
		return nil
	}
	// Docker says only that addresses overlap. Name with what.
	_, others, listErr := c.networkClaims(ctx, stack)
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	if conflict := overlap(prefix, others); conflict != nil {
		return conflict
	}
	return err
}

// RemoveNetwork removes the network of the stack with all machines that are still on it: a run that was killed may have
// made some and written them down nowhere, and Docker keeps a network that is in use. It is no error when there is none.
func (c *Cloud) RemoveNetwork(ctx context.Context, stack string) error {
	if err := c.RemoveGroup(ctx, stack, "", func(string) {}); err != nil {
		return err
	}
	return c.call(ctx, fmt.Sprintf("remove network %q", NetworkName(stack)), func(ctx context.Context) error {
		networks, err := c.docker.NetworkList(ctx, network.ListOptions{Filters: labelled(stackLabel(stack))})
		if err != nil {
			return err
		}
		for _, n := range networks {
			if err := c.docker.NetworkRemove(ctx, n.ID); err != nil && !errdefs.IsNotFound(err) {
				return err
			}
		}
		return nil
	})
}

// subnets are the IPv4 ranges of a network.
func subnets(n network.Summary) []netip.Prefix {
	var all []netip.Prefix
	for _, config := range n.IPAM.Config {
		if p, err := netip.ParsePrefix(config.Subnet); err == nil && p.Addr().Is4() {
			all = append(all, p.Masked())
		}
	}
	return all
}
