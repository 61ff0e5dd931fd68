package aws

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"go.yaml.in/yaml/v3"

	"devctl/components"
	"devctl/internal/api"
	"devctl/stacks"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// registered is a resource as the engine gets it.
type registered struct {
	Inputs    map[string]any
	Secret    []string // inputs that are secrets
	DependsOn []string // "type name" of what it waits for, sorted
	With      []string // the same of what it is replaced together with
	Provider  string
	Ignore    []string
}

// recorder stands in for the engine and for AWS.
type recorder struct {
	mu        sync.Mutex
	resources map[string]registered // by "type name", the type without its module
	invokes   []string
}

// short is "type name" of a URN or of a registration.
func short(token, name string) string { return token[strings.LastIndex(token, ":")+1:] + " " + name }

func shortURN(urn string) string {
	u := resource.URN(urn)
	return short(string(u.Type()), u.Name())
}

func (r *recorder) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := short(args.TypeToken, args.Name)
	if _, found := r.resources[key]; found {
		return "", nil, fmt.Errorf("%s is registered twice", key)
	}
	made := registered{Inputs: map[string]any{}, Ignore: args.RegisterRPC.GetIgnoreChanges()}
	for _, urn := range args.RegisterRPC.GetDependencies() {
		made.DependsOn = append(made.DependsOn, shortURN(urn))
	}
	for _, urn := range args.RegisterRPC.GetReplaceWith() {
		made.With = append(made.With, shortURN(urn))
	}
	slices.Sort(made.DependsOn)
	made.DependsOn = slices.Compact(made.DependsOn)
	if provider := args.RegisterRPC.GetProvider(); provider != "" {
		made.Provider = shortURN(provider[:strings.LastIndex(provider, "::")])
	}
	for name, value := range args.Inputs {
		if value.ContainsSecrets() {
			made.Secret = append(made.Secret, string(name))
			continue
		}
		made.Inputs[string(name)] = plain(value)
	}
	r.resources[key] = made
	id := "id of " + args.Name
	outputs := args.Inputs.Copy()
	text := resource.NewStringProperty
	for name, value := range map[resource.PropertyKey]resource.PropertyValue{
		"publicIp":      text("public address of " + args.Name),
		"allocationId":  text("eipalloc-" + args.Name),
		"arn":           text("arn of " + key),
		"latestVersion": resource.NewNumberProperty(7),
		"prefixListId":  text("pl-" + args.Name),
		"caCert":        text("PEM of ca.crt"), "caKey": text("PEM of ca.key"),
		"adminCert": text("PEM of admin.crt"), "adminKey": text("PEM of admin.key"),
		"bootstrapCerts": byRole("PEM of bootstrap.crt of "), "bootstrapKeys": byRole("PEM of bootstrap.key of "),
		"result": text("a password"),
	} {
		outputs[name] = value
	}
	return id, outputs, nil
}

func byRole(prefix string) resource.PropertyValue {
	values := resource.PropertyMap{}
	for _, role := range api.Roles() {
		values[resource.PropertyKey(role)] = resource.NewStringProperty(prefix + string(role))
	}
	return resource.NewObjectProperty(values)
}

// plain is a value as people write it. Assets are their paths.
func plain(v resource.PropertyValue) any {
	return v.MapRepl(nil, func(v resource.PropertyValue) (any, bool) {
		if v.IsAsset() {
			return "file " + v.AssetValue().Path, true
		}
		return nil, false
	})
}

func (r *recorder) Call(args pulumi.MockCallArgs) (resource.PropertyMap, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text, err := json.Marshal(args.Args.Mappable())
	r.invokes = append(r.invokes, args.Token+" "+string(text))
	return resource.PropertyMap{"id": resource.NewStringProperty("ami-1"), "imageId": resource.NewStringProperty("ami-1")}, err
}

// daemonFile is a file for the asset, whose content the SDK looks at.
func daemonFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "devctld")
	if err := os.WriteFile(path, []byte("daemon"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

const daemonSum = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func loadSpec(t *testing.T, change func(*stacks.Spec)) *stacks.Spec {
	t.Helper()
	const file = "../../stacks/Pulumi.aws.yaml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := stacks.Parse(file, text, "aws")
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(spec)
	}
	return spec
}

func optionsOf(spec *stacks.Spec, daemon string) Options {
	return Options{
		Region: spec.AWS.Region, CIDR: spec.Network.CIDR, Bucket: spec.AWS.Bucket, Release: spec.AWS.CoreOS.Release, HostedZone: spec.AWS.HostedZone,
		RootGiB: int(spec.AWS.Volumes.Root / stacks.GiB), DataGiB: int(spec.AWS.Volumes.Data / stacks.GiB),
		Daemon: components.Daemon{Path: daemon, SHA256: daemonSum},
		Images: []string{"localhost/devctl/etcd:1", "localhost/devctl/haproxy:1", "localhost/devctl/keepalived:1", "localhost/devctl/redis:1"},
	}
}

// register runs the whole program, and returns what it has registered.
func register(t *testing.T, spec *stacks.Spec) (*recorder, *stacks.Outputs) {
	t.Helper()
	r := &recorder{resources: map[string]registered{}}
	var outputs *stacks.Outputs
	program := stacks.Program(spec, New(optionsOf(spec, daemonFile(t))), "localhost/devctl/etcd:1", func(o *stacks.Outputs) { outputs = o })
	if err := pulumi.RunErr(program, pulumi.WithMocks("devctl", spec.Stack, r)); err != nil {
		t.Fatal(err)
	}
	return r, outputs
}

// ofType are the names of the resources of a type, sorted.
func (r *recorder) ofType(kind string) []string {
	var names []string
	for _, key := range slices.Sorted(maps.Keys(r.resources)) {
		if name, found := strings.CutPrefix(key, kind+" "); found {
			names = append(names, name)
		}
	}
	return names
}

// TestInputs compares every input of every resource with the golden file, which is for people to read. User data is
// decoded, and of that only the size is there: package ignition has its text.
func TestInputs(t *testing.T) {
	t.Parallel()
	r, _ := register(t, loadSpec(t, func(s *stacks.Spec) { s.AWS.HostedZone = "Z0123456789" }))
	type entry struct {
		Inputs map[string]any `yaml:"inputs,omitempty"`
		Secret []string       `yaml:"secret,omitempty"`
		After  []string       `yaml:"after,omitempty"`
		Ignore []string       `yaml:"ignore,omitempty"`
		With   []string       `yaml:"with,omitempty"`
	}
	all := map[string]entry{}
	for key, made := range r.resources {
		e := entry{Inputs: maps.Clone(made.Inputs), Secret: made.Secret, Ignore: made.Ignore, With: made.With}
		if _, found := e.Inputs["userData"]; found {
			e.Inputs["userData"] = "user data of " + key
		}
		for name, value := range e.Inputs {
			text, _ := value.(string)
			if strings.HasPrefix(text, `{"Version"`) {
				e.Inputs[name] = readable(t, text)
			}
			if strings.HasPrefix(text, "file ") {
				e.Inputs[name] = "file devctld"
			}
		}
		if !strings.HasPrefix(key, "Group ") {
			e.After = made.DependsOn // TestMachinesWait has those of groups: they are many
		}
		all[key] = e
	}
	var got bytes.Buffer
	encoder := yaml.NewEncoder(&got)
	encoder.SetIndent(2)
	if err := encoder.Encode(all); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "inputs.yaml")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got, -update accepts it):\n%s", golden, diff)
	}
}

// readable is a JSON document as YAML shows it best.
func readable(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestRegisteredTwiceIsIdentical(t *testing.T) {
	t.Parallel()
	daemon := daemonFile(t)
	run := func() map[string]registered {
		spec := loadSpec(t, nil)
		r := &recorder{resources: map[string]registered{}}
		program := stacks.Program(spec, New(optionsOf(spec, daemon)), "localhost/devctl/etcd:1", nil)
		if err := pulumi.RunErr(program, pulumi.WithMocks("devctl", spec.Stack, r)); err != nil {
			t.Fatal(err)
		}
		return r.resources
	}
	if diff := cmp.Diff(run(), run()); diff != "" {
		t.Errorf("two runs of the same program differ (-first +second):\n%s", diff)
	}
}

// TestOneProvider: each provider is a process of some hundred megabytes.
func TestOneProvider(t *testing.T) {
	t.Parallel()
	r, _ := register(t, loadSpec(t, nil))
	if got := r.ofType("aws"); !slices.Equal(got, []string{"aws"}) {
		t.Errorf("providers: %v, want one called aws", got)
	}
	for key, made := range r.resources {
		ours := slices.Contains([]string{"Authority", "Password", "Bundle", "aws"}, key[:strings.Index(key, " ")])
		if want := map[bool]string{true: "", false: "aws aws"}[ours]; made.Provider != want {
			t.Errorf("%s has provider %q, want %q", key, made.Provider, want)
		}
	}
}

func TestOutputs(t *testing.T) {
	t.Parallel()
	_, got := register(t, loadSpec(t, nil))
	want := &stacks.Outputs{
		Controllers: []string{"public address of main-1:9443", "public address of main-2:9443", "public address of main-3:9443"},
		CACert:      "PEM of ca.crt", AdminCert: "PEM of admin.crt", AdminKey: "PEM of admin.key",
		Secrets: map[string]string{}, EndpointID: "eipalloc-endpoint", StatsURL: "http://public address of endpoint:7020/stats",
		Redis:  stacks.RedisOutput{Address: "public address of endpoint", Port: 7010, Username: "app"},
		Images: map[string]string{"fedora-coreos-44.20260802.3.1-x86_64": "ami-1"},
	}
	for _, name := range []string{api.SecretRedisAdmin, api.SecretRedisReplication, api.SecretRedisCheck, api.SecretRedisApp, api.SecretStats} {
		want.Secrets[name] = "a password"
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(stacks.Outputs{}, "Configs")); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
}

// TestAsksForOneImage: nothing else that offline cannot answer.
func TestAsksForOneImage(t *testing.T) {
	t.Parallel()
	r, _ := register(t, loadSpec(t, nil))
	want := []string{`aws:ec2/getAmi:getAmi {"filters":[{"name":"name","values":["fedora-coreos-44.20260802.3.1-x86_64"]}],` +
		`"includeDeprecated":true,"owners":["125523088429"]}`}
	if diff := cmp.Diff(want, r.invokes); diff != "" {
		t.Errorf("questions (-want +got):\n%s", diff)
	}
}

// TestTags: whatever can have tags has the stack's, and the name that it has in AWS if it has one.
func TestTags(t *testing.T) {
	t.Parallel()
	r, _ := register(t, loadSpec(t, nil))
	tagged := 0
	for key, made := range r.resources {
		owned, found := made.Inputs["tags"].(map[string]any)
		if !found {
			continue
		}
		tagged++
		if owned["devctl:stack"] != "aws" || !strings.HasPrefix(fmt.Sprint(owned["Name"]), "devctl-aws") {
			t.Errorf("%s has tags %v", key, owned)
		}
		if name, found := made.Inputs["name"]; found && name != owned["Name"] {
			t.Errorf("%s is called %v, and its tag says %v", key, name, owned["Name"])
		}
	}
	for _, kind := range []string{"Vpc", "Subnet", "SecurityGroup", "NetworkInterface", "Eip", "LaunchTemplate", "Role", "InstanceProfile", "BucketV2"} {
		for _, name := range r.ofType(kind) {
			if r.resources[kind+" "+name].Inputs["tags"] == nil {
				t.Errorf("%s %s has no tags", kind, name)
			}
		}
	}
	if tagged < 30 {
		t.Errorf("only %d resources have tags", tagged)
	}
}

// TestMachinesWait: Ignition takes a refusal for the end, so everything that it touches is there before the first machine.
func TestMachinesWait(t *testing.T) {
	t.Parallel()
	r, _ := register(t, loadSpec(t, nil))
	for _, name := range r.ofType("Group") {
		role := name[:max(strings.Index(name, "-"), 0)]
		if role == "" {
			role = name
		}
		want := []string{"BucketObjectv2 daemon", "Bundle etcd", "Bundle redis", "BucketObjectv2 " + role + "-secrets", "RolePolicy " + role,
			"Route internet", "VpcEndpoint s3", "Password " + api.SecretRedisAdmin}
		for _, kind := range []string{"SecurityGroupRule", "SubnetCidrReservation", "RouteTableAssociation"} {
			for _, n := range r.ofType(kind) {
				want = append(want, kind+" "+n)
			}
		}
		if role == "main" {
			want = append(want, "Eip "+name)
		}
		after := r.resources["Group "+name].DependsOn
		for _, w := range want {
			if !slices.Contains(after, w) {
				t.Errorf("machines of %s do not wait for %s", name, w)
			}
		}
		for _, w := range after {
			if other, found := strings.CutPrefix(w, "Eip "); found && other != name {
				t.Errorf("machines of %s wait for the address of %s", name, other)
			}
		}
	}
	for _, name := range []string{"daemon", "main-secrets", "worker-secrets", "data-secrets"} {
		if after := r.resources["BucketObjectv2 "+name].DependsOn; !slices.Contains(after, "BucketPublicAccessBlock artifacts") ||
			!slices.Contains(after, "BucketServerSideEncryptionConfigurationV2 artifacts") {
			t.Errorf("%s may be in the bucket before that is private and encrypted: it waits for %v", name, after)
		}
	}
}

// TestNoSecretInTheOpen: keys are in inputs that are secrets, of objects that only one role may read.
func TestNoSecretInTheOpen(t *testing.T) {
	t.Parallel()
	r, _ := register(t, loadSpec(t, nil))
	var secret []string
	for key, made := range r.resources {
		text, err := json.Marshal(made.Inputs)
		if err != nil {
			t.Fatal(err)
		}
		if data, _ := made.Inputs["userData"].(string); data != "" {
			text = decode(t, data)
		}
		for _, word := range []string{"PEM of", "a password", "data:,PEM"} {
			if strings.Contains(string(text), word) {
				t.Errorf("%s has %q in an input that is no secret", key, word)
			}
		}
		for _, name := range made.Secret {
			secret = append(secret, key+" "+name)
		}
	}
	slices.Sort(secret)
	want := []string{"BucketObjectv2 data-secrets content", "BucketObjectv2 main-secrets content", "BucketObjectv2 worker-secrets content"}
	if diff := cmp.Diff(want, secret); diff != "" {
		t.Errorf("secret inputs (-want +got):\n%s", diff)
	}
}

// TestAnotherImageIsNoOtherMachine: of services only the archive in the bucket is another, of etcd what main nodes boot with as well.
func TestAnotherImageIsNoOtherMachine(t *testing.T) {
	t.Parallel()
	spec, daemon := loadSpec(t, nil), daemonFile(t)
	run := func(change string) map[string]registered {
		o := optionsOf(spec, daemon)
		etcd := "localhost/devctl/etcd:1"
		for i, ref := range o.Images {
			if strings.Contains(ref, "/"+change+":") {
				o.Images[i] = strings.TrimSuffix(ref, "1") + "2"
			}
		}
		if change == "etcd" {
			etcd = "localhost/devctl/etcd:2"
		}
		r := &recorder{resources: map[string]registered{}}
		if err := pulumi.RunErr(stacks.Program(spec, New(o), etcd, nil), pulumi.WithMocks("devctl", spec.Stack, r)); err != nil {
			t.Fatal(err)
		}
		return r.resources
	}
	before := run("")
	for service, want := range map[string][]string{
		"redis": {"Bundle redis"}, "haproxy": {"Bundle haproxy"}, "keepalived": {"Bundle keepalived"},
		"etcd": {"Bundle etcd", "LaunchTemplate main-1", "LaunchTemplate main-2", "LaunchTemplate main-3"},
	} {
		var got []string
		for key, made := range run(service) {
			if !cmp.Equal(before[key], made) {
				got = append(got, key)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("another image of %s changes (-want +got):\n%s", service, diff)
		}
	}
}

// TestGrowingChangesNothingElse: a data node more is a slot more, and nothing else.
func TestGrowingChangesNothingElse(t *testing.T) {
	t.Parallel()
	before, _ := register(t, loadSpec(t, nil))
	after, _ := register(t, loadSpec(t, func(s *stacks.Spec) { s.Nodes.Data.Count = 4 }))
	var added []string
	for key, made := range after.resources {
		old, found := before.resources[key]
		if !found {
			added = append(added, key)
			continue
		}
		delete(old.Inputs, "source") // a file of this test's own
		delete(made.Inputs, "source")
		if diff := cmp.Diff(old, made); diff != "" {
			t.Errorf("%s (-three +four):\n%s", key, diff)
		}
	}
	slices.Sort(added)
	if diff := cmp.Diff([]string{"Group data-4", "LaunchTemplate data-4", "NetworkInterface data-4"}, added); diff != "" {
		t.Errorf("new resources (-want +got):\n%s", diff)
	}
}
