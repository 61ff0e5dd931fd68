package snapshot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/snapshot"
)

func TestObjects(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("0a", 32)
	want := snapshot.Info{
		Name: "20261121T075600.123Z", Time: time.Date(2026, 11, 21, 7, 56, 0, 123e6, time.UTC), Revision: 4711, Size: 20512, SHA256: hash,
	}
	if name := want.Object(); name != "20261121T075600.123Z_4711_"+hash+".db" {
		t.Errorf("it is called %s", name)
	}
	got, err := snapshot.ParseObject(want.Object(), want.Size)
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("read back (-want +got):\n%s%v", d, err)
	}
	for _, other := range []string{
		"", "notes.txt", "20261121T075600.123Z.db", "20261121T075600.123Z_4711_" + hash, "20261121T075600.123Z_4711_0a.db",
		"today_4711_" + hash + ".db", "20261121T075600.123Z_x_" + hash + ".db", "20261121T075600.123Z_07_" + hash + ".db",
	} {
		if _, err := snapshot.ParseObject(other, 1); err == nil || !strings.HasSuffix(err.Error(), " is not the name of a snapshot") {
			t.Errorf("%q: error = %v", other, err)
		}
	}
}
