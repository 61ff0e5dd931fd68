package planview

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"

	"devctl/internal/cli/output"
)

// text is a value as people read it. JSON, as the engine writes whatever is no string and as an Ignition config is,
// becomes YAML, with the content of data URLs decoded.
func text(value string) string {
	var inner any
	if (strings.HasPrefix(value, "{") || strings.HasPrefix(value, "[")) && json.Unmarshal([]byte(value), &inner) == nil {
		return asYAML(decoded(inner))
	}
	return value
}

func asYAML(v any) string {
	var b bytes.Buffer
	if err := output.Write(&b, output.YAML, v, nil); err != nil {
		return fmt.Sprint(v)
	}
	return b.String()
}

// decoded replaces data URLs by what they hold.
func decoded(v any) any {
	switch v := v.(type) {
	case map[string]any:
		all := make(map[string]any, len(v))
		compressed := v["compression"] == "gzip"
		for key, item := range v {
			if source, isText := item.(string); isText && strings.HasPrefix(source, "data:") {
				all[key] = dataURL(source, compressed)
				continue
			}
			all[key] = decoded(item)
		}
		return all
	case []any:
		all := make([]any, len(v))
		for i, item := range v {
			all[i] = decoded(item)
		}
		return all
	default:
		return v
	}
}

// dataURL returns what a data URL (RFC 2397) holds, or the URL when it cannot be read.
func dataURL(source string, compressed bool) string {
	head, body, found := strings.Cut(strings.TrimPrefix(source, "data:"), ",")
	if !found {
		return source
	}
	unescaped, err := url.PathUnescape(body)
	if err != nil {
		return source
	}
	data := []byte(unescaped)
	if strings.HasSuffix(head, ";base64") {
		if data, err = base64.StdEncoding.DecodeString(unescaped); err != nil {
			return source
		}
	}
	if compressed {
		unzip, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return source
		}
		if data, err = io.ReadAll(io.LimitReader(unzip, 1<<20)); err != nil {
			return source
		}
	}
	var inner any
	if json.Unmarshal(data, &inner) == nil {
		if _, isMap := inner.(map[string]any); isMap {
			return asYAML(decoded(inner))
		}
	}
	return string(data)
}
