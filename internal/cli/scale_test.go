package cli

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
	"devctl/stacks"
)

// newScaleWorld is a stack on AWS with two workers, to which others come, and from which they go, some polls after that was asked.
func newScaleWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.write("stacks/Pulumi.prod.yaml", exampleSpecs[stacks.ProviderAWS])
	w.environ["DEVCTL_STACK"] = "prod"
	w.cluster.statuses, w.env.outputs = []api.Status{statusWithWorkers(2)}, withConfigs(testConfigs)
	w.cluster.scale = func(count int) (api.WorkersResponse, error) {
		before := 0
		for _, n := range w.cluster.statuses[0].Nodes {
			if n.Role == api.RoleWorker {
				before++
			}
		}
		slow := w.cluster.statuses[0]
		w.cluster.statuses = []api.Status{slow, slow, statusWithWorkers(count)}
		var ended []string
		for i := count; i < before; i++ {
			ended = append(ended, fmt.Sprintf("i-%d", i))
		}
		return api.WorkersResponse{Before: before, Ended: ended}, nil
	}
	return w
}

func statusWithWorkers(count int) api.Status {
	st := testStatus()
	var nodes []api.NodeStatus
	for _, n := range st.Nodes {
		if n.Role != api.RoleWorker {
			nodes = append(nodes, n)
		}
	}
	for i := range count {
		nodes = append(nodes, api.NodeStatus{Name: fmt.Sprintf("worker-0000000%d", i), Role: api.RoleWorker, State: api.NodeReady})
	}
	st.Nodes = nodes
	return st
}

func TestScale(t *testing.T) {
	t.Parallel()
	w := newScaleWorld(t)
	for _, tc := range []struct{ count, want string }{
		{"4", "12:00:00 Scaling stack prod from 2 to 4 workers\n12:00:00 Stack prod has 4 workers in 0.0s\n"},
		{"4", "12:00:00 Stack prod has 4 workers already\n12:00:00 Stack prod has 4 workers in 0.0s\n"},
		{"2", "12:00:00 Scaling stack prod from 4 to 2 workers\n12:00:00 AWS ends i-2, i-3\n12:00:00 Stack prod has 2 workers in 0.0s\n"},
	} {
		r := w.run("scale", "worker", tc.count).want(t, 0)
		if d := cmp.Diff(tc.want, r.err); d != "" {
			t.Errorf("to %s (-want +got):\n%s", tc.count, d)
		}
	}
	if d := cmp.Diff([]int{4, 4, 2}, w.cluster.scaled); d != "" {
		t.Error(d)
	}
}

func TestScaleInVain(t *testing.T) {
	t.Parallel()
	w := newScaleWorld(t)
	w.cluster.scale = func(int) (api.WorkersResponse, error) {
		return api.WorkersResponse{}, &api.Error{Status: 502, Message: "the cloud refuses: no", Hint: "Try again."}
	}
	w.run("scale", "worker", "4").want(t, 1, "the cloud refuses: no", "Try again.")

	w = newScaleWorld(t)
	w.cluster.scale = func(int) (api.WorkersResponse, error) { return api.WorkersResponse{Before: 2}, nil }
	w.cluster.statuses[0].Problems = []string{"2 of at least 3 workers are there"}
	w.run("scale", "worker", "3", "--timeout", "1ms").want(t, 1, "waited 1ms until there are 3 and the stack is healthy", "2 of at least 3 workers are there", "next: devctl -s prod status")

	w = newScaleWorld(t)
	w.cluster.scale = func(int) (api.WorkersResponse, error) { return api.WorkersResponse{Before: 2}, nil }
	ctx, interrupt := context.WithCancel(t.Context())
	w.cluster.onStatus = func(asked int) {
		if asked == 2 {
			interrupt()
		}
	}
	w.runContext(ctx, "scale", "worker", "3").want(t, 130, "cancelled: AWS goes on", "next: devctl -s prod status --watch")
}

func TestScaleRefuses(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"worker":      "COUNT is missing",
		"worker many": `"many" is no number of workers`,
		"worker 1":    `stack "prod" may have 2 to 6 workers, not 1 (devctl:nodes.worker.min and max)`,
		"worker 7":    `stack "prod" may have 2 to 6 workers, not 7`,
		"wroker 3":    `there are no nodes of role "wroker"; did you mean "worker"? (use worker)`,
	} {
		w := newScaleWorld(t)
		w.run(strings.Fields("scale "+args)...).want(t, 2, want, "next: devctl scale --help")
		if len(w.cluster.scaled) > 0 {
			t.Errorf("%s: the controllers were asked", args)
		}
	}
	w := newScaleWorld(t)
	w.run("scale", "data", "4").want(t, 1, "the number of data nodes is in the spec: devctl:nodes.data.count", "next: change it there, then devctl -s prod up")
	w.environ["DEVCTL_STACK"] = "local"
	w.run("scale", "worker", "3").want(t, 1, `the number of workers of stack "local" is in the spec: devctl:nodes.worker.min`, "next: change it there, then devctl up")
	w.write("stacks/Pulumi.sea.yaml", exampleSpecs[stacks.ProviderDigitalOcean])
	w.environ["DEVCTL_STACK"] = "sea"
	w.run("scale", "worker", "3").want(t, 1, "set that of devctl-sea-worker at DigitalOcean")
}
