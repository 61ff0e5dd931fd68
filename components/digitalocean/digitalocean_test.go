package digitalocean

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/ignition"
	"devctl/internal/api"
)

var update = flag.Bool("update", false, "write golden files")

const (
	sha = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1eYvX8bXhbmLpkXVb3tnWpaVkE2xZkq2bJm7wqWJ7y admin@example.com"
	// signer stands for the secret that URLs of key files are signed with.
	signer = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

func options() Options {
	return Options{
		Region: "fra1", CIDR: "10.20.0.0/20", Bucket: "devctl-prod-example-com", Project: "devctl-prod", SSHKeys: []string{key},
		ImageURL: "https://example.com/fedora-coreos-44.20260802.3.1-digitalocean.x86_64.qcow2.gz",
		Daemon:   components.Daemon{Path: "/opt/devctl/devctld", SHA256: sha},
		Images:   []string{"localhost/devctl/etcd:0123456789ab", "localhost/devctl/redis:0123456789ab"},
	}
}

// registered is one resource as the program registered it.
type registered struct {
	Inputs       map[string]any `json:"inputs"`
	IgnoreChange []string       `json:"ignoreChanges,omitempty"`
	ReplaceOn    []string       `json:"replaceOnChanges,omitempty"`
	DeleteFirst  bool           `json:"deleteBeforeReplace,omitempty"`
	After        []string       `json:"after,omitempty"` // types and names of what it depends on
}

// recorder stands in for the engine and for DigitalOcean, and remembers what was registered.
type recorder struct {
	mu   sync.Mutex
	made map[string]registered
}

func (r *recorder) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := args.TypeToken[strings.LastIndex(args.TypeToken, ":")+1:] + " " + args.Name
	one := registered{Inputs: visible(args.Inputs)}
	if rpc := args.RegisterRPC; rpc != nil {
		one.IgnoreChange, one.ReplaceOn, one.DeleteFirst = rpc.IgnoreChanges, rpc.ReplaceOnChanges, rpc.DeleteBeforeReplace
		for _, urn := range rpc.Dependencies {
			parts := strings.Split(urn, "::")
			kind := parts[len(parts)-2]
			one.After = append(one.After, kind[strings.LastIndex(kind, ":")+1:]+" "+parts[len(parts)-1])
		}
		slices.Sort(one.After)
	}
	if _, twice := r.made[name]; twice {
		return "", nil, fmt.Errorf("%s is registered twice", name)
	}
	r.made[name] = one

	outputs := args.Inputs.Copy()
	set := func(property string, value any) {
		outputs[resource.PropertyKey(property)] = resource.NewPropertyValue(value)
	}
	switch number := len(args.Name) + int(args.Name[len(args.Name)-1]); strings.Fields(name)[0] {
	case "SpacesKey":
		set("accessKey", "AKIAIOSFODNN7EXAMPLE")
		set("secretKey", signer)
	case "CustomImage":
		set("imageId", 123456789)
	case "ReservedIp":
		set("ipAddress", "203.0.113.10")
		set("reservedIpUrn", "do:reservedip:203.0.113.10")
	case "SpacesBucket":
		set("bucketUrn", "do:space:"+args.Inputs["name"].StringValue())
	case "Droplet":
		set("ipv4Address", fmt.Sprintf("203.0.113.%d", number))
		set("ipv4AddressPrivate", fmt.Sprintf("10.20.0.%d", number))
		set("dropletUrn", fmt.Sprintf("do:droplet:%d", 1000+number))
		return fmt.Sprint(1000 + number), outputs, nil
	}
	return "id-of-" + args.Name, outputs, nil
}

func (r *recorder) Call(args pulumi.MockCallArgs) (resource.PropertyMap, error) {
	return nil, fmt.Errorf("%s is asked for: a preview without credentials could not answer", args.Token)
}

// visible are inputs as a preview may show them.
func visible(inputs resource.PropertyMap) map[string]any {
	var hide func(v resource.PropertyValue) resource.PropertyValue
	hide = func(v resource.PropertyValue) resource.PropertyValue {
		switch {
		case v.IsSecret() || v.IsOutput() && v.OutputValue().Secret:
			return resource.NewStringProperty("[secret]")
		case v.IsObject():
			object := resource.PropertyMap{}
			for k, inner := range v.ObjectValue() {
				object[k] = hide(inner)
			}
			return resource.NewObjectProperty(object)
		case v.IsArray():
			array := make([]resource.PropertyValue, len(v.ArrayValue()))
			for i, inner := range v.ArrayValue() {
				array[i] = hide(inner)
			}
			return resource.NewArrayProperty(array)
		}
		return v
	}
	return hide(resource.NewObjectProperty(inputs)).ObjectValue().Mappable()
}

var access = components.Access{
	AdminCIDRs: []string{"192.0.2.0/24"}, ClientCIDRs: []string{"198.51.100.0/24"}, EndpointPort: 7010, StatsPort: 7020, Shards: 3,
}

func slots(role api.Role, count int) []api.Identity {
	var nodes []api.Identity
	for i := range count {
		nodes = append(nodes, api.Identity{Stack: "prod", Name: fmt.Sprintf("%s-%d", role, i+1), Role: role, Zone: "fra1"})
	}
	return nodes
}

// roleConfig is the public config of a role's machines, as large as it is in earnest.
func roleConfig(cloud *Cloud, role api.Role) (ignition.Rendered, error) {
	boot := cloud.Boot()
	var mains []api.Peer
	for _, m := range slots(api.RoleMain, 3) {
		mains = append(mains, api.Peer{Name: m.Name})
	}
	return ignition.Role(ignition.RoleConfig{
		Stack: "prod", Role: role, Platform: boot.Platform, Mains: mains, EtcdImage: "localhost/devctl/etcd:0123456789ab", SSHKeys: []string{key},
		Images: boot.Images, Downloads: boot.Downloads, Registry: boot.Registry,
	})
}

// run registers a whole stack.
func run(t *testing.T, o Options) map[string]registered {
	t.Helper()
	r := &recorder{made: map[string]registered{}}
	err := pulumi.RunErr(func(ctx *pulumi.Context) error {
		cloud := New(o)
		network, err := cloud.Network(ctx, components.NetworkArgs{
			Stack: "prod", CIDR: "10.20.0.0/20", Zones: []components.Zone{{Name: "fra1", CIDR: "10.20.0.0/20"}}, Access: access,
		})
		if err != nil {
			return err
		}
		artifacts, err := cloud.Artifacts(ctx, components.ArtifactsArgs{Stack: "prod"})
		if err != nil {
			return err
		}
		endpoint, err := cloud.Endpoint(ctx, components.EndpointArgs{Stack: "prod"})
		if err != nil {
			return err
		}
		for _, role := range api.Roles() {
			config, err := roleConfig(cloud, role)
			if err != nil {
				return err
			}
			args := components.NodeGroupArgs{
				Stack: "prod", Role: role, Network: network, Artifacts: artifacts, Endpoint: endpoint, MachineType: "s-2vcpu-4gb",
				Config:  string(config.Ignition),
				Secrets: pulumi.String("key files").ToStringOutput(),
			}
			switch role {
			case api.RoleWorker:
				args.Elastic = &components.Elastic{Min: 2, Max: 5}
			default:
				args.Nodes = slots(role, 3)
			}
			group, err := cloud.NodeGroup(ctx, args)
			if err != nil {
				return err
			}
			if role == api.RoleMain && len(group.Addresses) != 3 {
				t.Errorf("%d addresses of main nodes, want 3", len(group.Addresses))
			}
		}
		return nil
	}, pulumi.WithMocks("devctl", "prod", r))
	if err != nil {
		t.Fatal(err)
	}
	return r.made
}

func TestResources(t *testing.T) {
	t.Parallel()
	made := run(t, options())
	if diff := cmp.Diff(made, run(t, options())); diff != "" {
		t.Errorf("the same stack registered twice differs:\n%s", diff)
	}
	// What is in a role's config is package ignition's to test, and its hash follows from it.
	for name, one := range made {
		if text, _ := one.Inputs["content"].(string); strings.HasSuffix(name, "-config") && strings.HasPrefix(text, `{"ignition"`) {
			one.Inputs["key"] = strings.ReplaceAll(one.Inputs["key"].(string), sum(text), "HASH")
			one.Inputs["content"] = "(the role's Ignition config)"
		}
	}
	var got bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(made)) {
		text, err := json.MarshalIndent(made[name], "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s %s\n\n", name, text)
	}
	file := filepath.Join("testdata", "resources.txt")
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("registered resources (-want +got); run with -update if that is what is meant:\n%s", diff)
	}
}

func TestNothingShowsSecrets(t *testing.T) {
	t.Parallel()
	for name, one := range run(t, options()) {
		for _, secret := range []string{signer, "Signature=", "key files"} {
			if text := fmt.Sprint(one.Inputs); strings.Contains(text, secret) {
				t.Errorf("%s shows a secret: %s", name, text)
			}
		}
		if acl := one.Inputs["acl"]; strings.HasSuffix(name, "-secrets") && acl != "private" {
			t.Errorf("%s is %v, want private", name, acl)
		}
	}
}

func TestSigned(t *testing.T) {
	t.Parallel()
	// The example in Amazon's description of "query string request authentication".
	const want = "NpgCjnDzrM+WFzoENXmpNDUsSn8="
	if got := signature(signer, 1175139620, "johnsmith", "photos/puppy.jpg"); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	cloud := New(options())
	got := cloud.signed("secrets/main.ign", "AKIAIOSFODNN7EXAMPLE", signer)
	if want := "https://devctl-prod-example-com.fra1.digitaloceanspaces.com/secrets/main.ign?" +
		"AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Expires=4102444800&Signature=%2BGlIp0jm7cY1aIE2YKK4XpbpI2k%3D"; got != want {
		t.Errorf("signed URL\n%s, want\n%s", got, want)
	}
}

// A machine that was made by somebody else than this run: its image is in the account.
func TestGivenImage(t *testing.T) {
	t.Parallel()
	o := options()
	o.ImageURL, o.ImageID = "", "987654321"
	made := run(t, o)
	if _, imported := made["CustomImage coreos"]; imported {
		t.Error("an image is imported although one is given")
	}
	if got := made["Droplet main-1"].Inputs["image"]; got != "987654321" {
		t.Errorf("main-1 boots image %v, want 987654321", got)
	}
}

func TestKeep(t *testing.T) {
	t.Parallel()
	o := options()
	o.Keep = func(node string) bool { return node != "main-2" }
	made := run(t, o)
	for _, node := range []string{"main-1", "main-3", "data-1"} {
		if diff := cmp.Diff([]string{"image", "size", "userData", "sshKeys"}, made["Droplet "+node].IgnoreChange); diff != "" {
			t.Errorf("%s is not kept (-want +got):\n%s", node, diff)
		}
	}
	if ignored := made["Droplet main-2"].IgnoreChange; len(ignored) > 0 {
		t.Errorf("main-2 ignores changes of %v, and is the one to replace", ignored)
	}
}

func TestSSHKeys(t *testing.T) {
	t.Parallel()
	for want, keys := range map[string][]string{
		"no SSH key: DigitalOcean creates no machine": nil,
		`read SSH key "no key"`:                       {key, "no key"},
	} {
		if _, err := fingerprints(keys); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// Nothing is open to the world, no role serves more than it has to, and DHCP works.
func TestFirewalls(t *testing.T) {
	t.Parallel()
	made := run(t, options())
	for _, role := range api.Roles() {
		firewall := made["Firewall "+string(role)]
		rules := firewall.Inputs["inboundRules"].([]any)
		if outbound := firewall.Inputs["outboundRules"].([]any); len(rules)+len(outbound) > 50 {
			t.Errorf("firewall %s has %d rules, DigitalOcean takes 50", role, len(rules)+len(outbound))
		}
		for _, r := range rules {
			rule := r.(map[string]any)
			for _, key := range []string{"sourceTags", "sourceAddresses"} {
				sources, _ := rule[key].([]any)
				for _, source := range sources {
					if prefix, err := netip.ParsePrefix(source.(string)); err == nil && prefix.Bits() < 24 {
						t.Errorf("firewall %s lets %s in at %v", role, prefix, rule["portRange"])
					}
				}
			}
			if rule["sourceTags"] == nil && rule["sourceAddresses"] == nil {
				t.Errorf("firewall %s: a rule without sources opens %v to nobody: %v", role, rule["portRange"], rule)
			}
		}
		var out []string
		for _, r := range firewall.Inputs["outboundRules"].([]any) {
			rule := r.(map[string]any)
			out = append(out, fmt.Sprintf("%v %v to %v", rule["protocol"], rule["portRange"], rule["destinationAddresses"]))
		}
		if diff := cmp.Diff([]string{
			"tcp 1-65535 to [10.20.0.0/20]", "tcp 80 to [169.254.169.254/32]", "tcp 443 to [0.0.0.0/0]", "udp 67 to [0.0.0.0/0]",
			"tcp 53 to [0.0.0.0/0]", "udp 53 to [0.0.0.0/0]", "udp 123 to [0.0.0.0/0]",
		}, out); diff != "" {
			t.Errorf("the ways out of firewall %s (-want +got):\n%s", role, diff)
		}
	}
}

// User data is small whatever the role's config is: it only says where that is.
func TestUserDataFits(t *testing.T) {
	t.Parallel()
	cloud := New(options())
	for _, role := range api.Roles() {
		config, err := roleConfig(cloud, role)
		if err != nil {
			t.Fatal(err)
		}
		id := api.Identity{Stack: "prod", Role: role, Zone: "fra1"}
		if role != api.RoleWorker {
			id.Name = string(role) + "-999"
		}
		data, err := cloud.pointer(string(config.Ignition), cloud.signed(folderSecrets+"/"+string(role)+".ign", "AKIAIOSFODNN7EXAMPLE", signer), id)
		if err != nil {
			t.Fatal(err)
		}
		const most = 4 << 10
		t.Logf("%s: user data of %d bytes for a config of %d, limit %d", role, len(data), len(config.Ignition), ignition.LimitDigitalOcean)
		if len(data) > most {
			t.Errorf("user data of %s nodes is %d bytes, want at most %d of the %d that DigitalOcean takes", role, len(data), most, ignition.LimitDigitalOcean)
		}
		if bytes.Contains([]byte(data), []byte("PRIVATE KEY")) {
			t.Errorf("a private key is in the user data of %s nodes", role)
		}
	}
}
