package provider_test

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/internal/bundle"
	"devctl/internal/engine"
	"devctl/internal/provider"
)

// shelf stands in for buckets, and remembers what was done in them.
type shelf struct {
	mu   sync.Mutex
	here map[string]bool // by platform and location
	done []string
}

func key(at bundle.Location) string { return string(at.Platform) + " " + at.String() }

func (s *shelf) Upload(_ context.Context, at bundle.Location, image string, log func(string)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	log("image bundle: uploading")
	s.here[key(at)], s.done = true, append(s.done, "upload "+key(at)+" of "+image)
	return nil
}

func (s *shelf) Exists(_ context.Context, at bundle.Location) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.here[key(at)], nil
}

// TestBundles runs the real engine over bundles of two clouds.
func TestBundles(t *testing.T) {
	t.Parallel()
	buckets := &shelf{here: map[string]bool{}}
	port, _, err := provider.Serve(t.Context(), provider.Options{Bundles: buckets})
	if err != nil {
		t.Fatal(err)
	}
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	open := func(name string) *engine.Stack {
		t.Helper()
		s, err := engine.Open(t.Context(), engine.Options{
			Project: "test", Stack: "bundles", Home: home, BinDir: bin, Refresh: true, Providers: map[string]int{provider.Name: port},
			Program: func(ctx *pulumi.Context) error {
				for cloud, region := range map[string]string{"aws": "eu-central-1", "digitalocean": "fra1"} {
					var made struct{ pulumi.CustomResourceState }
					err := ctx.RegisterResource("devctl:"+cloud+":Bundle", cloud, pulumi.Map{
						"region": pulumi.String(region), "bucket": pulumi.String("machines"), "key": pulumi.String("images/" + name + ".tar"),
						"image": pulumi.String("redis:" + name),
					}, &made)
					if err != nil {
						return err
					}
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ignore := func(engine.Event) {}
	did := func(step string, run func() (engine.Summary, error), want ...string) {
		t.Helper()
		buckets.done = nil
		if _, err := run(); err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		for _, order := range [][]string{buckets.done, want} {
			slices.SortStableFunc(order, func(a, b string) int { // the two clouds at once, each in its order
				return len(a) - len(b)
			})
		}
		if diff := cmp.Diff(want, buckets.done); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step, diff)
		}
	}
	const aws, ocean = "aws machines/images/", "digitalocean machines/images/"
	up := func(name string) func() (engine.Summary, error) {
		return func() (engine.Summary, error) { return open(name).Up(t.Context(), ignore) }
	}
	did("preview", func() (engine.Summary, error) { return open("old").Preview(t.Context(), ignore) })
	did("create", up("old"), "upload "+aws+"old.tar of redis:old", "upload "+ocean+"old.tar of redis:old")
	did("nothing new", up("old"))
	did("preview of another image", func() (engine.Summary, error) { return open("new").Preview(t.Context(), ignore) })
	did("another image", up("new"), "upload "+aws+"new.tar of redis:new", "upload "+ocean+"new.tar of redis:new")
	delete(buckets.here, aws+"new.tar")
	did("one that is gone", up("new"), "upload "+aws+"new.tar of redis:new")
	did("destroy", func() (engine.Summary, error) { return open("new").Destroy(t.Context(), ignore) })
	// What runs may name the old one until the next deployment is done; all go with their buckets.
	if want := []string{aws + "new.tar", aws + "old.tar", ocean + "new.tar", ocean + "old.tar"}; !slices.Equal(slices.Sorted(maps.Keys(buckets.here)), want) {
		t.Errorf("the buckets have %v, want %v", buckets.here, want)
	}
}
