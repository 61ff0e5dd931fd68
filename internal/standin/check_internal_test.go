package standin

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/asset"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// typeOf is what is known of a type.
func typeOf(t *testing.T, pkg, token string) *resourceType {
	t.Helper()
	s, err := schemaOf(pkg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.resourceType(token)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

type values = map[string]any

// inputs are a resource's inputs, made of Go's values and of property values.
func inputs(v values) property.Map { return valueOf(v).AsMap() }

func valueOf(v any) property.Value {
	switch v := v.(type) {
	case property.Value:
		return v
	case string:
		return property.New(v)
	case int:
		return property.New(float64(v))
	case float64:
		return property.New(v)
	case bool:
		return property.New(v)
	case []any:
		elements := make([]property.Value, len(v))
		for i := range v {
			elements[i] = valueOf(v[i])
		}
		return property.New(elements)
	case values:
		made := map[string]property.Value{}
		for name := range v {
			made[name] = valueOf(v[name])
		}
		return property.New(made)
	}
	return property.Value{}
}

var (
	unknown = property.New(property.Computed)
	secret  = property.New("hunter2").WithSecret(true)
)

const (
	typeGroup    = "aws:autoscaling/group:Group"
	typeTemplate = "aws:ec2/launchTemplate:LaunchTemplate"
	typeVpc      = "aws:ec2/vpc:Vpc"
	typeRule     = "aws:ec2/securityGroupRule:SecurityGroupRule"
	typeObject   = "aws:s3/bucketObjectv2:BucketObjectv2"
	typeDroplet  = "digitalocean:index/droplet:Droplet"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, pkg, token string
		inputs           values
		failures, doubts []string
	}{
		{name: "right", pkg: "aws", token: typeGroup, inputs: values{
			"minSize": 2, "maxSize": 3, "vpcZoneIdentifiers": []any{"subnet-1", unknown},
			"launchTemplate": values{"id": unknown, "version": "3"},
			"tags":           []any{values{"key": "Name", "value": "n", "propagateAtLaunch": true}},
		}},
		{name: "nothing is known yet", pkg: "aws", token: typeGroup, inputs: values{
			"minSize": unknown, "maxSize": unknown, "launchTemplate": unknown, "tags": unknown,
		}},
		{name: "all at once", pkg: "aws", token: typeGroup, inputs: values{
			"minSise": 2, "maxSize": "three", "availabilityZones": []any{"a"}, "vpcZoneIdentifiers": []any{7},
			"launchTemplate":      values{"id": "lt-1", "name": "n"},
			"launchConfiguration": "old",
			"healthCheckType":     "NLB",
			"suspendedProcesses":  []any{"AZRebalance", "Azrebalance"},
			"tags":                []any{values{"key": "Name", "value": true}},
			"instanceRefresh":     values{"strategy": "Rolling", "preferences": values{"checkpointDelay": 60}},
		}, failures: []string{
			"minSise: unknown; valid are ",
			"availabilityZones: conflicts with vpcZoneIdentifiers; give one of the two",
			`healthCheckType: "NLB" is not valid; valid are EC2, ELB`,
			"instanceRefresh.preferences.checkpointDelay: is a number; needed is a string",
			"launchConfiguration: 2 of launchConfiguration, launchTemplate, mixedInstancesPolicy are given; give exactly one",
			"launchTemplate.id: conflicts with name; give one of the two",
			"maxSize: is a string; needed is a whole number",
			"minSize: missing; needed is a whole number",
			`suspendedProcesses[1]: "Azrebalance" is not valid; valid are `,
			"tags[0].propagateAtLaunch: missing; needed is a bool",
			"tags[0].value: is a bool; needed is a string",
			"vpcZoneIdentifiers[0]: is a number; needed is a string",
		}},
		{name: "neither of a choice", pkg: "aws", token: typeGroup, inputs: values{"minSize": 1, "maxSize": 1}, failures: []string{
			"launchConfiguration: 0 of launchConfiguration, launchTemplate, mixedInstancesPolicy are given; give exactly one",
		}},
		{name: "what is not looked into", pkg: "aws", token: typeGroup, inputs: values{
			"minSize": 1, "maxSize": 1, "mixedInstancesPolicy": values{"whatever": []any{1}},
		}},
		{name: "null is nothing", pkg: "aws", token: typeGroup, inputs: values{
			"minSize": 1, "maxSize": nil, "launchTemplate": values{"id": "lt-1", "name": nil},
		}, failures: []string{"maxSize: missing; needed is a whole number"}},
		{name: "no fractions", pkg: "aws", token: typeGroup, inputs: values{
			"minSize": 1.5, "maxSize": 2, "launchTemplate": values{"id": "lt-1"},
		}, failures: []string{"minSize: is a number; needed is a whole number"}},
		{name: "tags with odd names", pkg: "aws", token: typeVpc, inputs: values{
			"cidrBlock": "10.0.0.0/16", "tags": values{`devctl:"stack"`: 7},
		}, failures: []string{`tags["devctl:\"stack\""]: is a number; needed is a string`}},
		{name: "secrets stay secret", pkg: "aws", token: typeRule, inputs: values{
			"type": secret, "fromPort": secret, "toPort": 1, "protocol": "tcp", "securityGroupId": "sg-1",
		}, failures: []string{
			"fromPort: is a string; needed is a whole number",
			"type: [secret] is not valid; valid are ingress, egress",
		}},
		{name: "a file", pkg: "aws", token: typeObject, inputs: values{
			"bucket": "b", "key": "k", "source": "daemon.bin",
		}, failures: []string{"source: is a string; needed is a file"}},
		{name: "needs company", pkg: "aws", token: typeVpc, inputs: values{"ipv6NetmaskLength": 56}, failures: []string{
			"ipv6NetmaskLength: is valid only together with ipv6IpamPoolId",
		}},
		{name: "newer than the schema", pkg: "digitalocean", token: typeDroplet, inputs: values{
			"image": "1", "size": "s-1vcpu-1gb", "region": "mars1",
		}, doubts: []string{`region: "mars1" is not among the values known here: nyc1, `}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := typeOf(t, tt.pkg, tt.token).check(inputs(tt.inputs))
			if diff := cmp.Diff(tt.failures, cut(got.failures, tt.failures)); diff != "" {
				t.Errorf("failures (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.doubts, cut(got.doubts, tt.doubts)); diff != "" {
				t.Errorf("doubts (-want +got):\n%s", diff)
			}
		})
	}
}

// cut shortens lines that only have to begin like those wanted, which then end with a space.
func cut(lines, wanted []string) []string {
	for i := range lines {
		if i < len(wanted) && wanted[i][len(wanted[i])-1] == ' ' && len(lines[i]) > len(wanted[i]) {
			lines[i] = lines[i][:len(wanted[i])]
		}
	}
	return lines
}

func TestCheckFile(t *testing.T) {
	t.Parallel()
	file, err := asset.FromText("content")
	if err != nil {
		t.Fatal(err)
	}
	in := inputs(values{"bucket": "b", "key": "k"}).Set("source", property.New(file))
	if got := typeOf(t, "aws", typeObject).check(in); len(got.failures) > 0 {
		t.Errorf("a file is refused: %q", got.failures)
	}
}

// TestCheckLimits is on a schema of its own: of the types that devctl uses none limits a list.
func TestCheckLimits(t *testing.T) {
	t.Parallel()
	r := &resourceType{Inputs: map[string]*field{"rules": {Type: kindList, Of: &field{Type: kindString}, Min: 1, Max: 2}}}
	for n, want := range [][]string{{"rules: has 0 elements; at least 1 are needed"}, nil, nil, {"rules: has 3 elements; at most 2 are possible"}} {
		rules := make([]property.Value, n)
		for i := range rules {
			rules[i] = property.New("rule")
		}
		got := r.check(property.NewMap(map[string]property.Value{"rules": property.New(rules)}))
		if diff := cmp.Diff(want, got.failures); diff != "" {
			t.Errorf("%d rules (-want +got):\n%s", n, diff)
		}
	}
}
