package localcloud

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"devctl/internal/localcloud/localcloudtest"
)

// TestSaveService: the archive holds the service's image under its name, and nothing else. Podman loads the same from
// Docker where a store is filled: see fillScript.
func TestSaveService(t *testing.T) {
	c := connect(t)
	set, err := localcloudtest.Set()
	if err != nil {
		t.Fatal(err)
	}
	ref := set.Services[0].Ref
	var archive bytes.Buffer
	var told []string
	if err := c.SaveService(t.Context(), set, ref, &archive, func(line string) { told = append(told, line) }); err != nil {
		t.Fatal(err)
	}
	if last := told[len(told)-1]; !strings.HasPrefix(last, "image bundle: ") || !strings.Contains(last, " MB, saved in ") {
		t.Errorf("told %q at the end", last)
	}
	var manifest []struct{ RepoTags []string }
	for files := tar.NewReader(&archive); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Name != "manifest.json" {
			continue
		}
		if err := json.NewDecoder(files).Decode(&manifest); err != nil {
			t.Fatal(err)
		}
	}
	var refs []string
	for _, image := range manifest {
		refs = append(refs, image.RepoTags...)
	}
	if want := []string{ref}; !slices.Equal(refs, want) {
		t.Errorf("images in the archive: %v, want %v", refs, want)
	}
}
