package ignition

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/clarketm/json"
	v33 "github.com/coreos/ignition/v2/config/v3_3"
	"github.com/coreos/ignition/v2/config/v3_3/types"
	"github.com/vincent-petithory/dataurl"

	"devctl/internal/api"
)

// Limits of user data, in bytes before any base64 that an API wants around it.
const (
	LimitAWS          = 16384
	LimitDigitalOcean = 64 << 10
)

// Limit is how much user data a machine of the platform takes.
func Limit(p api.Platform) int {
	if p == api.PlatformAWS {
		return LimitAWS
	}
	return LimitDigitalOcean
}

// room is what UserData leaves of a limit: a sixteenth, 1 KiB on AWS. A config that has grown by an SSH key or two is
// then still handed over in the same form.
func room(limit int) int { return limit / 16 }

// Form is how a config is in user data.
type Form string

// The forms, in the order in which they are tried.
const (
	Plain   Form = "plain"   // as it is
	Gzip    Form = "gzip"    // compressed, in a data: URL: clouds hand over only text, and Ignition unpacks no user data
	Pointer Form = "pointer" // a few lines that say where the config is
)

// Encoded is user data.
type Encoded struct {
	Data []byte
	Form Form
	Room int // bytes below the limit
}

// UserData makes a config small enough for a cloud that takes limit bytes: as it is if it fits, else compressed, else
// as a pointer to elsewhere, where the caller then has to put it before the first machine boots. It leaves room below
// the limit. Name elsewhere after the config's hash: a machine must never find another's config there.
func UserData(config []byte, limit int, elsewhere Source) (Encoded, error) {
	most := limit - room(limit)
	if len(config) <= most {
		return Encoded{config, Plain, limit - len(config)}, nil
	}
	packed, err := compressed(config)
	if err != nil {
		return Encoded{}, fmt.Errorf("compress user data: %w", err)
	}
	if len(packed) <= most {
		return Encoded{packed, Gzip, limit - len(packed)}, nil
	}
	pointer, err := pointerTo(elsewhere)
	if err != nil {
		return Encoded{}, fmt.Errorf("user data of %d bytes, %d compressed, is above the limit of %d and has to be fetched: %w", len(config), len(packed), limit, err)
	}
	return Encoded{pointer, Pointer, limit - len(pointer)}, nil
}

// compressed is a config that Ignition replaces by the one packed into it. The packed bytes depend on the release of Go:
// comparing two versions means to Decode them first.
func compressed(config []byte) ([]byte, error) {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(config); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	kind := "gzip"
	source := "data:;base64," + base64.StdEncoding.EncodeToString(packed.Bytes())
	return replacedBy(types.Resource{Source: &source, Compression: &kind})
}

// pointerTo is a config that Ignition replaces by the one at elsewhere.
func pointerTo(elsewhere Source) ([]byte, error) {
	checked, err := elsewhere.resource()
	if err != nil {
		return nil, err
	}
	if checked.Verification == nil {
		return nil, fmt.Errorf("source %q has no SHA-256", elsewhere.URL)
	}
	return replacedBy(types.Resource{Source: &checked.Source, Verification: types.Verification{Hash: &checked.Verification.Hash}})
}

func replacedBy(by types.Resource) ([]byte, error) {
	return json.Marshal(types.Config{Ignition: types.Ignition{Version: types.MaxVersion.String(), Config: types.IgnitionConfig{Replace: by}}})
}

// Decode is the way back from user data to the config in it: what is packed is unpacked, and what is merged from data:
// URLs is merged, as Ignition does it at boot. What would have to be fetched stays a reference, or, when that is all
// there is, elsewhere says where the config is, and config is nil.
func Decode(userData []byte) (config []byte, elsewhere *types.Resource, err error) {
	parsed, err := parse(userData)
	if err != nil {
		return nil, nil, err
	}
	if by := parsed.Ignition.Config.Replace; by.Source != nil {
		return decodeLayer(by)
	}
	layers := parsed.Ignition.Config.Merge
	parsed.Ignition.Config.Merge = nil
	for _, layer := range layers {
		config, elsewhere, err := decodeLayer(layer)
		if err != nil {
			return nil, nil, err
		}
		if elsewhere != nil {
			parsed.Ignition.Config.Merge = append(parsed.Ignition.Config.Merge, *elsewhere)
			continue
		}
		child, err := parse(config)
		if err != nil {
			return nil, nil, err
		}
		parsed = v33.Merge(parsed, child)
	}
	config, err = json.Marshal(parsed)
	return config, nil, err
}

// decodeLayer decodes the config that a resource is, or returns the resource itself if it has to be fetched.
func decodeLayer(r types.Resource) (config []byte, elsewhere *types.Resource, err error) {
	content, here, err := Content(r)
	if err != nil {
		return nil, nil, err
	}
	if !here {
		return nil, &r, nil
	}
	return Decode(content)
}

// maxContent bounds what Content unpacks, in bytes.
const maxContent = 8 << 20

// Content is what a resource with a data: URL holds, unpacked. It is not here if it would have to be fetched.
func Content(r types.Resource) (content []byte, here bool, err error) {
	if r.Source == nil || *r.Source == "" {
		return nil, true, nil
	}
	if !strings.HasPrefix(*r.Source, "data:") {
		return nil, false, nil
	}
	url, err := dataurl.DecodeString(*r.Source)
	if err != nil {
		return nil, false, fmt.Errorf("decode a data URL: %w", err)
	}
	switch compression := r.Compression; {
	case compression == nil || *compression == "":
		return url.Data, true, nil
	case *compression != "gzip":
		return nil, false, fmt.Errorf("decode a data URL: compression %q", *compression)
	}
	packed, err := gzip.NewReader(bytes.NewReader(url.Data))
	if err != nil {
		return nil, false, fmt.Errorf("decode a data URL: %w", err)
	}
	content, err = io.ReadAll(io.LimitReader(packed, maxContent+1))
	if err != nil {
		return nil, false, fmt.Errorf("decode a data URL: %w", err)
	}
	if len(content) > maxContent {
		return nil, false, fmt.Errorf("decode a data URL: more than %d bytes in it", maxContent)
	}
	return content, true, nil
}
