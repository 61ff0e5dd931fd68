package localcloud

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/volume"

	"devctl/internal/localcloud/localcloudtest"
)

func TestArtifactsAreMadeOnce(t *testing.T) {
	c := connect(t)
	set, err := localcloudtest.Set()
	if err != nil {
		t.Fatal(err)
	}
	// A store of our own, so that no other test's nodes use it.
	set.Store = strings.Replace(set.Store, "lctest-", "lctest2-", 1)
	old := "lctest2-artifacts-000000000000"
	for _, name := range []string{set.Store, old} {
		if err := c.docker.VolumeRemove(t.Context(), name, true); err != nil && !errdefs.IsNotFound(err) {
			t.Fatal(err)
		}
		// As an interrupted run leaves it: there, but not filled.
		if _, err := c.docker.VolumeCreate(t.Context(), volume.CreateOptions{Name: name, Labels: map[string]string{labelCache: "true"}}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.docker.VolumeRemove(context.Background(), name, true); err != nil && !errdefs.IsNotFound(err) {
				t.Error(err)
			}
		})
	}
	ensure := func() (filled int) {
		t.Helper()
		var lines []string
		if err := c.EnsureArtifacts(t.Context(), set, func(line string) { lines = append(lines, line) }); err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			if strings.HasPrefix(l, "image store: filled in ") {
				filled++
			}
		}
		return filled
	}
	if filled := ensure(); filled != 1 {
		t.Errorf("a half-filled store was filled %d times, want 1", filled)
	}
	if filled := ensure(); filled != 0 {
		t.Errorf("a complete store was filled %d times, want 0", filled)
	}
	found, err := c.docker.VolumeList(t.Context(), volume.ListOptions{Filters: labelled(labelCache + "=true")})
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(found.Volumes, func(v *volume.Volume) bool { return v.Name == old }) {
		t.Error("the store of earlier sources is still there")
	}
	if exists, err := c.HasArtifacts(t.Context(), set.Node.Ref, set.Store); err != nil || !exists {
		t.Errorf("HasArtifacts: %v, %v, want true", exists, err)
	}
	if exists, err := c.HasArtifacts(t.Context(), set.Node.Ref, old); err != nil || exists {
		t.Errorf("HasArtifacts of a volume that is gone: %v, %v, want false", exists, err)
	}
}
