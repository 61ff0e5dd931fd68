package e2e

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"devctl/internal/api"
)

// knocking asks the endpoint, each time over a new connection, for an answer of Redis: that it wants a password will do. An answer that
// takes longer than a tenth of a second is none, and the next knock is another try.
func knocking(ep api.EndpointStatus) func(context.Context, int) error {
	const patience = 100 * time.Millisecond
	return func(context.Context, int) error {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(ep.Address, strconv.Itoa(ep.Port)), patience)
		if err != nil {
			return errors.New("no connection")
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		answer := make([]byte, 64)
		_, _ = c.Write([]byte("PING\r\n"))
		if n, _ := c.Read(answer); !strings.HasPrefix(string(answer[:n]), "-NOAUTH") {
			return errors.New("no answer")
		}
		return nil
	}
}

// holders are the workers that have the virtual IP on an interface.
func holders(st api.Status) []string {
	var names []string
	for _, n := range st.Nodes {
		if n.Role != api.RoleWorker {
			continue
		}
		addresses, _ := exec.Command("docker", "exec", n.ID, "ip", "-oneline", "address", "show").Output() // none where nothing runs
		if strings.Contains(string(addresses), " "+st.Endpoint.Address+"/") {
			names = append(names, n.Name)
		}
	}
	return names
}

// oneHolder wants exactly one worker to have the virtual IP, all the while.
func oneHolder(t *testing.T, st api.Status, while time.Duration) {
	t.Helper()
	for end := time.Now().Add(while); time.Now().Before(end); {
		if names := holders(st); len(names) != 1 {
			t.Fatalf("the virtual IP is held by %v", names)
		}
	}
}
