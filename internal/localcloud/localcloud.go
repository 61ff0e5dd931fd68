// Package localcloud is the cloud that `devctl up` uses on a laptop: networks, node groups and their images as
// Docker objects.
//
// It keeps no state of its own. Everything it makes carries the labels below and is found by them, so a run that was
// interrupted anywhere is picked up by the next, and one stack never touches what belongs to another.
package localcloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"devctl/internal/api"
)

// Labels of containers, networks and volumes.
const (
	labelStack  = "devctl.stack"
	labelRole   = "devctl.role"
	labelNode   = "devctl.node" // what has it is a node
	labelZone   = "devctl.zone"
	labelConfig = "devctl.config" // of a node: hash of everything the machine is made from
	labelCache  = "devctl.cache"  // "true": belongs to no stack and may be made again
)

// callTimeout bounds one ordinary call of Docker's API.
const callTimeout = 60 * time.Second

// Cloud talks to one Docker engine.
type Cloud struct {
	docker *client.Client
	boots  turns
	rolls  rolls
	// Spare, when set, is asked before a node of a working group is taken away. It waits until the others have all that
	// the node has; an error stops the roll there.
	Spare func(ctx context.Context, node api.Identity) error
	// Healthy, when set, is asked after a node of a working group was replaced or joined, before the next one is
	// touched. An error stops the roll there.
	Healthy func(ctx context.Context, node api.Identity) error
	// EtcdData, when set, brings main nodes back that are all gone: it is a compressed archive with the folder etcd, the data
	// of the node's member. Only a person who named a snapshot sets it.
	EtcdData func(ctx context.Context, node api.Identity) (io.ReadCloser, error)
	// Stop, when set, is closed when a person wants to end: what is being worked on is finished, and nothing further is
	// begun. To end that as well, cancel the context.
	Stop <-chan struct{}
	// Dropped are capabilities that a node cannot have: see droppedCapabilities.
	Dropped []string
	// Supervisor is the program of the container that Supervise starts.
	Supervisor []byte

	wantedLock sync.Mutex
	wanted     map[api.Role]Group // by Want
}

// stopped tells whether nothing further is to be begun.
func (c *Cloud) stopped() bool {
	select {
	case <-c.Stop:
		return true
	default:
		return false
	}
}

// Connect makes a Cloud for the engine that the environment names (DOCKER_HOST and its companions), else the default
// one. Nothing is sent yet.
func Connect(opts ...client.Opt) (*Cloud, error) {
	docker, err := client.NewClientWithOpts(append([]client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("set up the connection to Docker: %w; check DOCKER_HOST", err)
	}
	return &Cloud{docker: docker, Dropped: droppedCapabilities()}, nil
}

// Close drops idle connections.
func (c *Cloud) Close() error { return c.docker.Close() }

// call runs one request with a deadline and explains failures: what was tried, and when it was Docker that did not
// answer, what to do about it.
func (c *Cloud) call(ctx context.Context, action string, request func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.explain(ctx, action, request(limited))
}

// explain wraps the error of a request that was made for ctx.
func (c *Cloud) explain(ctx context.Context, action string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", action, ctx.Err())
	case silent(err):
		return fmt.Errorf("%s: Docker stopped answering (%w); start it with `systemctl start docker`, or `dockerd` where there is "+
			"no systemd, then run the command again: it goes on where it stopped", action, err)
	default:
		return fmt.Errorf("%s: %w", action, err)
	}
}

// silent tells whether an error means that Docker did not answer, or not to the end.
func silent(err error) bool {
	var transport net.Error
	return client.IsErrConnectionFailed(err) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &transport) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// labelled selects objects that carry all the given labels, each "name=value".
func labelled(labels ...string) filters.Args {
	args := filters.NewArgs()
	for _, l := range labels {
		args.Add("label", l)
	}
	return args
}

func stackLabel(stack string) string { return labelStack + "=" + stack }

// ofRole selects what belongs to the machines of a role; with an empty role, of the whole stack.
func ofRole(stack string, role api.Role) filters.Args {
	selector := labelled(stackLabel(stack))
	if role != "" {
		selector.Add("label", labelRole+"="+string(role))
	}
	return selector
}

// containerName is for people who look with docker ps. Nothing is found by it.
func containerName(id api.Identity) string { return api.ResourceName(id.Stack, id.Name) }
