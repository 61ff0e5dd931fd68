package ignition

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	v33 "github.com/coreos/ignition/v2/config/v3_3"
	"github.com/coreos/ignition/v2/config/v3_3/types"
	"github.com/google/go-cmp/cmp"
	"github.com/vincent-petithory/dataurl"

	"devctl/ignition/ignitiontest"
	"devctl/internal/api"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func roleConfig(role api.Role) RoleConfig {
	c := RoleConfig{
		Stack: "local",
		Role:  role,
		Mains: []api.Peer{
			{Name: "main-1", Address: "198.18.0.11"},
			{Name: "main-2", Address: "198.18.0.12"},
			{Name: "main-3", Address: "198.18.0.13"},
		},
		SSHKeys: []string{
			"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample1 ada@example.com",
			"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample2 grace@example.com",
		},
	}
	if role == api.RoleMain {
		c.EtcdImage = "localhost/devctl/etcd:0123456789ab"
	}
	return c
}

func secretFiles(role api.Role) SecretFiles {
	pem := func(kind, content string) string {
		return fmt.Sprintf("-----BEGIN %s-----\n%s\n-----END %[1]s-----\n", kind, content)
	}
	s := SecretFiles{
		CACert:        pem("CERTIFICATE", "Y2EgY2VydA=="),
		BootstrapCert: pem("CERTIFICATE", "Ym9vdHN0cmFwIGNlcnQ="),
		BootstrapKey:  pem("PRIVATE KEY", "Ym9vdHN0cmFwIGtleQ=="),
	}
	if role == api.RoleMain {
		s.CAKey = pem("PRIVATE KEY", "Y2Ega2V5")
	}
	return s
}

func identity(role api.Role) (id api.Identity, etcd string) {
	id = api.Identity{Stack: "local", Name: string(role) + "-1", Role: role, Zone: "a", Address: "198.18.0.11"}
	if role == api.RoleMain {
		etcd = EtcdNew
	}
	return id, etcd
}

// rendered returns every kind of config of a role.
func rendered(t *testing.T, role api.Role) (public, secret Rendered, machine []byte) {
	t.Helper()
	public, err := Role(roleConfig(role))
	if err != nil {
		t.Fatal(err)
	}
	secret, err = Secrets(role, secretFiles(role))
	if err != nil {
		t.Fatal(err)
	}
	id, etcd := identity(role)
	machine, err = Machine(public.Ignition, secret.Ignition, id, etcd)
	if err != nil {
		t.Fatal(err)
	}
	return public, secret, machine
}

// TestGrowingMains: more main nodes change no worker and no data node, as long as every quorum has one that these know.
func TestGrowingMains(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		mains int
		want  string
	}{{1, "1"}, {3, "1 2 3"}, {5, "1 2 3"}, {7, "1 2 3 4"}, {9, "1 2 3 4 5"}} {
		var all []string
		c := roleConfig(api.RoleData)
		c.Mains = nil
		for i := range tc.mains {
			all = append(all, fmt.Sprint(i+1))
			c.Mains = append(c.Mains, api.Peer{Name: fmt.Sprintf("main-%d", i+1), Address: fmt.Sprintf("198.18.0.%d", 11+i)})
		}
		for role, want := range map[api.Role]string{api.RoleMain: strings.Join(all, " "), api.RoleWorker: tc.want, api.RoleData: tc.want} {
			c.Role, c.EtcdImage = role, roleConfig(role).EtcdImage
			rendered, err := Role(c)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, found := range regexp.MustCompile(`main-(\d)=`).FindAllStringSubmatch(string(rendered.Butane), -1) {
				got = append(got, found[1])
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s of a stack of %d knows main nodes %v, want %s", role, tc.mains, got, want)
			}
		}
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, role := range api.Roles() {
		public, secret, machine := rendered(t, role)
		for name, got := range map[string][]byte{
			"butane.yaml":         public.Butane,
			"config.ign":          public.Ignition,
			"secrets-butane.yaml": secret.Butane,
			"secrets.ign":         secret.Ignition,
			"machine.ign":         machine,
		} {
			golden(t, filepath.Join("testdata", string(role), name), got)
		}
	}
}

// golden compares with a file of what is right, or rewrites that.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("read golden file: %v (go test ./ignition -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs from its golden file (-want +got):\n%s", file, diff)
	}
}

func TestSameBytes(t *testing.T) {
	t.Parallel()
	for _, role := range api.Roles() {
		public, secret, machine := rendered(t, role)
		public2, secret2, machine2 := rendered(t, role)
		if diff := cmp.Diff([]any{public, secret, machine}, []any{public2, secret2, machine2}); diff != "" {
			t.Errorf("%s: two renderings differ:\n%s", role, diff)
		}
		shuffled := roleConfig(role)
		slices.Reverse(shuffled.Mains)
		slices.Reverse(shuffled.SSHKeys)
		shuffled.SSHKeys = append(shuffled.SSHKeys, shuffled.SSHKeys[0])
		got, err := Role(shuffled)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(public, got); diff != "" {
			t.Errorf("%s: the order of the arguments changes the config:\n%s", role, diff)
		}
	}
}

// TestIgnitionAccepts asks Ignition's own validator.
func TestIgnitionAccepts(t *testing.T) {
	t.Parallel()
	for _, role := range api.Roles() {
		public, secret, machine := rendered(t, role)
		for name, config := range map[string][]byte{"role": public.Ignition, "secrets": secret.Ignition, "machine": machine} {
			t.Run(string(role)+"/"+name, func(t *testing.T) {
				t.Parallel()
				if err := ignitiontest.Validate(t, config); err != nil {
					t.Error(err)
				}
			})
		}
	}
	t.Run("finds mistakes", func(t *testing.T) {
		t.Parallel()
		err := ignitiontest.Validate(t, []byte(`{"ignition":{"version":"3.3.0"},"storage":{"files":[{"path":"relative"}]}}`))
		if err == nil || !strings.Contains(err.Error(), "path not absolute") {
			t.Errorf("error = %v, want a relative path refused", err)
		}
	})
}

// TestMachineMerges puts a machine's layers together with Ignition's own merge: what must come out is what the
// machine has to have.
func TestMachineMerges(t *testing.T) {
	t.Parallel()
	for role, want := range map[api.Role][]string{
		api.RoleMain: {
			"0644 /etc/devctl/cluster.env", "0644 /etc/devctl/node.env",
			"0600 /etc/devctl/pki/bootstrap.crt", "0600 /etc/devctl/pki/bootstrap.key",
			"0644 /etc/devctl/pki/ca.crt", "0600 /etc/devctl/pki/ca.key",
			"0644 /etc/systemd/journald.conf.d/50-devctl.conf",
			"unit devctl-agent.service", "unit devctl-controller.service", "unit devctl-setup.service", "unit etcd.service",
		},
		api.RoleWorker: {
			"0644 /etc/devctl/cluster.env", "0644 /etc/devctl/node.env",
			"0600 /etc/devctl/pki/bootstrap.crt", "0600 /etc/devctl/pki/bootstrap.key", "0644 /etc/devctl/pki/ca.crt",
			"0644 /etc/systemd/journald.conf.d/50-devctl.conf",
			"unit devctl-agent.service", "unit devctl-setup.service",
		},
		api.RoleData: {
			"0644 /etc/devctl/cluster.env", "0644 /etc/devctl/node.env",
			"0600 /etc/devctl/pki/bootstrap.crt", "0600 /etc/devctl/pki/bootstrap.key", "0644 /etc/devctl/pki/ca.crt",
			"0644 /etc/sysctl.d/50-devctl.conf", "0644 /etc/systemd/journald.conf.d/50-devctl.conf",
			"unit devctl-agent.service", "unit devctl-setup.service",
		},
	} {
		public, _, machine := rendered(t, role)
		merged := merge(t, machine)
		var got []string
		for _, f := range merged.Storage.Files {
			got = append(got, fmt.Sprintf("%04o %s", *f.Mode, f.Path))
		}
		slices.SortFunc(got, func(a, b string) int { return strings.Compare(a[5:], b[5:]) })
		var names []string
		for _, u := range merged.Systemd.Units {
			if u.Enabled == nil || !*u.Enabled {
				t.Errorf("%s: unit %s is not enabled", role, u.Name)
			}
			names = append(names, "unit "+u.Name)
		}
		slices.Sort(names)
		if diff := cmp.Diff(want, append(got, names...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", role, diff)
		}

		node := "DEVCTL_STACK=local\nDEVCTL_NODE=" + string(role) + "-1\nDEVCTL_ROLE=" + string(role) +
			"\nDEVCTL_ZONE=a\nDEVCTL_ADDRESS=198.18.0.11\nDEVCTL_CONFIG=" + public.Hash + "\n"
		if role == api.RoleMain {
			node += "DEVCTL_ETCD=new\n"
		}
		if diff := cmp.Diff(node, content(t, merged, api.NodeEnvFile)); diff != "" {
			t.Errorf("%s: node.env (-want +got):\n%s", role, diff)
		}
		const cluster = "DEVCTL_MAINS=main-1=198.18.0.11,main-2=198.18.0.12,main-3=198.18.0.13\n"
		if diff := cmp.Diff(cluster, content(t, merged, api.ClusterEnvFile)); diff != "" {
			t.Errorf("%s: cluster.env (-want +got):\n%s", role, diff)
		}
	}
}

// merge does what Ignition does at boot: the machine's config over the layers that it names, in their order.
func merge(t *testing.T, machine []byte) types.Config {
	t.Helper()
	parse := func(raw []byte) types.Config {
		config, report, err := v33.Parse(raw)
		if err != nil || len(report.Entries) > 0 {
			t.Fatalf("parse Ignition: %v\n%s", err, report.String())
		}
		return config
	}
	top := parse(machine)
	var merged types.Config
	for _, layer := range top.Ignition.Config.Merge {
		merged = v33.Merge(merged, parse(decode(t, *layer.Source)))
	}
	return v33.Merge(merged, top)
}

func decode(t *testing.T, source string) []byte {
	t.Helper()
	url, err := dataurl.DecodeString(source)
	if err != nil {
		t.Fatalf("decode %.40q: %v", source, err)
	}
	return url.Data
}

func content(t *testing.T, config types.Config, path string) string {
	t.Helper()
	for _, f := range config.Storage.Files {
		if f.Path == path {
			return string(decode(t, *f.Contents.Source))
		}
	}
	t.Fatalf("no file %s", path)
	return ""
}

func TestMachineWithoutSecretsIsForShowing(t *testing.T) {
	t.Parallel()
	public, _, _ := rendered(t, api.RoleMain)
	id, etcd := identity(api.RoleMain)
	machine, err := Machine(public.Ignition, nil, id, etcd)
	if err != nil {
		t.Fatal(err)
	}
	if err := ignitiontest.Validate(t, machine); err != nil {
		t.Error(err)
	}
	for _, f := range merge(t, machine).Storage.Files {
		if strings.HasPrefix(f.Path, api.PKIDir) {
			t.Errorf("it has %s", f.Path)
		}
	}
}

// TestRoleIsPublic: nothing of the secret files is in what previews, plans and user data show, in any encoding
// that Butane chooses from.
func TestRoleIsPublic(t *testing.T) {
	t.Parallel()
	for _, role := range api.Roles() {
		public, secret, _ := rendered(t, role)
		s := secretFiles(role)
		for _, pem := range []string{s.CACert, s.BootstrapCert, s.BootstrapKey, s.CAKey} {
			if pem == "" {
				continue
			}
			body := strings.Split(pem, "\n")[1]
			if bytes.Contains(public.Butane, []byte(body)) || bytes.Contains(public.Ignition, []byte(body)) {
				t.Errorf("%s: the role's config has %q in it", role, body)
			}
			if !bytes.Contains(secret.Butane, []byte(body)) {
				t.Errorf("%s: the secret config has no %q in it: this test looks for the wrong thing", role, body)
			}
		}
		for _, mark := range []string{"BEGIN", "PRIVATE"} {
			if bytes.Contains(public.Ignition, []byte(mark)) {
				t.Errorf("%s: the role's config has %s in it", role, mark)
			}
		}
	}
}

// TestConfigHashFollowsTheRole: what a machine reports as DEVCTL_CONFIG changes with the role's config and with
// nothing else.
func TestConfigHashFollowsTheRole(t *testing.T) {
	t.Parallel()
	public, _, _ := rendered(t, api.RoleMain)
	if public.Hash != Hash(public.Ignition) || len(public.Hash) != 12 {
		t.Errorf("Hash = %q, want the 12 hex digits of the Ignition config", public.Hash)
	}
	changed := roleConfig(api.RoleMain)
	changed.EtcdImage = "localhost/devctl/etcd:ba9876543210"
	other, err := Role(changed)
	if err != nil {
		t.Fatal(err)
	}
	if other.Hash == public.Hash {
		t.Error("another etcd image has the same hash")
	}
	bigger := roleConfig(api.RoleMain)
	bigger.Machine = "type large\n"
	if other, err = Role(bigger); err != nil || other.Hash == public.Hash {
		t.Errorf("hash on a machine of another type = %q (%v)", other.Hash, err)
	}
	renamed := roleConfig(api.RoleMain)
	renamed.Stack = "staging"
	if other, err = Role(renamed); err != nil || other.Hash != public.Hash {
		t.Errorf("hash of another stack's role = %q (%v), want %q: the name of the stack is the machine's, not the role's", other.Hash, err, public.Hash)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	role := func(role api.Role, change func(*RoleConfig)) func() error {
		return func() error {
			c := roleConfig(role)
			change(&c)
			_, err := Role(c)
			return err
		}
	}
	machine := func(change func(*api.Identity, *string)) func() error {
		return func() error {
			id, etcd := identity(api.RoleMain)
			change(&id, &etcd)
			_, err := Machine([]byte("{}"), nil, id, etcd)
			return err
		}
	}
	for want, call := range map[string]func() error{
		`render role "router": must be one of [main worker data]`: role("router", func(*RoleConfig) {}),
		"render role main: no etcd image":                         role(api.RoleMain, func(c *RoleConfig) { c.EtcdImage = "" }),
		"render role data: no main node":                          role(api.RoleData, func(c *RoleConfig) { c.Mains = nil }),
		`render role data: DEVCTL_MAINS="main-1=198.18.0.11\nX=1": only letters, digits and .,:=_/- can be in it`: role(api.RoleData, func(c *RoleConfig) {
			c.Mains = []api.Peer{{Name: "main-1", Address: "198.18.0.11\nX=1"}}
		}),
		"render secrets of role data: the authority's key is for mains, and only for them": func() error {
			_, err := Secrets(api.RoleData, secretFiles(api.RoleMain))
			return err
		},
		"render secrets of role main: the authority's key is for mains, and only for them": func() error {
			_, err := Secrets(api.RoleMain, secretFiles(api.RoleData))
			return err
		},
		"render secrets of role data: /etc/devctl/pki/bootstrap.key is empty": func() error {
			s := secretFiles(api.RoleData)
			s.BootstrapKey = ""
			_, err := Secrets(api.RoleData, s)
			return err
		},
		`render node main-1: etcd mode "" does not go with role main`:      machine(func(_ *api.Identity, etcd *string) { *etcd = "" }),
		`render node main-1: etcd mode "maybe" does not go with role main`: machine(func(_ *api.Identity, etcd *string) { *etcd = "maybe" }),
		`render node main-1: etcd mode "new" does not go with role data`:   machine(func(id *api.Identity, _ *string) { id.Role = api.RoleData }),
		"render node main-1: DEVCTL_ZONE is empty":                         machine(func(id *api.Identity, _ *string) { id.Zone = "" }),
		`render node main-1: DEVCTL_STACK="a b": only letters, digits and .,:=_/- can be in it`: machine(func(id *api.Identity, _ *string) {
			id.Stack = "a b"
		}),
	} {
		if err := call(); err == nil || err.Error() != want {
			t.Errorf("error = %v\nwant    %s", err, want)
		}
	}
}

// TestRenderIsStrict: Butane only warns of a unit that cannot be enabled; such a machine must not come to be.
func TestRenderIsStrict(t *testing.T) {
	t.Parallel()
	_, err := render("test", config{Systemd: &systemd{Units: []unitFile{{Name: "a.service", Enabled: true, Contents: "[Service]\nExecStart=/bin/true\n"}}}})
	if err == nil || !strings.Contains(err.Error(), `unit "a.service" is enabled, but has no install section`) {
		t.Errorf("error = %v, want Butane's warning as an error", err)
	}
}
