package daemon

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadOnly(t *testing.T) {
	t.Parallel()
	const maps = `00400000-00ac3000 r-xp 00000000 fe:01 42                             /usr/lib/devctl/devctld
00ac3000-012aa000 r--p 006c3000 fe:01 42                             /usr/lib/devctl/devctld
012aa000-0131d000 rw-p 00eaa000 fe:01 42                             /usr/lib/devctl/devctld
0131d000-03363000 rw-p 00000000 00:00 0
7fd0d227c000-7fd0d2600000 r--p 00000000 fe:01 7                      /usr/lib/libc.so.6
7ffc0d5f9000-7ffc0d61a000 rw-p 00000000 00:00 0                      [stack]
`
	want := []mapping{{0x400000, 0xac3000}, {0xac3000, 0x12aa000}}
	got := readOnly(maps, "/usr/lib/devctl/devctld")
	if d := cmp.Diff(want, got, cmp.AllowUnexported(mapping{})); d != "" {
		t.Errorf("mappings (-want +got):\n%s", d)
	}
}

func TestSettle(t *testing.T) {
	t.Parallel()
	if err := settle(); err != nil {
		t.Error(err)
	}
}
