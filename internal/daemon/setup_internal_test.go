package daemon

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"devctl/internal/api"
	"devctl/internal/pki"
	"devctl/internal/version"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCompletePlatform(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		before string // "-": there is no file
		v2     bool
		want   string
	}{
		{"the platform wrote nothing", "-", false, "DEVCTL_INSTANCE_ID=cafe\nPODMAN_CGROUPS=disabled\n"},
		{"cgroup v2", "-", true, "DEVCTL_INSTANCE_ID=cafe\nPODMAN_CGROUPS=split\n"},
		{"instance ID of the platform", "DEVCTL_INSTANCE_ID=i-1\n", true, "DEVCTL_INSTANCE_ID=i-1\nPODMAN_CGROUPS=split\n"},
		{"last line without an end", "DEVCTL_INSTANCE_ID=i-1", true, "DEVCTL_INSTANCE_ID=i-1\nPODMAN_CGROUPS=split\n"},
		{"complete", "OTHER=1\nPODMAN_CGROUPS=x\nDEVCTL_INSTANCE_ID=i-1\n", true, "OTHER=1\nPODMAN_CGROUPS=x\nDEVCTL_INSTANCE_ID=i-1\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "run", "platform.env")
			if tc.before != "-" {
				write(t, file, tc.before)
			}
			id := write(t, filepath.Join(dir, "machine-id"), "cafe\n")
			cgroups := filepath.Join(dir, "cgroup")
			if tc.v2 {
				write(t, filepath.Join(cgroups, "cgroup.controllers"), "cpu memory\n")
			}
			for range 2 { // at the next boot too
				if err := completePlatform(file, nil, id, cgroups); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if string(got) != tc.want {
					t.Errorf("got %q, want %q", got, tc.want)
				}
			}
		})
	}
}

func TestIssueCertificates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	authority, dir := t.TempDir(), filepath.Join(t.TempDir(), "pki")
	id := api.Identity{Stack: "local", Name: "main-1", Role: api.RoleMain, Zone: "a", Address: "198.18.0.11"}
	var journal bytes.Buffer
	log := slog.New(slog.NewTextHandler(&journal, nil))
	issue := func(at time.Time) map[string]pki.Pair {
		t.Helper()
		journal.Reset()
		if err := issueCertificates(id, authority, dir, at, log); err != nil {
			t.Fatal(err)
		}
		pairs := map[string]pki.Pair{}
		for _, name := range []string{"etcd", "controller", "node"} {
			pair, err := pki.Load(dir, name)
			if err != nil {
				t.Fatal(err)
			}
			pairs[name] = pair
		}
		return pairs
	}
	newAuthority := func(stack string) pki.Pair {
		t.Helper()
		ca, err := pki.NewAuthority(stack, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := ca.Store(authority, "ca"); err != nil {
			t.Fatal(err)
		}
		return ca
	}

	if err := issueCertificates(id, authority, dir, now, log); err == nil || !strings.HasPrefix(err.Error(), `load certificate "ca": `) {
		t.Errorf("without an authority: %v", err)
	}
	ca := newAuthority("local")
	first := issue(now)
	for name, pair := range first {
		if err := pair.IssuedBy(ca.Cert); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "etcd.key"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode of a key is %v, want %v", info.Mode(), fs.FileMode(0o600))
	}

	same := func(step string, got map[string]pki.Pair, kept ...string) {
		t.Helper()
		for name, pair := range got {
			want := false
			for _, k := range kept {
				want = want || k == name
			}
			if (pair == first[name]) != want {
				t.Errorf("%s: %s was kept: %v, want %v\n%s", step, name, !want, want, journal.String())
			}
		}
	}
	same("at the next boot", issue(now.Add(time.Hour)), "etcd", "controller", "node")
	same("with more than a third left", issue(now.AddDate(0, 8, 0)), "etcd", "controller", "node")
	if err := os.Remove(filepath.Join(dir, "node.key")); err != nil {
		t.Fatal(err)
	}
	same("after a key was lost", issue(now), "etcd", "controller")
	first = issue(now)
	same("in the last third", issue(now.AddDate(0, 8, 15)))
	first = issue(now)
	unnamed, err := ca.Issue(pki.Profile{CommonName: "root", Organization: "devctl:controller", Addresses: []string{id.Address, "127.0.0.1", "localhost"}, Server: true, Client: true}, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := unnamed.Store(dir, "controller"); err != nil {
		t.Fatal(err)
	}
	same("with a controller's certificate from before it had a name", issue(now), "etcd", "node")
	if want := `certificate of \"root\" is not for controller.devctl`; !strings.Contains(journal.String(), want) {
		t.Errorf("it says %s, want %s", journal.String(), want)
	}
	first = issue(now)
	newAuthority("local")
	same("under another authority", issue(now))
}

func TestMainUsage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args         []string
		code         int
		stdout, tail string
	}{
		{nil, 2, "", usage},
		{[]string{"agent", "controller"}, 2, "", usage},
		{[]string{"ended"}, 2, "", usage},
		{[]string{"agnet"}, 2, "", "devctld: unknown command \"agnet\"\n\n" + usage},
		{[]string{"version"}, 0, version.Version + "\n", ""},
	} {
		var stdout, stderr bytes.Buffer
		if code := Main(tc.args, &stdout, &stderr); code != tc.code || stdout.String() != tc.stdout || stderr.String() != tc.tail {
			t.Errorf("%v: code %d, stdout %q, stderr %q", tc.args, code, stdout.String(), stderr.String())
		}
	}
}
