package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"devctl/internal/api"
	"devctl/internal/aws"
	"devctl/internal/digitalocean"
	"devctl/internal/endpoint"
	"devctl/internal/metadata"
)

// moving stands for a cloud with one address: the API moves it, and the metadata service says so a question later.
type moving struct {
	t  *testing.T
	mu sync.Mutex

	moved, asked int
	refuse       int // so many times
}

func (m *moving) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	say := func(text string) { _, _ = io.WriteString(w, text) }
	here := func() bool {
		m.asked++
		return m.moved > 0 && m.asked > 1
	}
	move := func(status int) {
		if m.refuse > 0 {
			m.refuse--
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		m.moved, m.asked = m.moved+1, 0
		w.WriteHeader(status)
	}
	switch r.URL.Path {
	case "/latest/api/token":
		say("token")
	case "/latest/meta-data/mac":
		say("0e")
	case "/latest/meta-data/network/interfaces/macs/0e/interface-id":
		say("eni-1")
	case "/latest/meta-data/iam/security-credentials/":
		say("worker")
	case "/latest/meta-data/iam/security-credentials/worker":
		say(`{"Code":"Success","AccessKeyId":"A","SecretAccessKey":"S","Token":"T"}`)
	case "/latest/meta-data/public-ipv4":
		if !here() {
			say("198.51.100.7")
			return
		}
		say("203.0.113.9")
	case "/": // EC2
		if err := r.ParseForm(); err != nil || r.Form.Get("NetworkInterfaceId") != "eni-1" || r.Form.Get("AllocationId") != "eipalloc-1" {
			m.t.Errorf("EC2 is asked for %v, %v", r.Form, err)
		}
		move(http.StatusOK)
	case "/metadata/v1/reserved_ip/ipv4/active":
		if here() {
			say("true")
		} else {
			say("false")
		}
	case "/metadata/v1/reserved_ip/ipv4/ip_address":
		say("203.0.113.9")
	case "/v2/reserved_ips/203.0.113.9/actions":
		move(http.StatusCreated)
	default:
		m.t.Errorf("nobody serves %s", r.URL.Path)
	}
}

// TestClaim gets the address with the real clients: refused at first, then moved, then confirmed.
func TestClaim(t *testing.T) {
	t.Parallel()
	for name, cloud := range map[string]func(base string) endpoint.Cloud{
		"aws": func(base string) endpoint.Cloud {
			return elasticIP{aws.Client{Metadata: metadata.AWS{Base: base}, Region: "eu-central-1", Endpoint: func(string) string { return base }}, "eipalloc-1"}
		},
		"digitalocean": func(base string) endpoint.Cloud {
			return reservedIP{metadata.DigitalOcean{Base: base}, digitalocean.Client{API: base, Token: "t0ken"}, "203.0.113.9", "412345678"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			there := &moving{t: t, refuse: 1}
			server := httptest.NewServer(there)
			defer server.Close()
			file := filepath.Join(t.TempDir(), "endpoint")
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			done := make(chan error, 1)
			go func() {
				done <- endpoint.Keeper{Address: "203.0.113.9", Cloud: cloud(server.URL), File: file, Log: slog.New(slog.DiscardHandler)}.Hold(ctx)
			}()
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for endpoint.Held(file) == "" {
				select {
				case err := <-done:
					t.Fatalf("it ended with %v", err)
				case <-tick.C:
				}
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
			if there.moved != 1 || there.refuse != 0 {
				t.Errorf("moved %d times, refusals left %d", there.moved, there.refuse)
			}
		})
	}
}

func TestReservedIPWithoutDroplet(t *testing.T) {
	t.Parallel()
	if err := (reservedIP{}).Move(t.Context()); err == nil || err.Error() != "this droplet has no ID yet" {
		t.Errorf("error = %v", err)
	}
}

// TestMarked puts keepalived's mark on the loopback interface and takes it away.
func TestMarked(t *testing.T) {
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	is := func(want bool) {
		t.Helper()
		if got, err := marked(); got != want || err != nil {
			t.Errorf("marked is %v, %v, want %v", got, err, want)
		}
	}
	if !net.ParseIP(api.EndpointMarker).IsLinkLocalUnicast() {
		t.Errorf("%s is an address that leads somewhere", api.EndpointMarker)
	}
	is(false)
	ip("address", "add", api.EndpointMarker+"/32", "dev", "lo", "scope", "host")
	t.Cleanup(func() { _ = exec.Command("ip", "address", "del", api.EndpointMarker+"/32", "dev", "lo").Run() })
	is(true)
	ip("address", "del", api.EndpointMarker+"/32", "dev", "lo")
	is(false)
}

func TestEndpointEnvironment(t *testing.T) {
	t.Parallel()
	env := map[string]string{keyStack: "s", keyNode: "worker-0aaaaaaa", keyRole: "worker", keyZone: "z", keyAddress: "10.0.0.1", keyMains: "main-1=10.0.0.2"}
	log := slog.New(slog.DiscardHandler)
	for _, want := range []string{
		"DEVCTL_ENDPOINT is missing: /etc/devctl/services/devctl-endpoint.service/endpoint.env says which address this is about",
		`DEVCTL_PLATFORM is "": there keepalived moves the address alone`,
	} {
		if err := runEndpoint(t.Context(), from(env), log); err == nil || err.Error() != want {
			t.Errorf("error = %v, want %s", err, want)
		}
		env[endpoint.KeyAddress] = "203.0.113.9"
	}
}
