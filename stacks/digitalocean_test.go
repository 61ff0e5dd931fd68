package stacks

import (
	"os"
	"strings"
	"testing"
)

func digitalOceanExample(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("Pulumi.digitalocean.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The example is a spec that devctl takes, and its zones are what DigitalOcean has: none, but the region.
func TestDigitalOceanExample(t *testing.T) {
	t.Parallel()
	spec, err := Parse("Pulumi.digitalocean.yaml", []byte(digitalOceanExample(t)), "digitalocean")
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range spec.Identities() {
		if node.Zone != "fra1" || node.Address != "" {
			t.Errorf("%s is in zone %q with address %q, want zone fra1 and an address that DigitalOcean gives", node.Name, node.Zone, node.Address)
		}
	}
}

func TestDigitalOceanNetwork(t *testing.T) {
	t.Parallel()
	for cidr, want := range map[string]string{
		"10.20.0.0/20":   "",
		"172.31.0.0/16":  "",
		"192.168.7.0/24": "",
		"198.18.0.0/24":  "must be in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 on DigitalOcean",
		"172.32.0.0/16":  "must be in 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 on DigitalOcean",
		"10.245.4.0/24":  "must be outside of 10.245.0.0/16, which DigitalOcean keeps for itself",
		"10.246.0.0/16":  "must be outside of 10.246.0.0/24, which DigitalOcean keeps for itself",
	} {
		text := strings.Replace(digitalOceanExample(t), "10.20.0.0/20", cidr, 1)
		_, err := Parse("Pulumi.digitalocean.yaml", []byte(text), "digitalocean")
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", cidr, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: error %v, want one with %q", cidr, err, want)
		}
	}
}
