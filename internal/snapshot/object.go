package snapshot

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Object is what a snapshot is called in a bucket. All that describes it is in the name, so a listing is enough to know it, and an
// object is there as a whole or not at all.
func (i Info) Object() string {
	return i.Name + "_" + strconv.FormatInt(i.Revision, 10) + "_" + i.SHA256 + dataSuffix
}

// ParseObject describes the snapshot with this name and size in a bucket.
func ParseObject(object string, size int64) (Info, error) {
	fail := fmt.Errorf("%q is not the name of a snapshot", object)
	parts := strings.Split(strings.TrimSuffix(object, dataSuffix), "_")
	if len(parts) != 3 {
		return Info{}, fail
	}
	t, err := time.Parse(nameFormat, parts[0])
	if err != nil {
		return Info{}, fail
	}
	revision, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return Info{}, fail
	}
	i := Info{Name: parts[0], Time: t, Revision: revision, Size: size, SHA256: parts[2]}
	if len(i.SHA256) != 64 || i.Object() != object {
		return Info{}, fail
	}
	return i, nil
}
