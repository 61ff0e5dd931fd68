package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlugin lets the real pulumi start the plugin, as it would for `pulumi preview`, and tell what it has.
func TestPlugin(t *testing.T) {
	t.Parallel()
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"devctld", "etcd", "etcdctl"} { // what images are made of stands beside it
		if err := os.Symlink(filepath.Join(bin, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	plugin := filepath.Join(dir, "pulumi-resource-devctl")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", plugin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "pulumi"), "package", "get-schema", plugin)
	cmd.Env = append(os.Environ(), "PULUMI_HOME="+t.TempDir(), "PULUMI_SKIP_UPDATE_CHECK=true", "PULUMI_BACKEND_URL=file://"+t.TempDir())
	cmd.Dir = dir // this repository's own Pulumi.yaml names a folder that `make plugin` fills
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var schema struct {
		Name      string
		Resources map[string]any
	}
	if err := json.Unmarshal(out, &schema); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"devctl:pki:Authority", "devctl:pki:Password", "devctl:aws:Bundle", "devctl:digitalocean:Bundle"} {
		if _, found := schema.Resources[token]; !found {
			t.Errorf("the plugin has no %s", token)
		}
	}
	if _, found := schema.Resources["devctl:local:Network"]; found || schema.Name != "devctl" {
		t.Errorf("plugin %q has what needs devctl itself", schema.Name)
	}
}
