package diff

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// maxUnpacked bounds what compressed bytes may become, against ones made to fill the memory.
const maxUnpacked = 16 << 20

// unpack takes base64 and compression off a config.
func unpack(text string) ([]byte, error) {
	data := []byte(strings.TrimSpace(text))
	if !bytes.HasPrefix(data, []byte("{")) {
		decoded, err := base64.StdEncoding.DecodeString(string(data))
		if err == nil {
			data = decoded
		}
	}
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return unzip(data)
	}
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return nil, fmt.Errorf("read Ignition config: %w", errNoConfig)
	}
	return data, nil
}

// dataURL returns what a data URL (RFC 2397) holds.
func dataURL(source string, compressed bool) ([]byte, error) {
	head, body, found := strings.Cut(strings.TrimPrefix(source, "data:"), ",")
	if !found {
		return nil, errors.New("read data URL: it has no comma")
	}
	unescaped, err := url.PathUnescape(body)
	if err != nil {
		return nil, fmt.Errorf("read data URL: %w", err)
	}
	data := []byte(unescaped)
	if strings.HasSuffix(head, ";base64") {
		if data, err = base64.StdEncoding.DecodeString(unescaped); err != nil {
			return nil, fmt.Errorf("read data URL: %w", err)
		}
	}
	if compressed {
		return unzip(data)
	}
	return data, nil
}

func unzip(data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if len(plain) > maxUnpacked {
		return nil, fmt.Errorf("decompress: more than %d MiB", maxUnpacked>>20)
	}
	return plain, nil
}
