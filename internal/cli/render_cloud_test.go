package cli

import (
	"os"
	"strings"
	"testing"
)

// On clouds a node's own config says where its secrets are fetched, and never what they are.
func TestRenderOnClouds(t *testing.T) {
	t.Parallel()
	for stack, source := range map[string]string{"aws": "s3://secrets-of-main", "digitalocean": "https://secrets-of-main"} {
		w := newWorld(t)
		spec, err := os.ReadFile("../../stacks/Pulumi." + stack + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		w.write("stacks/Pulumi."+stack+".yaml", string(spec))
		machine := w.run("-s", stack, "render", "ignition", "--node", "main-1").want(t, 0)
		for _, want := range []string{source, "DEVCTL_NODE%3Dmain-1", "/usr/local/bin/devctld"} {
			if !strings.Contains(machine.out, want) {
				t.Errorf("%s: the config of main-1 lacks %q:\n%s", stack, want, machine.out)
			}
		}
		if strings.Contains(machine.out, "<secret") {
			t.Errorf("%s: the config of main-1 has secret files in it", stack)
		}
		units := w.run("-s", stack, "render", "units", "--node", "data-1").want(t, 0)
		for _, want := range []string{"==> data-1/devctl-image-redis.service <==", "ExecStart=/usr/local/bin/devctld agent"} {
			if !strings.Contains(units.out, want) {
				t.Errorf("%s: the units of data-1 lack %q", stack, want)
			}
		}
	}
}
