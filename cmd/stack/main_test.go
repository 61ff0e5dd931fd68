package main

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/internal/api"
)

// mocks stand in for the engine and for the clouds. They count resources by type.
type mocks struct {
	mu    sync.Mutex
	types map[string]int
}

func (m *mocks) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	m.mu.Lock()
	m.types[args.TypeToken]++
	m.mu.Unlock()
	text := resource.NewStringProperty
	pairs := resource.PropertyMap{}
	for _, role := range api.Roles() {
		pairs[resource.PropertyKey(role)] = text("PEM")
	}
	outputs := args.Inputs.Copy()
	for name, value := range map[resource.PropertyKey]resource.PropertyValue{
		"caCert": text("PEM"), "caKey": text("PEM"), "adminCert": text("PEM"), "adminKey": text("PEM"),
		"bootstrapCerts": resource.NewObjectProperty(pairs), "bootstrapKeys": resource.NewObjectProperty(pairs),
		"result": text("a password"), "publicIp": text("192.0.2.1"), "arn": text("arn"), "latestVersion": resource.NewNumberProperty(1),
		"ipAddress": text("192.0.2.2"), "accessKey": text("access"), "secretKey": text("secret"),
	} {
		outputs[name] = value
	}
	return "1", outputs, nil
}

func (*mocks) Call(pulumi.MockCallArgs) (resource.PropertyMap, error) {
	return resource.PropertyMap{"id": resource.NewStringProperty("ami-1"), "imageId": resource.NewStringProperty("ami-1")}, nil
}

// program runs the program for a stack of this repository, as Pulumi would from this folder.
func program(stack string) (map[string]int, error) {
	m := &mocks{types: map[string]int{}}
	err := pulumi.RunErr(func(ctx *pulumi.Context) error { return run(ctx, ".", "") }, pulumi.WithMocks("devctl", stack, m))
	return m.types, err
}

// Pulumi's Go language host cannot be built here, so this is as far as `pulumi preview` can be followed: all of the program.
func TestCloudStacks(t *testing.T) {
	t.Parallel()
	for stack, want := range map[string]map[string]int{
		"aws":          {"devctl:pki:Authority": 1, "devctl:pki:Password": 5, "aws:ec2/vpc:Vpc": 1},
		"digitalocean": {"devctl:pki:Authority": 1, "devctl:pki:Password": 6, "digitalocean:index/vpc:Vpc": 1},
	} {
		t.Run(stack, func(t *testing.T) {
			t.Parallel()
			types, err := program(stack)
			if err != nil {
				t.Fatal(err)
			}
			for token, n := range want {
				if types[token] != n {
					t.Errorf("%d of %s, want %d, among %q", types[token], token, n, slices.Sorted(maps.Keys(types)))
				}
			}
		})
	}
}

func TestOtherStacks(t *testing.T) {
	t.Parallel()
	for stack, want := range map[string]string{
		"local":   "its machines are made inside of devctl: use `devctl -s local preview`",
		"nowhere": `stack "nowhere" does not exist`,
	} {
		if types, err := program(stack); err == nil || !strings.Contains(err.Error(), want) || len(types) > 0 {
			t.Errorf("%s: %v, want %q in it; registered %v", stack, err, want, types)
		}
	}
}
