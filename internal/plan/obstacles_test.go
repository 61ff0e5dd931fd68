package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

func TestObstacles(t *testing.T) {
	t.Parallel()
	base := deployment(2, 3, 3, 1)
	current := apply(nil, Assignments(base, nil))
	cases := map[string]struct {
		d       api.Deployment
		current []api.Assignment
		want    []string
	}{
		"the first deployment": {base, nil, nil},
		"the same again":       {base, current, nil},
		"nodes and replicas":   {deployment(3, 5, 3, 2), current, nil},
		"one node less":        {with(base, without("data-2")), current, nil},
		"more shards": {deployment(2, 3, 4, 1), current, []string{
			"the number of Redis shards cannot change from 3 to 4: the hash slots are spread over 3",
		}},
		"two nodes less": {deployment(2, 1, 3, 1), current, []string{
			"Redis shard 2 would lose every member it has (on data-2, data-3)",
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, Obstacles(tc.d, tc.current)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
