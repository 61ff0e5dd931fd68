package ignition

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"devctl/ignition/ignitiontest"
	"devctl/internal/api"
)

// sourceOfRole is where machines on DigitalOcean find their role's config.
func sourceOfRole(config []byte) Source {
	sum := sha256.Sum256(config)
	return Source{URL: "https://devctl-do-example-com.fra1.digitaloceanspaces.com/config/main.ign", SHA256: hex.EncodeToString(sum[:])}
}

func TestCloudPointer(t *testing.T) {
	t.Parallel()
	role, err := Role(cloudConfig(api.PlatformDigitalOcean, api.RoleMain))
	if err != nil {
		t.Fatal(err)
	}
	secrets := Source{URL: "https://devctl-do-example-com.fra1.digitaloceanspaces.com/secrets/0123/main.ign"}
	id := api.Identity{Stack: "digitalocean", Name: "main-1", Role: api.RoleMain, Zone: "fra1"}
	config, err := CloudPointer(sourceOfRole(role.Ignition), secrets, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := ignitiontest.Validate(t, config); err != nil {
		t.Error(err)
	}
	var parsed struct {
		Ignition struct {
			Config struct {
				Merge []struct {
					Source       string
					Verification struct{ Hash string }
				}
			}
		}
		Storage struct {
			Files []struct {
				Path     string
				Contents struct{ Source string }
			}
		}
	}
	if err := json.Unmarshal(config, &parsed); err != nil {
		t.Fatal(err)
	}
	merge := parsed.Ignition.Config.Merge
	if len(merge) != 2 || merge[0].Source != sourceOfRole(role.Ignition).URL || merge[1].Source != secrets.URL ||
		merge[0].Verification.Hash != "sha256-"+sourceOfRole(role.Ignition).SHA256 || merge[1].Verification.Hash != "" {
		t.Errorf("layers %+v, want the role's config with its hash, then the secrets without", merge)
	}
	if len(parsed.Storage.Files) != 1 || parsed.Storage.Files[0].Path != api.NodeEnvFile {
		t.Fatalf("files %+v, want only %s", parsed.Storage.Files, api.NodeEnvFile)
	}
	node, err := url.QueryUnescape(strings.TrimPrefix(parsed.Storage.Files[0].Contents.Source, "data:,"))
	want := "DEVCTL_STACK=digitalocean\nDEVCTL_ROLE=main\nDEVCTL_CONFIG=" + role.Hash + "\nDEVCTL_NODE=main-1\nDEVCTL_ZONE=fra1\n"
	if err != nil || node != want {
		t.Errorf("%s is %q (%v), want %q", api.NodeEnvFile, node, err, want)
	}
}

func TestCloudPointerRefuses(t *testing.T) {
	t.Parallel()
	role := sourceOfRole([]byte("config"))
	secrets := Source{URL: "https://example.com/secrets.ign"}
	main := api.Identity{Stack: "alpha", Name: "main-1", Role: api.RoleMain}
	for _, c := range []struct {
		name          string
		role, secrets Source
		id            api.Identity
		want          string
	}{
		{"a role that could be any", Source{URL: role.URL}, secrets, main, "has no SHA-256"},
		{"a hash that is none", Source{role.URL, "12"}, secrets, main, `"12" is no SHA-256 in lower-case hex`},
		{"secrets in the clear", role, Source{URL: "http://example.com/secrets.ign"}, main, "is neither s3:// nor https://"},
		{"a main without a name", role, secrets, api.Identity{Stack: "alpha", Role: api.RoleMain}, "DEVCTL_NODE is empty"},
	} {
		if _, err := CloudPointer(c.role, c.secrets, c.id); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}
