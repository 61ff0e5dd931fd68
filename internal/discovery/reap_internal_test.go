package discovery

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSilences(t *testing.T) {
	t.Parallel()
	type look struct {
		answered  time.Duration
		revisions map[string]int64
		want      []string
	}
	for _, tc := range []struct {
		name  string
		looks []look
	}{
		{"first look blames nobody, however long it took", []look{
			{time.Hour, map[string]int64{"data-1": 7}, nil},
		}},
		{"silent for the whole span", []look{
			{0, map[string]int64{"data-1": 7}, nil},
			{silence - 1, map[string]int64{"data-1": 7}, nil},
			{1, map[string]int64{"data-1": 7}, []string{"data-1"}},
		}},
		{"a beat starts it anew", []look{
			{0, map[string]int64{"data-1": 7}, nil},
			{silence - 1, map[string]int64{"data-1": 7}, nil},
			{1, map[string]int64{"data-1": 8}, nil},
			{silence - 1, map[string]int64{"data-1": 8}, nil},
		}},
		{"an outage does not count", []look{
			{0, map[string]int64{"data-1": 7}, nil},
			{silence / 2, map[string]int64{"data-1": 7}, nil},
			{0, map[string]int64{"data-1": 7}, nil}, // the first answer after a minute of none
			{silence/2 - 1, map[string]int64{"data-1": 7}, nil},
		}},
		{"only those that are silent, in order", []look{
			{0, map[string]int64{"main-1": 1, "data-2": 2, "data-1": 3}, nil},
			{silence, map[string]int64{"main-1": 9, "data-2": 2, "data-1": 3}, []string{"data-1", "data-2"}},
			{1, map[string]int64{"main-1": 10}, nil},
		}},
		{"a node that returns has the full span", []look{
			{0, map[string]int64{"data-1": 7}, nil},
			{silence, map[string]int64{"data-1": 7}, []string{"data-1"}},
			{1, map[string]int64{}, nil},
			{silence, map[string]int64{"data-1": 9}, nil},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var s silences
			for i, l := range tc.looks {
				if diff := cmp.Diff(l.want, s.observe(l.answered, l.revisions)); diff != "" {
					t.Errorf("look %d (-want +got):\n%s", i+1, diff)
				}
			}
		})
	}
}
