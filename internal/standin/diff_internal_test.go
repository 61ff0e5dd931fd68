package standin

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	const typeSubnet = "aws:ec2/subnet:Subnet"
	rule := func(port int) values {
		return values{"fromPort": port, "toPort": port, "protocol": "tcp", "cidrBlocks": []any{"10.0.0.0/8"}}
	}
	const typeSecurityGroup = "aws:ec2/securityGroup:SecurityGroup"
	tests := []struct {
		name, token      string
		state, old, want values
		diff             map[string]p.DiffKind
	}{
		{name: "nothing", token: typeTemplate, old: values{"imageId": "ami-1", "tags": values{"a": "b"}}, want: values{"imageId": "ami-1", "tags": values{"a": "b"}}},
		{name: "secret or not", token: typeTemplate, old: values{"userData": secret}, want: values{"userData": "hunter2"}},
		{name: "in place", token: typeTemplate,
			old:  values{"imageId": "ami-1", "description": "d", "blockDeviceMappings": []any{values{"ebs": values{"volumeSize": 10}}}},
			want: values{"imageId": "ami-2", "instanceType": "t3.small", "blockDeviceMappings": []any{values{"ebs": values{"volumeSize": 20}}}},
			diff: map[string]p.DiffKind{"imageId": p.Update, "instanceType": p.Add, "description": p.Delete, "blockDeviceMappings[0].ebs.volumeSize": p.Update}},
		{name: "replaces", token: typeSubnet, old: values{"vpcId": "vpc-1", "cidrBlock": "10.0.0.0/24"}, want: values{"vpcId": unknown, "cidrBlock": "10.0.1.0/24"},
			diff: map[string]p.DiffKind{"vpcId": p.UpdateReplace, "cidrBlock": p.UpdateReplace}},
		{name: "names with dots", token: typeTemplate, old: values{"tags": values{"devctl:stack": "a"}}, want: values{"tags": values{"devctl:stack": "b", "x.y": "z", "plain": "p"}},
			diff: map[string]p.DiffKind{`tags["devctl:stack"]`: p.Update, `tags["x.y"]`: p.Add, "tags.plain": p.Add}},
		{name: "not known yet", token: typeTemplate, old: values{"imageId": "ami-1", "vpcSecurityGroupIds": []any{"sg-1", "sg-2"}},
			want: values{"imageId": unknown, "vpcSecurityGroupIds": []any{unknown, "sg-2"}},
			diff: map[string]p.DiffKind{"imageId": p.Update, "vpcSecurityGroupIds[0]": p.Update}},
		{name: "defaults are no change", token: typeGroup, old: values{"healthCheckGracePeriod": 300, "protectFromScaleIn": false, "terminationPolicies": []any{}}, want: values{}},
		{name: "nor are they when given", token: typeGroup, old: values{}, want: values{"healthCheckGracePeriod": 300, "protectFromScaleIn": false, "context": ""}},
		{name: "other than the default", token: typeGroup, old: values{"healthCheckGracePeriod": 0}, want: values{"healthCheckGracePeriod": 10, "protectFromScaleIn": true},
			diff: map[string]p.DiffKind{"healthCheckGracePeriod": p.Update, "protectFromScaleIn": p.Add}},
		{name: "what is left to the cloud stays", token: typeGroup, old: values{"desiredCapacity": 3}, want: values{}},
		{name: "what the cloud decided", token: typeGroup, state: values{"desiredCapacity": 3, "defaultCooldown": 300}, old: values{}, want: values{"desiredCapacity": 3, "defaultCooldown": 10},
			diff: map[string]p.DiffKind{"defaultCooldown": p.Update}},
		{name: "sets have no order", token: typeSecurityGroup, old: values{"ingress": []any{rule(22), rule(80), rule(443)}}, want: values{"ingress": []any{rule(443), rule(22), rule(80)}}},
		{name: "elements of sets", token: typeSecurityGroup, old: values{"ingress": []any{rule(22), rule(80)}}, want: values{"ingress": []any{rule(80), rule(23), rule(443)}},
			diff: map[string]p.DiffKind{"ingress[0]": p.Delete, "ingress[1]": p.Add, "ingress[2]": p.Add}},
		{name: "a set's element in its place", token: typeSecurityGroup, old: values{"ingress": []any{rule(22), rule(80)}}, want: values{"ingress": []any{rule(22), values{"fromPort": 80, "toPort": 81, "protocol": "tcp", "cidrBlocks": []any{"10.0.0.0/8"}}}},
			diff: map[string]p.DiffKind{"ingress[1].toPort": p.Update}},
		{name: "elements that replace", token: typeRule, old: values{"cidrBlocks": []any{"10.0.0.0/8"}}, want: values{"cidrBlocks": []any{"10.0.0.0/8", "192.0.2.0/24"}},
			diff: map[string]p.DiffKind{"cidrBlocks[1]": p.AddReplace}},
		{name: "objects with what replaces", token: typeGroup,
			old:  values{"initialLifecycleHooks": []any{values{"name": "a", "lifecycleTransition": "x", "heartbeatTimeout": 30}}},
			want: values{"initialLifecycleHooks": []any{values{"name": "a", "lifecycleTransition": "x", "heartbeatTimeout": 60}}},
			diff: map[string]p.DiffKind{"initialLifecycleHooks[0].heartbeatTimeout": p.UpdateReplace}},
		{name: "what the real provider filled in", token: typeGroup,
			old: values{"__defaults": []any{"name", "waitForCapacityTimeout"}, "name": "group-1234567", "waitForCapacityTimeout": "5m", "minSize": 1,
				"launchTemplate": values{"__defaults": []any{"version"}, "id": "lt-1", "version": "$Default"}},
			want: values{"minSize": 1, "launchTemplate": values{"id": "lt-1"}}},
		{name: "in sets too", token: typeSecurityGroup,
			old:  values{"ingress": []any{values{"__defaults": []any{"self"}, "self": false, "fromPort": 1, "toPort": 1, "protocol": "tcp"}, rule(22)}},
			want: values{"ingress": []any{rule(22), values{"fromPort": 1, "toPort": 1, "protocol": "tcp"}}}},
		{name: "what is not looked into", token: typeGroup, old: values{"mixedInstancesPolicy": values{"a": values{"b": 1}}}, want: values{"mixedInstancesPolicy": values{"a": values{"b": 2}}},
			diff: map[string]p.DiffKind{"mixedInstancesPolicy.a": p.Update}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := typeOf(t, "aws", tt.token).diff(inputs(tt.state), inputs(tt.old), inputs(tt.want))
			kinds := map[string]p.DiffKind{}
			for path, difference := range got {
				kinds[path] = difference.Kind
			}
			if tt.diff == nil {
				tt.diff = map[string]p.DiffKind{}
			}
			if diff := cmp.Diff(tt.diff, kinds); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPlannedOutputs: what stays known decides whether a change ripples through a plan.
func TestPlannedOutputs(t *testing.T) {
	t.Parallel()
	template := typeOf(t, "aws", typeTemplate)
	get := func(m property.Map, name string) property.Value { return m.Get(name) }

	before := inputs(values{"name": "n", "imageId": "ami-1", "userData": secret, "tags": values{"a": "b"}})
	planned := template.planned(before)
	for _, name := range []string{"arn", "latestVersion", "defaultVersion"} {
		if !get(planned, name).IsComputed() {
			t.Errorf("before the creation %s is known", name)
		}
	}
	if got := get(planned, "name"); got.IsComputed() || got.AsString() != "n" {
		t.Error("an input is not known")
	}
	if !get(planned, "userData").Secret() {
		t.Error("a secret is none in the outputs")
	}

	made := template.made("lt-1", 1, before)
	if got := get(made, "latestVersion").AsNumber(); got != 1 {
		t.Errorf("the first version is %v", got)
	}
	if got := get(made, "arn").AsString(); got != "arn:aws:ec2:region:000000000000:launch-template/lt-1" {
		t.Errorf("got arn %s", got)
	}

	tagged := template.updated(made, before, before.Set("tags", property.New(map[string]property.Value{"a": property.New("c")})))
	if property.New(tagged).HasComputed() {
		t.Errorf("tags alone change %v", tagged)
	}
	changed := template.updated(made, before, before.Set("imageId", property.New("ami-2")))
	for name, v := range changed.All {
		if v.IsComputed() != (name == "latestVersion") {
			t.Errorf("after a change %s is known: %v", name, !v.IsComputed())
		}
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	in := inputs(values{"bucket": "b", "key": "a/b"})
	for pattern, want := range map[string]string{
		"{bucket}/{key}": "b/a/b",
		"{id}.suffix":    "the-id.suffix",
		"vpc-{hex}":      "vpc-" + expand("{hex}", "s", "", in),
		"{name}":         "auto-" + expand("{hex}", "s", "", in)[:7],
	} {
		if got := expand(pattern, "s", "the-id", in); got != want {
			t.Errorf("%s became %s, want %s", pattern, got, want)
		}
	}
	for _, pattern := range []string{"{hex}", "{number}", "{uuid}", "{address}", "{private}"} {
		if one, other := expand(pattern, "a", "", in), expand(pattern, "b", "", in); one == other || one != expand(pattern, "a", "", in) {
			t.Errorf("%s became %s and %s", pattern, one, other)
		}
	}
}
