package keepalived

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestFiles(t *testing.T) {
	t.Parallel()
	self := api.Identity{Name: "worker-1", Address: "198.18.0.21"}
	ep := api.EndpointSpec{Address: "198.18.0.10", Prefix: 24, RouterID: 51}
	onENS5 := ep
	onENS5.Interface = "ens5"
	onAWS := api.EndpointSpec{Address: "203.0.113.9", Prefix: 32, RouterID: 51, Platform: api.PlatformAWS, Allocation: "eipalloc-1"}
	tests := []struct {
		golden string
		files  []api.File
	}{
		{"two.conf", Files(ep, 7020, self, []api.Identity{{Name: "worker-2", Address: "198.18.0.22"}}, 150)},
		{"aws.conf", Files(onAWS, 7020, self, []api.Identity{{Name: "worker-2", Address: "198.18.0.22"}}, 150)},
		{"alone.conf", Files(onENS5, 7020, self, nil, 150)},
	}
	for _, tt := range tests {
		golden := filepath.Join("testdata", tt.golden)
		if *update {
			if err := os.WriteFile(golden, []byte(tt.files[0].Content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		content, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		want := []api.File{{Path: "/etc/devctl/services/keepalived.service/keepalived.conf", Mode: 0o644, Content: string(content)}}
		if diff := cmp.Diff(want, tt.files); diff != "" {
			t.Errorf("%s (-want +got), rewrite with -update:\n%s", golden, diff)
		}
	}
}
