package diff

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const base = `{"ignition":{"version":"3.3.0"},
 "passwd":{"users":[{"name":"core","passwordHash":"$y$old","sshAuthorizedKeys":["key-a","key-b"]}]},
 "storage":{
  "directories":[{"path":"/etc/devctl"}],
  "files":[{"path":"/etc/motd","mode":420,"contents":{"source":"data:,hello%20you%0A"}},{"path":"/usr/bin/d","mode":493,"contents":{"source":"s3://bucket/d","verification":{"hash":"sha256-aa"}}}],
  "filesystems":[{"device":"/dev/xvdb","format":"xfs","path":"/var/lib/devctl/data"}],
  "links":[{"path":"/etc/localtime","target":"/usr/share/zoneinfo/UTC"}]},
 "systemd":{"units":[{"name":"a.service","enabled":true,"contents":"[Unit]\n"},{"name":"b.service","dropins":[{"name":"10.conf","contents":"[Service]\n"}]}]},
 "kernelArguments":{"shouldExist":["mitigations=off"]}}`

func parse(t *testing.T, text string) Config {
	t.Helper()
	c, err := Parse(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHowAConfigIsPackedMakesNoDifference(t *testing.T) {
	t.Parallel()
	want := parse(t, base)
	zipped := zip(t, base)
	inURL := "data:;base64," + base64.StdEncoding.EncodeToString(zipped)
	half := strings.Replace(base, `"shouldExist":["mitigations=off"]`, `"shouldExist":["quiet"]`, 1)
	for name, text := range map[string]string{
		"JSON":              base,
		"base64":            base64.StdEncoding.EncodeToString([]byte(base)),
		"replaced":          `{"ignition":{"version":"3.4.0","config":{"replace":{"source":` + quoted(inURL) + `,"compression":"gzip"}}},"storage":{"files":[{"path":"/dropped"}]}}`,
		"in base64":         base64.StdEncoding.EncodeToString([]byte(`{"ignition":{"version":"3.3.0","config":{"replace":{"source":` + quoted(inURL) + `,"compression":"gzip"}}}}`)),
		"merged":            merged("data:,"+url.PathEscape(base), "3.3.0"),
		"merged over":       merged("data:,"+url.PathEscape(half), "data:,"+url.PathEscape(base)),
		"layer is its part": merged("data:,"+url.PathEscape(strings.Replace(base, "3.3.0", "3.1.0", 1)), "3.3.0"),
		"explicit default":  strings.Replace(base, `"path":"/etc/devctl"`, `"path":"/etc/devctl","mode":493`, 1),
		"another order":     strings.Replace(strings.Replace(base, `{"path":"/etc/motd","mode":420,"contents":{"source":"data:,hello%20you%0A"}},`, "", 1), `"files":[`, `"files":[{"path":"/etc/motd","contents":{"source":"data:;base64,aGVsbG8geW91Cg=="}},`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if changes := Compare(want, parse(t, text)); len(changes) > 0 {
				t.Errorf("there are differences: %+v", changes)
			}
		})
	}
}

// merged is a config that consists of layers; a word that is no URL is the version.
func merged(words ...string) string {
	version, layers := "3.3.0", []any{}
	for _, word := range words {
		if strings.HasPrefix(word, "data:") {
			layers = append(layers, map[string]any{"source": word})
		} else {
			version = word
		}
	}
	data, err := json.Marshal(map[string]any{"ignition": map[string]any{"version": version, "config": map[string]any{"merge": layers}}})
	if err != nil {
		panic(err)
	}
	return string(data)
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		old, new string // what is replaced in base by what
		want     []Change
	}{
		"unit": {`"[Unit]\n"`, `"[Unit]\nAfter=b\n"`, []Change{{Op: Changed, Kind: Unit, Name: "a.service", Before: "[Unit]\n", After: "[Unit]\nAfter=b\n"}}},
		"disabled": {`"enabled":true`, `"enabled":false`, []Change{{Op: Changed, Kind: Unit, Name: "a.service", Before: "[Unit]\n", After: "[Unit]\n",
			Attributes: []AttributeChange{{"enabled", "yes", "no"}}}}},
		"drop-in": {`"10.conf"`, `"20.conf"`, []Change{
			{Op: Removed, Kind: DropIn, Name: "b.service/10.conf", Before: "[Service]\n"},
			{Op: Added, Kind: DropIn, Name: "b.service/20.conf", After: "[Service]\n"}}},
		"mode": {`"mode":420`, `"mode":384,"user":{"name":"redis"}`, []Change{{Op: Changed, Kind: File, Name: "/etc/motd", Before: "hello you\n", After: "hello you\n",
			Attributes: []AttributeChange{{"mode", "0644", "0600"}, {"user", "", "redis"}}}}},
		"content": {`hello%20you`, `hello`, []Change{{Op: Changed, Kind: File, Name: "/etc/motd", Before: "hello you\n", After: "hello\n"}}},
		"binary": {`data:,hello%20you%0A`, `data:;base64,AAEC`, []Change{{Op: Changed, Kind: File, Name: "/etc/motd", Before: "hello you\n",
			Attributes: []AttributeChange{{"content", "", "3 bytes, sha256 ae4b3280e56e"}}}}},
		"download": {`sha256-aa`, `sha256-bb`, []Change{{Op: Changed, Kind: File, Name: "/usr/bin/d", Attributes: []AttributeChange{{"hash", "sha256-aa", "sha256-bb"}}}}},
		"signed":   {`s3://bucket/d`, `https://x/d?sig=geheim`, []Change{{Op: Changed, Kind: File, Name: "/usr/bin/d", Attributes: []AttributeChange{{"source", "s3://bucket/d", "https://x/d"}, {"source's query", "", "[secret]"}}}}},
		"password": {`$y$old`, `$y$new`, []Change{{Op: Changed, Kind: User, Name: "core", Before: "key-a\nkey-b\n", After: "key-a\nkey-b\n",
			Attributes: []AttributeChange{{"passwordHash", "[secret]", "[secret]"}}}}},
		"keys":      {`,"key-b"`, ``, []Change{{Op: Changed, Kind: User, Name: "core", Before: "key-a\nkey-b\n", After: "key-a\n"}}},
		"directory": {`"/etc/devctl"`, `"/etc/devctl","mode":448`, []Change{{Op: Changed, Kind: Directory, Name: "/etc/devctl", Attributes: []AttributeChange{{"mode", "0755", "0700"}}}}},
		"disk":      {`"xfs"`, `"ext4"`, []Change{{Op: Changed, Kind: Disk, Name: "filesystem /dev/xvdb", Attributes: []AttributeChange{{"format", "xfs", "ext4"}}}}},
		"kernel":    {`shouldExist`, `shouldNotExist`, []Change{{Op: Changed, Kind: Kernel, Name: "of the machine", Before: "mitigations=off", After: "not mitigations=off"}}},
		"version":   {`3.3.0`, `3.4.0`, []Change{{Op: Changed, Kind: Setting, Name: "ignition", Attributes: []AttributeChange{{"version", "3.3.0", "3.4.0"}}}}},
		"link":      {`zoneinfo/UTC`, `zoneinfo/CET`, []Change{{Op: Changed, Kind: Link, Name: "/etc/localtime", Attributes: []AttributeChange{{"target", "/usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/CET"}}}}},
		"layer": {`"version":"3.3.0"`, `"version":"3.3.0","config":{"merge":[{"source":"s3://bucket/main.ign"}]}`, []Change{{Op: Added, Kind: Layer, Name: "s3://bucket/main.ign",
			Attributes: []AttributeChange{{"source", "", "s3://bucket/main.ign"}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(base, tc.old) {
				t.Fatalf("the config has no %s", tc.old)
			}
			got := Compare(parse(t, base), parse(t, strings.Replace(base, tc.old, tc.new, 1)))
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseAsksForWhatTheMachineFetches(t *testing.T) {
	t.Parallel()
	text := `{"ignition":{"version":"3.3.0","config":{"replace":{"source":"s3://bucket/main.ign"}}}}`
	c, err := Parse(text, func(source string) (string, bool) { return base, source == "s3://bucket/main.ign" })
	if err != nil {
		t.Fatal(err)
	}
	if changes := Compare(parse(t, base), c); len(changes) > 0 {
		t.Errorf("there are differences: %+v", changes)
	}
	if got := parse(t, text).Parts; len(got) != 1 || got[0].Name != "replaced by s3://bucket/main.ign" {
		t.Errorf("a layer that nobody knows is %+v", got)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	endless := `{"ignition":{"version":"3.3.0","config":{"merge":[{"source":"s3://me"}]}}}`
	for text, want := range map[string]string{
		"":                           "read Ignition config: it is no Ignition config",
		"hello":                      "read Ignition config: it is no Ignition config",
		`{"version":"2012-10-17"}`:   "read Ignition config: it is no Ignition config",
		`{"ignition":`:               "read Ignition config: unexpected end of JSON input",
		`{"ignition":{"version":"3"`: "read Ignition config: unexpected end of JSON input",
		merged("data:nothing"):       "read Ignition config: it is no Ignition config",
		endless:                      "read Ignition config: more than 8 layers in one another",
	} {
		_, err := Parse(text, func(string) (string, bool) { return endless, true })
		if err == nil || err.Error() != want {
			t.Errorf("Parse(%q): error %v, want %s", text, err, want)
		}
	}
}

// FuzzParse: whatever a state or a bucket holds, reading it ends, and a config is no different from itself.
func FuzzParse(f *testing.F) {
	f.Add(base)
	f.Add(base64.StdEncoding.EncodeToString([]byte(base)))
	f.Add(merged("data:,"+url.PathEscape(base), "3.4.0"))
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text, nil)
		if err != nil {
			return
		}
		again, err := Parse(text, nil)
		if err != nil {
			t.Fatal(err)
		}
		if changes := Compare(c, again); len(changes) > 0 {
			t.Errorf("it differs from itself: %+v", changes)
		}
	})
}

func quoted(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func zip(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
