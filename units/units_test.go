package units

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// rendered returns every unit there is, by the path of its golden file.
func rendered() map[string]Unit {
	const folder = "s3://devctl-aws-example-com/images"
	all := map[string]Unit{}
	add := func(folder string, units ...Unit) {
		for _, u := range units {
			all[filepath.Join(folder, u.Name)] = u
		}
	}
	for _, role := range api.Roles() {
		local := NodeArgs{EtcdImage: "localhost/devctl/etcd:0123456789ab"}
		add(string(role), Node(role, local)...)
		cloud := local
		cloud.Platform = api.PlatformAWS
		cloud.Images = folder
		add(filepath.Join("cloud", string(role)), Node(role, cloud)...)
	}
	add("services",
		Redis(1, "localhost/devctl/redis:0123456789ab"),
		HAProxy("localhost/devctl/haproxy:0123456789ab"),
		Keepalived("localhost/devctl/keepalived:0123456789ab"),
		Endpoint(),
	)
	add(filepath.Join("cloud", "services"), Image("redis", "localhost/devctl/redis:0123456789ab", folder))
	return all
}

func TestGolden(t *testing.T) {
	t.Parallel()
	all := rendered()
	for name, u := range all {
		file := filepath.Join("testdata", name)
		if *update {
			write(t, file, u.Text)
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("read golden file: %v (go test ./units -update writes it)", err)
		}
		if diff := cmp.Diff(string(want), u.Text); diff != "" {
			t.Errorf("%s differs from its golden file (-want +got):\n%s", name, diff)
		}
	}
	err := filepath.WalkDir("testdata", func(file string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel("testdata", file)
		if _, ok := all[name]; err == nil && !entry.IsDir() && !ok {
			t.Errorf("%s is the golden file of no unit: remove it", file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRenderedTwiceIsTheSame(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(rendered(), rendered()); diff != "" {
		t.Errorf("two renderings differ:\n%s", diff)
	}
}

// TestVerify lets systemd itself read the units. It only warns of unknown keys, so any output is a failure.
func TestVerify(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Fatalf("%v: apt-get install systemd", err)
	}
	for name, u := range rendered() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out := verify(t, u); out != "" {
				t.Errorf("systemd-analyze verify %s:\n%s", name, out)
			}
		})
	}
}

// TestVerifyFindsMistakes makes sure that verify, in its made-up root, is no rubber stamp.
func TestVerifyFindsMistakes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown key":     {"KillMode=", "KillModus=", "Unknown key 'KillModus' in section [Service]"},
		"bad value":       {"Restart=always", "Restart=sometimes", "Failed to parse service restart specifier"},
		"missing program": {podman, "/usr/bin/podmann", "Command /usr/bin/podmann is not executable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := HAProxy("localhost/devctl/haproxy:0123456789ab")
			u.Text = strings.ReplaceAll(u.Text, c.old, c.new)
			if out := verify(t, u); !strings.Contains(out, c.want) {
				t.Errorf("verify says %q, want %q in it", out, c.want)
			}
		})
	}
}

// verify returns what systemd-analyze has to say about the unit on a machine where the programs of a node exist.
func verify(t *testing.T, u Unit) string {
	t.Helper()
	root := t.TempDir()
	for _, program := range []string{podman, api.Daemon} {
		file := filepath.Join(root, program)
		write(t, file, "#!/bin/sh\n")
		if err := os.Chmod(file, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The targets that every unit hangs on are systemd's own.
	const own = "/usr/lib/systemd/system"
	if err := os.CopyFS(filepath.Join(root, own), os.DirFS(own)); err != nil {
		t.Fatalf("copy systemd's units: %v", err)
	}
	write(t, filepath.Join(root, "etc/systemd/system", u.Name), u.Text)

	cmd := exec.Command("systemd-analyze", "verify", "--man=no", "--root="+root, u.Name)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil && out.Len() == 0 {
		t.Fatalf("systemd-analyze verify %s: %v", u.Name, err)
	}
	return strings.ReplaceAll(out.String(), root, "")
}

func TestEveryUnitIsDocumentedAndComesBack(t *testing.T) {
	t.Parallel()
	for name, u := range rendered() {
		keys := map[string]string{}
		options, err := unit.DeserializeOptions(strings.NewReader(u.Text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, o := range options {
			keys[o.Section+"."+o.Name] = o.Value
		}
		for _, key := range []string{"Unit.Description", "Unit.Documentation", "Service.Restart", "Service.SyslogIdentifier", "Install.WantedBy"} {
			if keys[key] == "" {
				t.Errorf("%s: no %s", name, key)
			}
		}
		if keys["Unit.StartLimitIntervalSec"] != "0" {
			t.Errorf("%s: systemd would give up starting it", name)
		}
		if !strings.Contains(u.Text, "\nExecStopPost=-+"+api.Daemon+" ended %n\n") || keys["Service.RestartSec"] != "100ms" {
			t.Errorf("%s: its restarts do not come later and later, from at once", name)
		}
		if strings.Contains(keys["Service.ExecStart"], "podman run") && !strings.Contains(keys["Service.ExecStart"], "--pull=never") {
			t.Errorf("%s: its start would depend on a registry", name)
		}
	}
}

func TestRedisShards(t *testing.T) {
	t.Parallel()
	u := Redis(12, "localhost/devctl/redis:x")
	if u.Name != "redis-12.service" {
		t.Errorf("Name = %q, want redis-12.service", u.Name)
	}
	for _, want := range []string{
		"--volume=/etc/devctl/services/redis-12.service:/etc/devctl/services/redis-12.service:ro ",
		"--volume=/var/lib/devctl/data/redis-12:/var/lib/devctl/data/redis-12 ",
		"localhost/devctl/redis:x /etc/devctl/services/redis-12.service/redis.conf ",
		"\nEnvironment=DEVCTL_SHARD=12\n",
		"\nExecStop=-" + api.Daemon + " yield\nExecStop=/usr/bin/podman stop ",
	} {
		if !strings.Contains(u.Text, want) {
			t.Errorf("no %q in:\n%s", want, u.Text)
		}
	}
}

// TestEtcdSeesOnlyItsKeys: a hole in etcd must not give away the authority or the controller's rights.
func TestEtcdSeesOnlyItsKeys(t *testing.T) {
	t.Parallel()
	text := NodeArgs{EtcdImage: "localhost/devctl/etcd:x"}.etcd().Text
	for _, secret := range []string{"ca.key", "controller.", "node.key", "=" + api.PKIDir + ":", "=" + api.NodePKIDir + ":"} {
		if strings.Contains(text, secret) {
			t.Errorf("etcd's unit names %q", secret)
		}
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
