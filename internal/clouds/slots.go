package clouds

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"

	"devctl/components"
	"devctl/internal/api"
	"devctl/internal/aws"
	"devctl/stacks"
)

// Slots are the machines of a stack's main and data nodes on a cloud that keeps one in each slot: it puts another one there when
// one ends, and never ends one by itself. Only AWS is one.
type Slots struct {
	client aws.Client
}

// OpenSlots finds the credentials that the AWS CLI would use.
func OpenSlots(ctx context.Context, spec *stacks.Spec) (*Slots, error) {
	if spec.Provider != stacks.ProviderAWS {
		return nil, fmt.Errorf("provider %s keeps no machines in slots", spec.Provider)
	}
	client, err := awsClient(ctx, spec.AWS.Region)
	if err != nil {
		return nil, err
	}
	return &Slots{client}, nil
}

// awsClient has the credentials that the AWS CLI would use.
func awsClient(ctx context.Context, region string) (aws.Client, error) {
	found, err := config.LoadDefaultConfig(ctx, config.WithRegion(region), config.WithLogger(logging.Nop{})) // errors say it all
	if err != nil {
		return aws.Client{}, fmt.Errorf("find AWS credentials: %w", err)
	}
	client := aws.Client{Credentials: found.Credentials, Region: region}
	if found.BaseEndpoint != nil { // AWS_ENDPOINT_URL
		client.Endpoint = func(string) string { return strings.TrimRight(*found.BaseEndpoint, "/") }
	}
	return client, nil
}

// Machine finds the machine in a node's slot: its ID and what the cloud calls its state. The ID is empty while there is none. A
// group that is not the node's by its tags is an error, and so is one with several machines.
func (s *Slots) Machine(ctx context.Context, node api.Identity) (id, state string, err error) {
	name := api.ResourceName(node.Stack, node.Name)
	group, err := s.client.Group(ctx, name)
	if err != nil {
		return "", "", err
	}
	for key, want := range components.NewTags(node.Stack, node.Name).OfNode(node) {
		if group.Tags[key] != want {
			return "", "", fmt.Errorf("autoscaling group %s is not that of %s: its tag %s is %q, not %q", name, node.Name, key, group.Tags[key], want)
		}
	}
	switch len(group.Instances) {
	case 0:
		return "", "", nil
	case 1:
		return group.Instances[0].ID, group.Instances[0].State, nil
	}
	var all []string
	for _, i := range group.Instances {
		all = append(all, i.ID+" ("+i.State+")")
	}
	return "", "", fmt.Errorf("autoscaling group %s has more than one instance: %s", name, strings.Join(all, ", "))
}

// Replace ends a machine, so that the cloud puts another one into its slot.
func (s *Slots) Replace(ctx context.Context, machine string) error {
	return s.client.Terminate(ctx, machine, false)
}
