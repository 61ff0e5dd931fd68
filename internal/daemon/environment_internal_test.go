package daemon

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

func TestParseEnv(t *testing.T) {
	t.Parallel()
	got := parseEnv("# written by Ignition\nA=1\n\n B=two words \nC=\"quoted\"\nD='x=y'\nE=\nno line\n#F=6\nG=\"\n")
	want := map[string]string{"A": "1", "B": "two words", "C": "quoted", "D": "x=y", "E": "", "G": `"`}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("values (-want +got):\n%s", d)
	}
}

func FuzzParseEnv(f *testing.F) {
	f.Add("A=1\nB=\"2\"\n")
	f.Add("=\n'='")
	f.Fuzz(func(t *testing.T, text string) {
		for key, value := range parseEnv(text) {
			if strings.ContainsAny(key+value, "\n") {
				t.Errorf("%q=%q spans lines", key, value)
			}
		}
	})
}

func TestParseNode(t *testing.T) {
	t.Parallel()
	complete := map[string]string{
		"DEVCTL_STACK": "local", "DEVCTL_NODE": "main-2", "DEVCTL_ROLE": "main", "DEVCTL_ZONE": "b",
		"DEVCTL_ADDRESS": "198.18.0.12", "DEVCTL_CONFIG": "0123456789ab", "DEVCTL_ETCD": "new",
		"DEVCTL_INSTANCE_ID": "f00", "DEVCTL_MAINS": "main-1=198.18.0.11,main-2=198.18.0.12",
	}
	want := node{
		Identity: api.Identity{Stack: "local", Name: "main-2", Role: api.RoleMain, Zone: "b", Address: "198.18.0.12"},
		ID:       "f00", Ignition: "0123456789ab", FoundEtcd: true,
		Mains: []api.Peer{{Name: "main-1", Address: "198.18.0.11"}, {Name: "main-2", Address: "198.18.0.12"}},
	}
	got, err := parseNode(func(key string) string { return complete[key] })
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("node (-want +got):\n%s", d)
	}

	const in = "the node's environment, from /etc/devctl/node.env and /etc/devctl/cluster.env: "
	for _, tc := range []struct {
		name   string
		change map[string]string
		want   string
	}{
		{"no role", map[string]string{"DEVCTL_ROLE": ""}, "DEVCTL_ROLE is missing"},
		{"strange role", map[string]string{"DEVCTL_ROLE": "boss"}, `DEVCTL_ROLE is "boss", want one of [main worker data]`},
		{"main that knows not how to start", map[string]string{"DEVCTL_ETCD": ""}, `DEVCTL_ETCD is "", want new or join`},
		{"half a main", map[string]string{"DEVCTL_MAINS": "main-1=198.18.0.11,main-2"}, `DEVCTL_MAINS has "main-2", want NAME=ADDRESS`},
		{"several", map[string]string{"DEVCTL_STACK": "", "DEVCTL_ADDRESS": ""}, "DEVCTL_STACK is missing\nDEVCTL_ADDRESS is missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			env := maps.Clone(complete)
			maps.Copy(env, tc.change)
			_, err := parseNode(func(key string) string { return env[key] })
			if err == nil || err.Error() != in+tc.want {
				t.Errorf("got error %v, want %s", err, in+tc.want)
			}
		})
	}
	t.Run("worker without an etcd of its own", func(t *testing.T) {
		t.Parallel()
		env := maps.Clone(complete)
		env["DEVCTL_ROLE"], env["DEVCTL_ETCD"] = "worker", ""
		if n, err := parseNode(func(key string) string { return env[key] }); err != nil || n.FoundEtcd {
			t.Errorf("got %+v, error %v", n, err)
		}
	})
}
