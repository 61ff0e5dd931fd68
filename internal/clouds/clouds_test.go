package clouds

import (
	"os"
	"path/filepath"
	"testing"

	"devctl/images"
	"devctl/internal/api"
	"devctl/stacks"
)

// shipped is the spec of a stack of this repository.
func shipped(t *testing.T, stack string) *stacks.Spec {
	t.Helper()
	file := filepath.Join("../../stacks", "Pulumi."+stack+".yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := stacks.Parse(file, text, stack)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// TestImagesAreWhereTheyAreLookedFor: what is deployed names the folder that the program fills, and that main nodes have etcd from.
func TestImagesAreWhereTheyAreLookedFor(t *testing.T) {
	t.Parallel()
	for _, stack := range []string{"local", "aws", "digitalocean"} {
		spec := shipped(t, stack)
		boot, deployed := Of(spec, &images.Set{}, t.TempDir(), nil).Boot().Images, spec.Deployment(api.ServiceImages{}, nil).Images.Source
		if boot != deployed || (boot == "") != (stack == "local") {
			t.Errorf("%s: machines have images from %q, what is deployed from %q", stack, boot, deployed)
		}
	}
}
