package e2e

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"devctl/internal/api"
)

// TestGroupsKeepTheirSize: a node that is killed or removed, whatever it does, is back by itself, in its zone, and the stack is healthy
// as before. No devctl works on the stack meanwhile; destroy takes along what did.
func TestGroupsKeepTheirSize(t *testing.T) {
	s := newStack(t, "e2eheal", "198.18.96.0/24")
	s.must(t, 15*time.Minute, "up", "--yes")
	st := s.status(t)
	checkStatus(t, st, 8)
	writeAndReadBack(t, s.client(t), "before")

	kill := func(id string) { docker(t, "kill", id) }
	remove := func(id string) { docker(t, "rm", "--force", id) } // and not its disks
	otherWorker := func(st api.Status) string {
		if st.Endpoint.Holder == "worker-1" {
			return "worker-2"
		}
		return "worker-1"
	}
	holder := func(st api.Status) string { return st.Endpoint.Holder }
	primary := func(st api.Status) string { return st.Redis.Shards[0].Primary.Node }
	leader := func(st api.Status) string { return st.Etcd.Leader }
	for _, fault := range []struct {
		name   string
		node   func(api.Status) string
		inject func(id string)
		anew   bool // it comes back as another machine
	}{
		{"the holder of the virtual IP is killed", holder, kill, false},
		{"a worker is removed", otherWorker, remove, true},
		{"the node of a primary is killed", primary, kill, false},
		{"the node of a primary is removed", primary, remove, true},
		{"the leader of etcd is killed", leader, kill, false},
		{"the leader of etcd is removed", leader, remove, true},
	} {
		t.Run(fault.name, func(t *testing.T) {
			before := s.status(t)
			was := node(t, before, fault.node(before))
			fault.inject(was.ID)
			injected := time.Now()
			after := s.waitStatus(t, "the stack is healthy again", 2*time.Minute, healedSince(was.Name, injected))
			t.Logf("%s: healthy again within %v", was.Name, time.Since(injected).Round(100*time.Millisecond))
			checkStatus(t, after, 8)
			is := node(t, after, was.Name)
			if is.Zone != was.Zone || is.Address != was.Address {
				t.Errorf("%s is in zone %s at %s, was in %s at %s", was.Name, is.Zone, is.Address, was.Zone, was.Address)
			}
			if anew := is.ID != was.ID; anew != fault.anew {
				t.Errorf("another machine: %v, want %v", anew, fault.anew)
			}
			if ids := strings.Fields(docker(t, "ps", "--all", "--quiet", "--filter", "label=devctl.stack="+s.name, "--filter", "label=devctl.node="+was.Name)); len(ids) != 1 {
				t.Errorf("there are the containers %v of %s, want one", ids, was.Name)
			}
		})
	}
	readBack(t, s.client(t), "before")

	again := s.must(t, time.Minute, "up", "--yes")
	if !strings.Contains(again.stdout, "No changes") {
		t.Errorf("after all nodes are back, up does not say that there is nothing to change:\n%s%s", again.stdout, again.stderr)
	}
	s.must(t, 3*time.Minute, "destroy", "--yes")
	if left := s.labelled(t); len(left) > 0 {
		t.Errorf("destroy left %v", left)
	}
}

// healedSince wants the stack healthy, with the node heard of after the moment, and enough of everything.
func healedSince(name string, moment time.Time) func(api.Status) bool {
	return func(st api.Status) bool {
		heard := false
		for _, n := range st.Nodes {
			heard = heard || n.Name == name && n.LastHeartbeat.After(moment) && n.State == "ready"
		}
		return heard && st.Healthy && st.Settled && st.Etcd.Healthy == 3
	}
}

// TestNoSupervisorWithoutSocket: where Docker's socket cannot be handed on, up works, and says what does not.
func TestNoSupervisorWithoutSocket(t *testing.T) {
	t.Parallel()
	address := newFront(t).overTCP() // before the stack, which is destroyed through it when the test ends
	s := newStack(t, "e2eheal", "198.18.96.0/24")
	s.env = append(s.env, "DOCKER_HOST="+address)
	const off = "self-healing of machines is off: Docker is at tcp://127.0.0.1:"
	if up := s.must(t, 15*time.Minute, "up", "--yes"); !strings.Contains(up.stderr, off) {
		t.Errorf("up does not say %q:\n%s", off, up.stderr)
	}
	if doctor := s.run(t, time.Minute, "doctor"); !strings.Contains(doctor.stdout, off) {
		t.Errorf("doctor does not say %q:\n%s", off, doctor.stdout)
	}
	if out, err := exec.Command("docker", "inspect", "devctl-"+s.name+"-supervisor").CombinedOutput(); err == nil {
		t.Errorf("there is a supervisor:\n%s", out)
	}
}
