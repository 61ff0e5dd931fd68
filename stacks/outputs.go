package stacks

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/internal/api"
)

// Outputs are what a stack exports: all that the deploy stage and people need to reach it.
type Outputs struct {
	Controllers []string          `json:"controllers"` // host:port of the controllers' API
	CACert      string            `json:"caCert"`
	AdminCert   string            `json:"adminCert"`
	AdminKey    string            `json:"adminKey"` // secret
	Secrets     map[string]string `json:"secrets"`  // by the api.Secret… names; all secret
	Redis       RedisOutput       `json:"redis"`
	StatsURL    string            `json:"statsUrl"`
	// EndpointID is what balancers name to the cloud when they take the endpoint's address: see components.Endpoint.
	EndpointID string `json:"endpointID,omitempty"`
	// Nodes are where main and data nodes are in the network, by name, where the spec cannot say so.
	Nodes map[string]string `json:"nodes,omitempty"`
	// Configs are the hashes of the Ignition configs that machines are made from, by role: what a machine reports that
	// was made from the newest one. Empty on a stack that an older devctl brought up.
	Configs map[api.Role]string `json:"configs,omitempty"`
	// Images are what the cloud answered when it was asked for the machines' image, by the question.
	Images map[string]string `json:"images,omitempty"`
}

// RedisOutput is what a Redis client connects with. The password is Outputs.Secrets[api.SecretRedisApp].
type RedisOutput struct {
	Address  string `json:"address"`
	Port     int    `json:"port"`
	Username string `json:"username"`
}

// exported is what the outputs are taken from.
type exported struct {
	authority *components.Authority
	secrets   pulumi.StringMap
	artifacts components.Artifacts
	endpoint  components.Endpoint
	groups    map[api.Role]components.NodeGroup
	configs   pulumi.StringMap // by role
}

// export names every output once; its keys are the JSON names of Outputs. made, unless nil, gets the outputs as soon as
// they are known: long before the machines are there.
func export(ctx *pulumi.Context, s *Spec, from exported, made func(*Outputs)) {
	controllers := pulumi.StringArray{}
	for _, address := range from.groups[api.RoleMain].Addresses {
		controllers = append(controllers, pulumi.Sprintf("%s:%d", address, api.ControllerPort))
	}
	nodes := pulumi.StringMap{}
	for role, group := range from.groups {
		for i, address := range group.Inside {
			nodes[s.Group(role)[i].Name] = address
		}
	}
	authority, endpoint := from.authority, from.endpoint
	outputs := pulumi.Map{
		"controllers": controllers,
		"caCert":      authority.CACert,
		"adminCert":   authority.AdminCert,
		"adminKey":    pulumi.ToSecret(authority.AdminKey),
		"secrets":     pulumi.ToSecret(from.secrets),
		"redis": pulumi.Map{
			"address":  endpoint.Address,
			"port":     pulumi.Int(s.Endpoint.Port),
			"username": pulumi.String(api.RedisUserApp),
		},
		"statsUrl": pulumi.Sprintf("http://%s:%d/stats", endpoint.Address, s.Endpoint.StatsPort),
		"configs":  from.configs,
	}
	if s.cloud() {
		outputs["endpointID"] = endpoint.ID
	}
	if len(nodes) > 0 {
		outputs["nodes"] = nodes
	}
	if len(from.artifacts.Lookups) > 0 {
		outputs["images"] = from.artifacts.Lookups
	}
	for name, value := range outputs {
		ctx.Export(name, value)
	}
	if made == nil {
		return
	}
	outputs.ToMapOutput().ApplyT(func(values map[string]any) (string, error) {
		o, err := DecodeOutputs(values)
		if err == nil {
			made(o)
		}
		return "", err
	})
}

// DecodeOutputs reads the outputs of a finished update, by export name. A missing or mistyped one is an error: the
// stack's last update did not finish, or another version of devctl made it.
func DecodeOutputs(values map[string]any) (*Outputs, error) {
	// Through JSON, so that the names stand in one place: the tags above.
	data, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("encode stack outputs: %w", err)
	}
	var o Outputs
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, fmt.Errorf("decode stack outputs: %w", err)
	}
	complete := len(o.Controllers) > 0 && o.CACert != "" && o.AdminCert != "" && o.AdminKey != "" &&
		o.Redis.Address != "" && o.Redis.Port != 0 && o.StatsURL != "" &&
		!slices.ContainsFunc(secretNames(), func(name string) bool { return o.Secrets[name] == "" })
	if !complete {
		return nil, fmt.Errorf("the stack's outputs are incomplete: its last update did not finish; run `devctl up`")
	}
	return &o, nil
}
