package engine_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/internal/engine"
)

// TestNobodyIsAskedForPlugins: what this process serves is looked for nowhere else, also when everything else may be downloaded.
func TestNobodyIsAskedForPlugins(t *testing.T) {
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Error(w, "closed", http.StatusNotFound)
	}))
	t.Cleanup(proxy.Close)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	b := newBench(t)
	download := func(o *engine.Options) { o.Download = true }
	s := b.open(t, declare(thingNamed("a")), download)
	run(t, s.Up)
	run(t, s.Preview)
	run(t, s.Up)
	run(t, s.Refresh)
	run(t, s.Destroy)
	if n := asked.Load(); n > 0 {
		t.Errorf("asked %d times for the plugin of a provider that is served here", n)
	}

	foreign := func(ctx *pulumi.Context) error {
		return ctx.RegisterResource("elsewhere:index:Thing", "thing", nil, &pulumi.CustomResourceState{})
	}
	if _, err := b.open(t, foreign, download).Preview(t.Context(), nil); err == nil {
		t.Error("there is a plugin for elsewhere")
	}
	if asked.Load() == 0 {
		t.Error("nobody was asked for the plugin of another provider: then this test would not notice")
	}
}
