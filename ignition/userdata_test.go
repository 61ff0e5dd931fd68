package ignition

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/clarketm/json"
	"github.com/coreos/ignition/v2/config/v3_3/types"
	"github.com/google/go-cmp/cmp"

	"devctl/ignition/ignitiontest"
	"devctl/internal/api"
)

// bigConfig is the config of an AWS main node with a file of n bytes on top, as hard to compress as asked for.
func bigConfig(t *testing.T, n int, random bool) []byte {
	t.Helper()
	_, machine := cloudMachine(t, api.PlatformAWS, api.RoleMain)
	parsed, err := parse(machine)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", n)
	if random {
		var b strings.Builder
		source := rand.New(rand.NewPCG(1, 2))
		for b.Len() < n {
			fmt.Fprintf(&b, "%016x", source.Uint64())
		}
		text = b.String()[:n]
	}
	data, mode := "data:,"+text, 0o644
	parsed.Storage.Files = append(parsed.Storage.Files, types.File{
		Node:          types.Node{Path: "/etc/big"},
		FileEmbedded1: types.FileEmbedded1{Mode: &mode, Contents: types.Resource{Source: &data}},
	})
	out, err := json.Marshal(parsed)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestUserData(t *testing.T) {
	t.Parallel()
	_, small := cloudMachine(t, api.PlatformAWS, api.RoleMain)
	for _, tc := range []struct {
		name   string
		config []byte
		limit  int
		want   Form
	}{
		{"fits", small, LimitAWS, Plain},
		{"more than AWS takes", bigConfig(t, 16<<10, false), LimitAWS, Gzip},
		{"the same on DigitalOcean", bigConfig(t, 16<<10, false), LimitDigitalOcean, Plain},
		{"nor compressed", bigConfig(t, 32<<10, true), LimitAWS, Pointer},
		{"below the limit, but without room", bigConfig(t, LimitAWS-len(bigConfig(t, 0, false)), false), LimitAWS, Gzip},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			sum := sha256.Sum256(tc.config)
			elsewhere := Source{URL: "s3://bucket/config/" + Hash(tc.config) + ".ign", SHA256: hex.EncodeToString(sum[:])}
			got, err := UserData(tc.config, tc.limit, elsewhere)
			if err != nil {
				t.Fatal(err)
			}
			if got.Form != tc.want {
				t.Errorf("%d bytes are %s, want %s", len(tc.config), got.Form, tc.want)
			}
			if got.Room != tc.limit-len(got.Data) || got.Room < tc.limit/16 {
				t.Errorf("%d bytes of %d, and room for %d", len(got.Data), tc.limit, got.Room)
			}
			if err := ignitiontest.Validate(t, got.Data); err != nil {
				t.Error(err)
			}
			again, err := UserData(tc.config, tc.limit, elsewhere)
			if err != nil || !bytes.Equal(again.Data, got.Data) {
				t.Errorf("the same config gives other bytes (%v)", err)
			}
			config, at, err := Decode(got.Data)
			if err != nil {
				t.Fatal(err)
			}
			if tc.want == Pointer {
				if config != nil || at == nil || *at.Source != elsewhere.URL || *at.Verification.Hash != "sha256-"+elsewhere.SHA256 {
					t.Errorf("it decodes to %d bytes at %+v, want nothing but where it is", len(config), at)
				}
				return
			}
			if at != nil {
				t.Errorf("it decodes to something at %s", *at.Source)
			}
			if diff := cmp.Diff(string(tc.config), string(config)); diff != "" {
				t.Errorf("what comes out is not what went in:\n%s", diff)
			}
		})
	}
}

// TestUserDataLeavesRoom: at whatever size, the form is the simplest that leaves a sixteenth of the limit free.
func TestUserDataLeavesRoom(t *testing.T) {
	t.Parallel()
	config := bigConfig(t, 0, false)
	enough := len(config)
	for enough-enough/16 < len(config) {
		enough++
	}
	for limit, want := range map[int]Form{enough - 1: Gzip, enough: Plain} {
		got, err := UserData(config, limit, Source{})
		if err != nil || got.Form != want {
			t.Errorf("%d bytes with a limit of %d: %s, %v, want %s", len(config), limit, got.Form, err, want)
		}
	}
}

func TestUserDataNeedsAPlaceToPointTo(t *testing.T) {
	t.Parallel()
	config := bigConfig(t, 32<<10, true)
	for want, elsewhere := range map[string]Source{
		`source "" is neither s3:// nor https://`: {},
		`source "s3://b/k" has no SHA-256`:        {URL: "s3://b/k"},
	} {
		_, err := UserData(config, LimitAWS, elsewhere)
		if err == nil || !strings.Contains(err.Error(), "is above the limit of 16384 and has to be fetched: "+want) {
			t.Errorf("error = %v, want %s", err, want)
		}
	}
}

// TestDecodeLocal: a local machine's config is decoded to what its Ignition puts together at boot.
func TestDecodeLocal(t *testing.T) {
	t.Parallel()
	for _, role := range api.Roles() {
		_, _, machine := rendered(t, role)
		config, at, err := Decode(machine)
		if err != nil || at != nil {
			t.Fatalf("%s: %v, at %v", role, err, at)
		}
		got, err := parse(config)
		if err != nil {
			t.Fatal(err)
		}
		want := merge(t, machine)
		want.Ignition.Config.Merge = nil
		for _, f := range want.Storage.Files {
			if diff := cmp.Diff(content(t, want, f.Path), content(t, got, f.Path)); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", role, f.Path, diff)
			}
		}
		if len(got.Storage.Files) != len(want.Storage.Files) || len(got.Systemd.Units) != len(want.Systemd.Units) || len(got.Ignition.Config.Merge) > 0 {
			t.Errorf("%s: %d files, %d units, and %d layers left", role, len(got.Storage.Files), len(got.Systemd.Units), len(got.Ignition.Config.Merge))
		}
	}
}

func TestContentErrors(t *testing.T) {
	t.Parallel()
	gz, other := "gzip", "zstd"
	for want, r := range map[string]types.Resource{
		"decode a data URL: invalid data character": {Source: text("data:;base64,?")},
		"decode a data URL: unexpected EOF":         {Source: text("data:;base64,H4s="), Compression: &gz},
		`decode a data URL: compression "zstd"`:     {Source: text("data:,x"), Compression: &other},
	} {
		if _, _, err := Content(r); err == nil || err.Error() != want {
			t.Errorf("error = %v\nwant    %s", err, want)
		}
	}
}

func text(s string) *string { return &s }

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"ignition":{"version":"3.3.0"}}`))
	f.Add([]byte(`{"ignition":{"version":"3.3.0","config":{"replace":{"source":"data:;base64,H4sIAAAAAAAC/w==","compression":"gzip"}}}}`))
	f.Add([]byte(`{"ignition":{"version":"3.3.0","config":{"merge":[{"source":"data:,%7B%7D"},{"source":"s3://b/k"}]}}}`))
	f.Fuzz(func(t *testing.T, userData []byte) {
		config, at, err := Decode(userData)
		if err != nil {
			return
		}
		if (config == nil) == (at == nil) {
			t.Fatalf("config %q and at %v", config, at)
		}
		if config == nil {
			return
		}
		again, _, err := Decode(config)
		if err != nil || !bytes.Equal(config, again) {
			t.Fatalf("decoded twice: %s\nonce: %s\n(%v)", again, config, err)
		}
	})
}
