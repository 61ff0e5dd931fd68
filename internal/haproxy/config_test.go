package haproxy

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
	files := Files(api.BalancerSpec{Instances: 2, Port: 7010, StatsPort: 7020}, api.Identity{Name: "worker-1", Address: "198.18.0.21"})
	golden := filepath.Join("testdata", "haproxy.cfg")
	if *update {
		if err := os.WriteFile(golden, []byte(files[0].Content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	want := []api.File{{Path: "/etc/devctl/services/haproxy.service/haproxy.cfg", Mode: 0o400, Content: string(content)}}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("files (-want +got), rewrite the golden file with -update:\n%s", diff)
	}
	if diff := cmp.Diff([]api.File{{Path: "/run/devctl/haproxy", Mode: 0o755}}, Dirs()); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
}
