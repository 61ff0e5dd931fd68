package standin

import (
	"regexp"
	"strconv"
	"strings"
)

var plainName = regexp.MustCompile(`^[a-zA-Z_$][a-zA-Z0-9_$]*$`)

// key is the property path of what is called name in what is at path; the path of a resource itself is empty.
func key(path, name string) string {
	switch {
	case !plainName.MatchString(name):
		return path + `["` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"]`
	case path == "":
		return name
	}
	return path + "." + name
}

// index is the property path of the i-th element of what is at path.
func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
