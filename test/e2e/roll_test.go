package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"devctl/internal/api"
	"devctl/internal/pki"
)

// unserved is the longest that clients may go without being served during a roll.
const unserved = 2 * time.Second

// TestRoll replaces all machines one after the other, disks and all, under clients; then stops at one that does not come back, and goes on.
func TestRoll(t *testing.T) {
	s := newStack(t, "e2eroll", "198.18.93.0/24")
	s.must(t, 15*time.Minute, "up", "--yes")
	before := s.status(t)
	writeAndReadBack(t, s.client(t), "before")

	t.Run("all nodes, one by one", func(t *testing.T) {
		l := &ledger{c: s.client(t), prefix: "roll-"}
		confirmed := startTraffic(t, "a writer that waits for replicas", l.set)
		clients := []*traffic{startTraffic(t, "newcomers", arriving(s.outputs(t, "--show-secrets")))}
		for i, shard := range before.Redis.Shards { // or one that is out of reach would not be missed
			c := s.client(t)
			prefix := shardKey(t, c, "rolled", shard.Primary.Address)
			clients = append(clients, startTraffic(t, fmt.Sprint("who writes and reads in shard ", i+1), settingAndGetting(c, prefix)))
		}
		elections, health := s.watchElections(t), s.watchHealth(t)

		s.allowKey(t, "one")
		up := s.must(t, 10*time.Minute, "up", "--yes")
		t.Logf("up printed:\n%s%s", up.stdout, up.stderr)

		after := s.status(t)
		checkStatus(t, after, 8)
		for _, was := range before.Nodes {
			if is := node(t, after, was.Name); is.ID == was.ID {
				t.Errorf("%s was not replaced", was.Name)
			}
		}
		for _, c := range clients {
			c.stop(t, unserved)
		}
		confirmed.end()
		l.check(t)
		elections.check(t)
		health.check(t)
		readBack(t, s.client(t), "before")
		writeAndReadBack(t, s.client(t), "after")
	})

	t.Run("it stops at the first node that does not come back", func(t *testing.T) {
		was := s.status(t)
		s.allowKey(t, "two")
		p := s.start(t, "up", "--yes")
		broken := node(t, was, "data-2")
		p.until("data-2 is another machine", 5*time.Minute, func() bool {
			ids := s.machines(t, "data-2")
			return len(ids) == 1 && !strings.HasPrefix(ids[0], broken.ID) && exec.Command("docker", "kill", ids[0]).Run() == nil
		})
		p.end(3*time.Minute, 1, "up failed", "data-2", "next: ")
		t.Logf("up printed:\n%s", &p.said)
		stays := node(t, was, "data-3")
		if ids := s.machines(t, "data-3"); len(ids) != 1 || !strings.HasPrefix(ids[0], stays.ID) {
			t.Errorf("data-3 is %v, was %s", ids, stays.ID)
		}
		readBack(t, s.client(t), "before")

		s.must(t, 10*time.Minute, "up", "--yes")
		after := s.status(t)
		checkStatus(t, after, 8)
		if is := node(t, after, "data-3"); is.ID == stays.ID {
			t.Error("the next up did not go on with data-3")
		}
		readBack(t, s.client(t), "before")
	})
}

// allowKey puts another SSH key into the spec, and so into every machine's configuration.
func (s *stack) allowKey(t *testing.T, comment string) {
	t.Helper()
	spec, _, _ := strings.Cut(s.read(t, s.specFile()), "  devctl:sshKeys:\n")
	s.write(t, s.specFile(), spec+"  devctl:sshKeys:\n"+
		"    - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEdMSLPTUMkVJ1lnCNwJ5eMAJQ7dYqR7/wL0kJ2FZKqv "+comment+"\n")
}

// machines lists the containers of a node that run.
func (s *stack) machines(t *testing.T, name string) []string {
	t.Helper()
	return strings.Fields(docker(t, "ps", "--quiet", "--no-trunc", "--filter", "label=devctl.stack="+s.name, "--filter", "label=devctl.node="+name))
}

// arriving is one new client after the other, each with a connection of its own through the virtual IP, and no second try.
func arriving(o outputs) func(context.Context, int) error {
	return func(ctx context.Context, _ int) error {
		c := redis.NewClient(&redis.Options{
			Addr: fmt.Sprintf("%s:%d", o.Redis.Address, o.Redis.Port), Username: o.Redis.Username, Password: o.Redis.Password,
			MaxRetries: -1, DialTimeout: 500 * time.Millisecond, DialerRetries: 1, ReadTimeout: 500 * time.Millisecond,
		})
		defer c.Close()
		time.Sleep(50 * time.Millisecond) // their pace: they are not the load
		return c.Ping(ctx).Err()
	}
}

// elections are the takeovers among the Redis members of a stack, as these log them.
type elections struct {
	mu                 sync.Mutex
	ordered, unordered []string
}

var redisUnit = regexp.MustCompile(`redis-\d+`)

// watchElections reads the logs of all data nodes, those that come included, until the test ends.
func (s *stack) watchElections(t *testing.T) *elections {
	t.Helper()
	e := &elections{}
	ctx, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	t.Cleanup(func() { cancel(); reading.Wait() })
	reading.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		read := map[string]bool{}
		for ctx.Err() == nil {
			out, _ := exec.CommandContext(ctx, "docker", "ps", "--quiet", "--filter", "label=devctl.stack="+s.name, "--filter", "label=devctl.role=data").Output()
			for _, id := range strings.Fields(string(out)) {
				if !read[id] {
					read[id] = true
					reading.Go(func() { e.read(ctx, id) })
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return e
}

// read follows the log of one node from its beginning. A member that takes over because it was told to says so before.
func (e *elections) read(ctx context.Context, id string) {
	for found := false; !found && ctx.Err() == nil; { // a machine that boots has no log yet
		cmd := exec.CommandContext(ctx, "docker", "exec", id, "sh", "-c", // journalctl does not follow a log that is not there yet
			"until journalctl --quiet --lines=1 | grep -q .; do sleep 0.1; done; exec journalctl --follow --no-tail --output=short-iso-precise")
		log, err := cmd.StdoutPipe()
		if err != nil || cmd.Start() != nil {
			return
		}
		told := map[string]bool{} // by unit
		for lines := bufio.NewScanner(log); lines.Scan(); found = true {
			line := lines.Text()
			unit := redisUnit.FindString(line)
			switch {
			case strings.Contains(line, "Manual failover user request accepted"):
				told[unit] = true
			case strings.Contains(line, "Failover election won"):
				e.mu.Lock()
				if told[unit] {
					e.ordered = append(e.ordered, line)
				} else {
					e.unordered = append(e.unordered, line)
				}
				e.mu.Unlock()
				told[unit] = false
			}
		}
		_ = cmd.Wait() // it ends with the machine
		if exec.CommandContext(ctx, "docker", "inspect", id).Run() != nil {
			return
		}
	}
}

// check wants every primary to have been handed over, and none to have been missed first.
func (e *elections) check(t *testing.T) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	t.Logf("%d primaries were handed over, %d were missed first", len(e.ordered), len(e.unordered))
	if len(e.unordered) > 0 || len(e.ordered) < 3 { // each data node has a primary when its turn comes
		t.Errorf("handed over:\n%s\nmissed first:\n%s", strings.Join(e.ordered, "\n"), strings.Join(e.unordered, "\n"))
	}
}

// health is what the controllers say of a stack, again and again.
type health struct {
	mu   sync.Mutex
	seen []api.Status
}

// watchHealth asks the controllers directly, as an admin, until the test ends.
func (s *stack) watchHealth(t *testing.T) *health {
	t.Helper()
	st := s.status(t)
	main := node(t, st, "main-1")
	file := func(name string) string { return docker(t, "exec", main.ID, "cat", api.PKIDir+"/"+name) + "\n" }
	ca := pki.Pair{Cert: file("ca.crt"), Key: file("ca.key")}
	admin, err := ca.Issue(pki.Profile{CommonName: "admin", Organization: "devctl:admin", Client: true, Validity: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	config, err := pki.ClientTLS(ca.Cert, admin)
	if err != nil {
		t.Fatal(err)
	}
	var controllers []string
	for _, n := range st.Nodes {
		if n.Role == api.RoleMain {
			controllers = append(controllers, fmt.Sprintf("%s:%d", n.Address, api.ControllerPort))
		}
	}
	c := api.NewClient(controllers, config)
	h := &health{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended; c.Close() })
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if st, err := c.Status(ctx); err == nil {
				h.mu.Lock()
				h.seen = append(h.seen, st)
				h.mu.Unlock()
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	return h
}

// check wants the stack to have been healthy between any two machines of a role.
func (h *health) check(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	machines, whole := map[string]string{}, map[api.Role]bool{}
	var order []string
	for _, st := range h.seen {
		healthy := st.Healthy && len(st.Nodes) == 8 && st.Etcd.Healthy == 3 && st.Redis.State == "ok" && st.Redis.SlotsAssigned == 16384 &&
			st.Redis.Primaries == 3 && st.Redis.Replicas == 3 && st.Endpoint.Holder != ""
		for _, n := range st.Nodes {
			if was, known := machines[n.Name]; known && was != n.ID {
				if !whole[n.Role] {
					t.Errorf("%s was replaced and the stack not healthy since the %s node before", n.Name, n.Role)
				}
				order, whole[n.Role] = append(order, n.Name), false
			}
			machines[n.Name] = n.ID
		}
		if healthy {
			for _, role := range api.Roles() {
				whole[role] = true
			}
		}
	}
	t.Logf("%d looks, order of the roll: %s", len(h.seen), strings.Join(order, ", "))
	if len(order) != 8 || !slices.IsSortedFunc(order, func(a, b string) int {
		if a[0] != b[0] {
			return 0 // of different roles
		}
		return strings.Compare(a, b)
	}) {
		t.Errorf("the roll went %v", order)
	}
}
