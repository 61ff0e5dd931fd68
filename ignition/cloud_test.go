package ignition

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/ignition/ignitiontest"
	"devctl/internal/api"
)

const exampleSum = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

var clouds = []api.Platform{api.PlatformAWS, api.PlatformDigitalOcean}

func cloudConfig(p api.Platform, role api.Role) RoleConfig {
	c := roleConfig(role)
	c.Stack, c.Platform = string(p), p
	for i := range c.Mains {
		c.Mains[i].Address = fmt.Sprintf("10.10.%d.11", i*16)
	}
	bucket := "s3://devctl-aws-example-com"
	if p == api.PlatformDigitalOcean {
		bucket = "https://devctl-do-example-com.fra1.digitaloceanspaces.com"
	}
	c.Images, c.Registry = bucket+"/images", bucket+"/registry/10-10-0-0-16"
	c.Downloads = []Download{
		{Path: api.Daemon, Mode: 0o755, Source: Source{bucket + "/artifacts/devctld-0123456789ab", exampleSum}},
	}
	return c
}

// cloudMachine renders what a machine gets as user data, before it is encoded.
func cloudMachine(t *testing.T, p api.Platform, role api.Role) (public Rendered, machine []byte) {
	t.Helper()
	public, err := Role(cloudConfig(p, role))
	if err != nil {
		t.Fatal(err)
	}
	id := api.Identity{Stack: string(p), Role: role}
	if role != api.RoleWorker {
		id.Name = string(role) + "-1"
		if p == api.PlatformAWS {
			id.Zone, id.Address = "eu-central-1a", "10.10.0.11"
		}
	}
	secrets := Source{URL: "s3://devctl-aws-example-com/secrets/" + string(role) + ".ign"}
	if p == api.PlatformDigitalOcean {
		secrets.URL = "https://devctl-do-example-com.fra1.digitaloceanspaces.com/secrets/0123/" + string(role) + ".ign"
	}
	machine, err = CloudMachine(public.Ignition, secrets, id)
	if err != nil {
		t.Fatal(err)
	}
	return public, machine
}

func TestCloudGolden(t *testing.T) {
	t.Parallel()
	for _, p := range clouds {
		for _, role := range api.Roles() {
			public, machine := cloudMachine(t, p, role)
			again, same := cloudMachine(t, p, role)
			if diff := cmp.Diff([]any{public, machine}, []any{again, same}); diff != "" {
				t.Errorf("%s %s: two renderings differ:\n%s", p, role, diff)
			}
			for name, got := range map[string][]byte{"butane.yaml": public.Butane, "machine.ign": machine} {
				golden(t, filepath.Join("testdata", string(p), string(role), name), got)
				if name == "butane.yaml" {
					continue
				}
				if err := ignitiontest.Validate(t, got); err != nil {
					t.Errorf("%s %s: %v", p, role, err)
				}
			}
			if strings.Contains(strings.ReplaceAll(string(machine), `"compression":""`, ""), "compression") {
				t.Errorf("%s %s: something is compressed: Ignition fails at boot when it comes from s3://", p, role)
			}
		}
	}
}

// TestCloudRoleIsTheLocalOne: on a cloud a role is what it is on a laptop, and what the cloud needs on top. Of images there is only
// etcd's: another image of a service is no other machine.
func TestCloudRoleIsTheLocalOne(t *testing.T) {
	t.Parallel()
	paths := func(c RoleConfig) (out []string) {
		r, err := Role(c)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parse(r.Ignition)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range parsed.Storage.Files {
			out = append(out, f.Path)
		}
		for _, u := range parsed.Systemd.Units {
			out = append(out, u.Name)
		}
		slices.Sort(out)
		return out
	}
	for _, p := range clouds {
		for _, role := range api.Roles() {
			want := []string{"/etc/zincati/config.d/90-devctl.toml", "/usr/local/bin/devctld", "docker.service", "docker.socket"}
			if role == api.RoleMain {
				want = slices.Insert(want, 2, "devctl-image-etcd.service")
			}
			local := paths(roleConfig(role))
			more := slices.DeleteFunc(paths(cloudConfig(p, role)), func(path string) bool { return slices.Contains(local, path) })
			if diff := cmp.Diff(want, more); diff != "" {
				t.Errorf("%s %s has besides what a local one has (-want +got):\n%s", p, role, diff)
			}
		}
	}
}

func TestCloudEnvironment(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		platform      api.Platform
		role          api.Role
		cluster, node string
	}{
		{api.PlatformAWS, api.RoleMain,
			"DEVCTL_MAINS=main-1=10.10.0.11,main-2=10.10.16.11,main-3=10.10.32.11\nDEVCTL_PLATFORM=aws\nDEVCTL_REGISTRY=s3://devctl-aws-example-com/registry/10-10-0-0-16\n",
			"DEVCTL_STACK=aws\nDEVCTL_ROLE=main\nDEVCTL_CONFIG=%s\nDEVCTL_NODE=main-1\nDEVCTL_ZONE=eu-central-1a\nDEVCTL_ADDRESS=10.10.0.11\n"},
		{api.PlatformAWS, api.RoleWorker,
			"DEVCTL_MAINS=main-1=10.10.0.11,main-2=10.10.16.11,main-3=10.10.32.11\nDEVCTL_PLATFORM=aws\nDEVCTL_REGISTRY=s3://devctl-aws-example-com/registry/10-10-0-0-16\n",
			"DEVCTL_STACK=aws\nDEVCTL_ROLE=worker\nDEVCTL_CONFIG=%s\n"},
		{api.PlatformDigitalOcean, api.RoleMain,
			"DEVCTL_MAIN_NAMES=main-1,main-2,main-3\nDEVCTL_PLATFORM=digitalocean\nDEVCTL_REGISTRY=https://devctl-do-example-com.fra1.digitaloceanspaces.com/registry/10-10-0-0-16\n",
			"DEVCTL_STACK=digitalocean\nDEVCTL_ROLE=main\nDEVCTL_CONFIG=%s\nDEVCTL_NODE=main-1\n"},
	} {
		public, machine := cloudMachine(t, tc.platform, tc.role)
		parsed, err := parse(machine)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.cluster, content(t, parsed, api.ClusterEnvFile)); diff != "" {
			t.Errorf("%s %s: cluster.env (-want +got):\n%s", tc.platform, tc.role, diff)
		}
		if diff := cmp.Diff(fmt.Sprintf(tc.node, public.Hash), content(t, parsed, api.NodeEnvFile)); diff != "" {
			t.Errorf("%s %s: node.env (-want +got):\n%s", tc.platform, tc.role, diff)
		}
		var merged []string
		for _, m := range parsed.Ignition.Config.Merge {
			merged = append(merged, *m.Source)
		}
		if len(merged) != 1 || !strings.HasSuffix(merged[0], "/"+string(tc.role)+".ign") {
			t.Errorf("%s %s merges %q, want the secrets of its role", tc.platform, tc.role, merged)
		}
	}
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	peers := []api.Peer{{Name: "main-2", Address: "10.20.0.4"}, {Name: "main-1", Address: "10.20.0.3"}}
	mains, err := MainsEnv(peers)
	if err != nil || mains != "DEVCTL_MAINS=main-1=10.20.0.3,main-2=10.20.0.4\n" {
		t.Errorf("MainsEnv = %q, %v", mains, err)
	}
	founders, err := FoundersEnv(peers, []string{"7", "3"})
	if err != nil || founders != mains+"DEVCTL_FOUNDERS=3,7\n" {
		t.Errorf("FoundersEnv = %q, %v", founders, err)
	}
	if _, err := FoundersEnv(peers, nil); err == nil || err.Error() != "DEVCTL_FOUNDERS is empty" {
		t.Errorf("FoundersEnv of nobody: error = %v", err)
	}
}

func TestCloudErrors(t *testing.T) {
	t.Parallel()
	role := func(change func(*RoleConfig)) func() error {
		return func() error {
			c := cloudConfig(api.PlatformAWS, api.RoleData)
			change(&c)
			_, err := Role(c)
			return err
		}
	}
	machine := func(secrets string, id api.Identity) func() error {
		return func() error {
			public, err := Role(cloudConfig(api.PlatformAWS, id.Role))
			if err != nil {
				return err
			}
			_, err = CloudMachine(public.Ignition, Source{URL: secrets}, id)
			return err
		}
	}
	for want, call := range map[string]func() error{
		"render role main: no folder with archives of images": func() error {
			c := cloudConfig(api.PlatformAWS, api.RoleMain)
			c.Images = ""
			_, err := Role(c)
			return err
		},
		`render role data: platform "azure" is none of local, aws, digitalocean`: role(func(c *RoleConfig) { c.Platform = "azure" }),
		"render role data: DEVCTL_REGISTRY is empty":                             role(func(c *RoleConfig) { c.Registry = "" }),
		"render role data: no download of /usr/local/bin/devctld":                role(func(c *RoleConfig) { c.Downloads = nil }),
		"render role data: download /usr/local/bin/devctld: no SHA-256":          role(func(c *RoleConfig) { c.Downloads[0].Source.SHA256 = "" }),
		`render role data: download /usr/local/bin/devctld: source "https://x/y": "ABC" is no SHA-256 in lower-case hex`: role(func(c *RoleConfig) {
			c.Downloads[0].Source = Source{"https://x/y", "ABC"}
		}),
		`render role data: download /usr/local/bin/devctld: source "http://x/y" is neither s3:// nor https://`: role(func(c *RoleConfig) {
			c.Downloads[0].Source.URL = "http://x/y"
		}),
		"render any node of role main: DEVCTL_NODE is empty":                             machine("s3://b/k", api.Identity{Stack: "aws", Role: api.RoleMain}),
		"render data-1 of role data: DEVCTL_STACK is empty":                              machine("s3://b/k", api.Identity{Name: "data-1", Role: api.RoleData}),
		`render data-1 of role data: source "" is neither s3:// nor https://`:            machine("", api.Identity{Stack: "aws", Name: "data-1", Role: api.RoleData}),
		`render any node of role worker: source "ftp://x" is neither s3:// nor https://`: machine("ftp://x", api.Identity{Stack: "aws", Role: api.RoleWorker}),
	} {
		if err := call(); err == nil || err.Error() != want {
			t.Errorf("error = %v\nwant    %s", err, want)
		}
	}
}

// TestSizes: every machine's config is far enough from its cloud's limit. Run with -v to see how far.
func TestSizes(t *testing.T) {
	t.Parallel()
	for _, p := range clouds {
		for _, role := range api.Roles() {
			_, machine := cloudMachine(t, p, role)
			got, err := UserData(machine, Limit(p), Source{})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s %s: %s, %d of %d bytes, room for %d", p, role, got.Form, len(got.Data), Limit(p), got.Room)
			if got.Form != Plain {
				t.Errorf("%s %s: user data is %s: a person who looks at the machine cannot read it", p, role, got.Form)
			}
			if got.Room < room(Limit(p)) || got.Room != Limit(p)-len(got.Data) {
				t.Errorf("%s %s: room for %d bytes", p, role, got.Room)
			}
		}
	}
}
