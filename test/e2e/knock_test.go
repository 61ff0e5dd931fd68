package e2e

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"devctl/internal/api"
)

// knocker asks the endpoint again and again, each time over a new connection, and remembers when it got an answer.
type knocker struct {
	mu      sync.Mutex
	answers []time.Time
}

// patience is how long one knock waits. An answer that takes longer is none: the next knock is another try.
const patience = 100 * time.Millisecond

// knock lets a knocker knock until the test ends. An answer is one of Redis, through the virtual IP and a load balancer: that it wants
// a password will do.
func knock(t *testing.T, ep api.EndpointStatus) *knocker {
	t.Helper()
	k := &knocker{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if answers(net.JoinHostPort(ep.Address, strconv.Itoa(ep.Port))) {
				k.mu.Lock()
				k.answers = append(k.answers, time.Now())
				k.mu.Unlock()
			}
			<-tick.C
		}
	}()
	k.heard(t, 10)
	return k
}

// answers tells whether a Redis answers at the address now.
func answers(address string) bool {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	answer := make([]byte, 64)
	n, _ := c.Read(answer)
	return strings.HasPrefix(string(answer[:n]), "-NOAUTH")
}

// heard waits until so many answers more have come.
func (k *knocker) heard(t *testing.T, more int) {
	t.Helper()
	count := func() int {
		k.mu.Lock()
		defer k.mu.Unlock()
		return len(k.answers)
	}
	begun := count()
	waitFor(t, "the endpoint answers", 20*time.Second, func() error {
		if n := count() - begun; n < more {
			return fmt.Errorf("%d answers", n)
		}
		return nil
	})
}

// within wants the endpoint to answer again after a fault, and that it never was away for longer. What is measured is the time
// between two answers, which is a bit more.
func (k *knocker) within(t *testing.T, bound time.Duration) {
	t.Helper()
	k.heard(t, 20)
	k.mu.Lock()
	defer k.mu.Unlock()
	var silence time.Duration
	for i := 1; i < len(k.answers); i++ {
		silence = max(silence, k.answers[i].Sub(k.answers[i-1]))
	}
	t.Logf("the endpoint was away for %v at most", silence.Round(time.Millisecond))
	if silence > bound {
		t.Errorf("the endpoint was away for %v, want at most %v", silence, bound)
	}
}

// holders are the workers that have the virtual IP on an interface.
func (s *stack) holders(t *testing.T, st api.Status) []string {
	t.Helper()
	var names []string
	for _, n := range st.Nodes {
		if n.Role == api.RoleWorker && strings.Contains(addresses(n.ID), " "+st.Endpoint.Address+"/") {
			names = append(names, n.Name)
		}
	}
	return names
}

// addresses lists a node's addresses; one that does not run has none.
func addresses(id string) string {
	out, _ := exec.Command("docker", "exec", id, "ip", "-oneline", "address", "show").Output()
	return string(out)
}

// oneHolder wants exactly one worker to have the virtual IP, for a while.
func (s *stack) oneHolder(t *testing.T, st api.Status, while time.Duration) {
	t.Helper()
	for end := time.Now().Add(while); time.Now().Before(end); {
		if names := s.holders(t, st); len(names) != 1 {
			t.Fatalf("the virtual IP is held by %v", names)
		}
	}
}
