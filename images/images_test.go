package images

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func binaries() fstest.MapFS {
	return fstest.MapFS{
		"devctld": {Data: []byte("daemon")},
		"etcd":    {Data: []byte("etcd")},
		"etcdctl": {Data: []byte("etcdctl")},
	}
}

func load4test(t *testing.T, bin fstest.MapFS) *Set {
	t.Helper()
	set, err := Load(bin)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestLoadIsTheSameEveryTime(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(load4test(t, binaries()), load4test(t, binaries())); diff != "" {
		t.Errorf("two loads of the same sources differ (-first +second):\n%s", diff)
	}
}

func TestRefsFollowContent(t *testing.T) {
	t.Parallel()
	before := load4test(t, binaries())
	tests := map[string]struct{ etcd, redis, node, store bool }{
		"devctld": {store: true},
		"etcd":    {etcd: true, store: true},
		"etcdctl": {etcd: true, store: true},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bin := binaries()
			bin[name].Data = []byte("changed")
			after := load4test(t, bin)
			got := struct{ etcd, redis, node, store bool }{
				before.Etcd() != after.Etcd(), before.Ref("redis") != after.Ref("redis"),
				before.Node.Ref != after.Node.Ref, before.Store != after.Store,
			}
			if got != want {
				t.Errorf("changed %s: refs that changed are %+v, want %+v", name, got, want)
			}
		})
	}
}

func TestHashSeesEveryPart(t *testing.T) {
	t.Parallel()
	base := []File{{Name: "a", Mode: 0o644, Data: []byte("bc")}}
	seen := map[string]string{Hash("parent", base): "base"}
	for name, hash := range map[string]string{
		"parent":   Hash("other", base),
		"name":     Hash("parent", []File{{Name: "b", Mode: 0o644, Data: []byte("bc")}}),
		"mode":     Hash("parent", []File{{Name: "a", Mode: 0o755, Data: []byte("bc")}}),
		"content":  Hash("parent", []File{{Name: "a", Mode: 0o644, Data: []byte("bd")}}),
		"boundary": Hash("parent", []File{{Name: "a", Mode: 0o644, Data: []byte("b")}, {Name: "c", Mode: 0o644}}),
	} {
		if other, ok := seen[hash]; ok {
			t.Errorf("%s and %s have the same hash %s", name, other, hash)
		}
		seen[hash] = name
	}
}

func TestContexts(t *testing.T) {
	t.Parallel()
	set := load4test(t, binaries())
	for _, image := range append(set.Services, set.Node) {
		var containerfile, script string
		for _, f := range image.Files {
			if f.Name == "Containerfile" {
				containerfile = string(f.Data)
			}
			if strings.HasPrefix(string(f.Data), "#!") && f.Mode != 0o755 {
				script = f.Name
			}
		}
		if !strings.Contains(containerfile, "ARG BASE\nFROM ${BASE}\n") {
			t.Errorf("image %s: its Containerfile does not start from the BASE it is given", image.Name)
		}
		if script != "" {
			t.Errorf("image %s: script %s would not be executable", image.Name, script)
		}
	}
}

func TestMissingBinary(t *testing.T) {
	t.Parallel()
	bin := binaries()
	delete(bin, "etcdctl")
	_, err := Load(bin)
	want := `read binary "etcdctl" for the images: open etcdctl: file does not exist; build it with ` + "`make build`, or set DEVCTL_BIN_DIR to its folder"
	if err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}
