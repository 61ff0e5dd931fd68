package cli

import (
	"context"
	"errors"
	"strings"
	"testing"

	"devctl/internal/api"
)

func deploying(seen int) api.Status {
	st := testStatus()
	st.Healthy, st.Settled = false, false
	st.Nodes = st.Nodes[:seen]
	st.Redis = api.RedisStatus{State: "forming"}
	return st
}

func TestDeployFollowsUntilSettled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.changed = true
	starting := deploying(8)
	starting.Nodes[5].Units[2] = api.UnitStatus{Name: "redis-1.service", Active: "activating", Sub: "start"}
	starting.Nodes[5].State = "degraded"
	w.cluster.statuses = []api.Status{deploying(6), starting, deploying(8), testStatus()}
	w.cluster.events = []api.Event{
		{Seq: 6, Message: "of an earlier deployment"},
		{Seq: 8, Node: "data-1", Unit: "redis-1.service", Message: "assigned"},
		{Seq: 9, Level: "warning", Message: "slow"},
	}
	r := w.run("deploy").want(t, 0,
		"Deploying on stack local\n", "12:00:00 data-1 redis-1.service: assigned\n", "warning: slow\n",
		"main-1: ready, 4/4 units ready\n", "data-1: degraded, 3/4 units ready, waiting for redis-1 (activating)\n",
		"Deployed on stack local in 0.0s\n")
	if strings.Contains(r.err, "earlier") {
		t.Errorf("events of an earlier deployment are shown:\n%s", r.err)
	}
	if len(w.cluster.deploys) != 1 {
		t.Fatalf("%d deployments", len(w.cluster.deploys))
	}
	req := w.cluster.deploys[0]
	if req.Secrets[api.SecretRedisApp] != "app-secret" || len(req.Deployment.Nodes) != 8 || !strings.HasPrefix(req.Deployment.Images.Redis, "localhost/devctl/redis:") {
		t.Errorf("request %+v", req.Deployment)
	}
}

func TestDeployWithNothingToChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.statuses = []api.Status{testStatus()}
	w.run("deploy").want(t, 0, "No changes: deployment rev1 of stack local runs.\n")
}

func TestDeployThatDoesNotSettle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.changed = true
	w.cluster.statuses = []api.Status{brokenStatus()}
	r := w.run("deploy", "--timeout", "50ms").want(t, 1)
	_, message, _ := strings.Cut(r.err, "error: ")
	golden(t, "deploy-timeout.txt", message)
}

func TestDeployThatIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.refuse = &api.Error{Status: 426, Message: "devctl is too old", Hint: "Upgrade devctl."}
	w.run("deploy").want(t, 1, `error: deploy on stack "local": devctl is too old`, "Upgrade devctl.", "next: ")
}

func TestDeployInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.cluster.changed = true
	w.cluster.statuses = []api.Status{brokenStatus()}
	w.cluster.onStatus = func(asked int) {
		if asked == 3 {
			cancel()
		}
	}
	w.runContext(ctx, "deploy").want(t, 130, "cancelled: interrupted", "next: the controllers go on by themselves: devctl status --watch")
}

func TestWaitingFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deps.global.dir, w.deps.global.stack = w.dir, "local"
	spec, err := w.deps.spec()
	if err != nil {
		t.Fatal(err)
	}
	busy := deploying(8)
	busy.Nodes[5].Units[2] = api.UnitStatus{Name: "redis-1.service", Active: "activating"}
	noHolder := testStatus()
	noHolder.Endpoint.Holder = ""
	problem := testStatus()
	problem.Problems = []string{"A replica is not in sync."}
	for want, st := range map[string]api.Status{
		"data-2, data-3 to join":                               deploying(6),
		"redis-1 (activating) on data-1":                       busy,
		"the Redis cluster to form: forming, 0 of 16384 slots": deploying(8),
		"a worker to take the endpoint's address":              noHolder,
		"this to be over: A replica is not in sync.":           problem,
		"the controllers to settle":                            testStatus(),
	} {
		if got := waitingFor(spec, st); got != want {
			t.Errorf("waiting for %q, want %q", got, want)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.changed = true
	w.cluster.statuses = []api.Status{testStatus()}
	for _, args := range [][]string{
		{"up", "--yes"}, {"deploy"}, {"status"}, {"status", "-o", "yaml"}, {"outputs"}, {"outputs", "-o", "json"}, {"outputs", "-o", "yaml"},
		{"version"}, {"preview"}, {"preview", "-o", "json"}, {"render", "ignition"}, {"render", "ignition", "--node", "main-1"},
		{"render", "butane", "--node", "main-1"}, {"render", "units"}, {"doctor"}, {"stack", "ls"}, {"destroy", "--yes"},
	} {
		r := w.run(args...).want(t, 0)
		for _, secret := range []string{"app-secret", "stats-secret", "admin-secret", "replication-secret", "check-secret", "admin-key-secret"} {
			if strings.Contains(r.out+r.err, secret) {
				t.Errorf("devctl %s prints %s:\n%s%s", strings.Join(args, " "), secret, r.out, r.err)
			}
		}
	}
}

func TestDeployWithoutAnyController(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.refuse = errors.Join(errors.New("deploy: no controller answered: ask 198.18.0.11:9443: connection refused"), context.DeadlineExceeded)
	w.run("deploy", "--timeout", "1ns").want(t, 1, "not ready after 1ns", "198.18.0.11:9443: connection refused",
		"next: devctl logs devctl-controller and devctl logs etcd show why; then devctl deploy")
}
