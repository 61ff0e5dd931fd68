package controller

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

// fakeWorkers is a group that does what it is told, and remembers it.
type fakeWorkers struct {
	mu       sync.Mutex
	machines []string
	wanted   int
	asked    []string
	refuse   error
}

func (f *fakeWorkers) Machines(context.Context) ([]string, int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.machines), f.wanted, f.refuse
}

func (f *fakeWorkers) Resize(_ context.Context, count int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted, f.asked = count, append(f.asked, fmt.Sprintf("resize %d", count))
	return nil
}

func (f *fakeWorkers) End(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if id == "i-stuck" {
		return errors.New("i-stuck is protected")
	}
	f.machines = slices.DeleteFunc(f.machines, func(m string) bool { return m == id })
	f.wanted, f.asked = f.wanted-1, append(f.asked, "end "+id)
	return nil
}

func TestScaleWorkers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		machines []string
		wanted   int
		count    int
		asked    []string
		answer   api.WorkersResponse
		fails    string
	}{
		"as many":                         {[]string{"i-1", "i-2"}, 2, 2, nil, api.WorkersResponse{Before: 2, Ended: []string{}}, ""},
		"more":                            {[]string{"i-1", "i-2"}, 2, 4, []string{"resize 4"}, api.WorkersResponse{Before: 2, Ended: []string{}}, ""},
		"fewer":                           {[]string{"i-1", "i-2", "i-3"}, 3, 2, []string{"end i-1"}, api.WorkersResponse{Before: 3, Ended: []string{"i-1"}}, ""},
		"fewer, and not all there yet":    {[]string{"i-1", "i-2"}, 4, 2, []string{"resize 2"}, api.WorkersResponse{Before: 4, Ended: []string{}}, ""},
		"fewer, and one came meanwhile":   {[]string{"i-1", "i-2", "i-3"}, 5, 2, []string{"end i-1", "resize 2"}, api.WorkersResponse{Before: 5, Ended: []string{"i-1"}}, ""},
		"one more for a while":            {[]string{"i-1", "i-2", "i-3"}, 2, 2, nil, api.WorkersResponse{Before: 2, Ended: []string{}}, ""},
		"fewer, and one more for a while": {[]string{"i-1", "i-2", "i-3", "i-4"}, 3, 2, []string{"end i-1"}, api.WorkersResponse{Before: 3, Ended: []string{"i-1"}}, ""},
		"one that does not end":           {[]string{"i-2", "i-3", "i-stuck"}, 3, 1, nil, api.WorkersResponse{}, "i-stuck is protected"},
	} {
		group := &fakeWorkers{machines: tc.machines, wanted: tc.wanted}
		s := wholeState()
		if tc.fails != "" { // the one that nothing depends on
			s.nodes = append(s.nodes, api.NodeRecord{ID: "i-2"}, api.NodeRecord{ID: "i-3"})
		}
		answer, err := scale(t.Context(), group, s, tc.count)
		if tc.fails != "" {
			if err == nil || err.Error() != tc.fails || slices.Contains(group.asked, "resize 1") {
				t.Errorf("%s: error is %v, and the group was told to %v", name, err, group.asked)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(tc.asked, group.asked); d != "" {
			t.Errorf("%s: the group was told otherwise (-want +got):\n%s", name, d)
		}
		if d := cmp.Diff(tc.answer, answer); d != "" {
			t.Errorf("%s: answer (-want +got):\n%s", name, d)
		}
		if again, err := scale(t.Context(), group, s, tc.count); err != nil || again.Before != tc.count || len(again.Ended) > 0 {
			t.Errorf("%s: again: %+v %v", name, again, err)
		}
	}
}

// TestPutWorkers asks by the API: as the deployment is that of fixed workers, then of elastic ones.
func TestPutWorkers(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	group := &fakeWorkers{machines: []string{"i-1", "i-2"}, wanted: 2}
	c.workers = group
	c.control(1, wholeRedis())
	cli := c.admin()
	refused := func(when string, count, status int, message string) {
		t.Helper()
		_, err := cli.Workers(t.Context(), api.WorkersRequest{Count: count})
		var refusal *api.Error
		if !errors.As(err, &refusal) || refusal.Status != status || refusal.Message != message {
			t.Errorf("%s: %v, want %d %s", when, err, status, message)
		}
	}
	refused("before a deployment", 3, http.StatusConflict, "nothing is deployed yet, so what workers are for is not known")
	deploy := func(d api.Deployment) {
		t.Helper()
		if _, err := cli.Deploy(t.Context(), api.DeployRequest{Deployment: d, Secrets: testSecrets}); err != nil {
			t.Fatal(err)
		}
	}
	deploy(elasticDeployment())
	refused("too few", 1, http.StatusBadRequest, "1 workers are fewer than the 2 that the deployment needs")
	answer, err := cli.Workers(t.Context(), api.WorkersRequest{Count: 3})
	if d := cmp.Diff(api.WorkersResponse{Before: 2, Ended: []string{}}, answer); d != "" || err != nil {
		t.Errorf("answer: %v (-want +got):\n%s", err, d)
	}
	if d := cmp.Diff([]string{"resize 3"}, group.asked); d != "" {
		t.Error(d)
	}
	group.mu.Lock()
	group.refuse = errors.New("AccessDenied")
	group.mu.Unlock()
	refused("a cloud that refuses", 3, http.StatusBadGateway, "the cloud refuses: AccessDenied")
	deploy(testDeployment(2, 3))
	refused("fixed workers", 3, http.StatusConflict, `no controller of stack "test" can change the number of its workers`)
}
