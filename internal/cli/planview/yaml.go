package planview

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"devctl/internal/cli/output"
)

// text is a value as people read it: JSON, as the engine writes whatever is no string and as clouds want policies, becomes
// YAML.
func text(value string) string {
	var inner any
	if (strings.HasPrefix(value, "{") || strings.HasPrefix(value, "[")) && json.Unmarshal([]byte(value), &inner) == nil {
		return asYAML(inner)
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
