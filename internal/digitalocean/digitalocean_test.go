package digitalocean_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/digitalocean"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/images/redis-1.tar.gz" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("layer ", 1<<20)) // more than Read takes
	}))
	defer s.Close()
	resp, err := digitalocean.Open(t.Context(), s.URL+"/images/redis-1.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if n, err := io.Copy(io.Discard, resp.Body); n != 6<<20 || err != nil {
		t.Errorf("%d bytes came, error %v", n, err)
	}
	if _, err := digitalocean.Open(t.Context(), s.URL+"/none"); err == nil || err.Error() != "403 Forbidden" {
		t.Errorf("error = %v, want 403 Forbidden", err)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/registry/mains.env":
			_, _ = io.WriteString(w, "DEVCTL_MAINS=x\n")
		case "/forbidden":
			w.WriteHeader(http.StatusForbidden)
		case "/broken":
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	for path, want := range map[string]struct {
		text  string
		found bool
		err   string
	}{
		"/registry/mains.env": {"DEVCTL_MAINS=x\n", true, ""},
		"/none":               {"", false, ""},
		"/forbidden":          {"", false, ""},
		"/broken":             {"", false, ": 503 Service Unavailable"},
	} {
		text, found, err := digitalocean.Read(t.Context(), s.URL+path)
		if text != want.text || found != want.found || (err == nil) != (want.err == "") || err != nil && !strings.HasSuffix(err.Error(), want.err) {
			t.Errorf("%s = %q, %v, %v", path, text, found, err)
		}
	}
}

func TestAssign(t *testing.T) {
	t.Parallel()
	status, answer := http.StatusCreated, `{"action":{"id":1,"status":"in-progress"}}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var got map[string]any
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(map[string]any{"type": "assign", "droplet_id": float64(412345678)}, got); d != "" {
			t.Errorf("order (-want +got):\n%s", d)
		}
		if r.Method != http.MethodPost || r.URL.Path != "/v2/reserved_ips/203.0.113.9/actions" || r.Header.Get("Authorization") != "Bearer t0ken" {
			t.Errorf("%s %s with %q", r.Method, r.URL.Path, r.Header.Get("Authorization"))
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	defer s.Close()
	client := digitalocean.Client{API: s.URL, Token: "t0ken"}
	if err := client.Assign(t.Context(), "203.0.113.9", "412345678"); err != nil {
		t.Error(err)
	}
	status, answer = http.StatusUnprocessableEntity, `{"id":"unprocessable_entity","message":"The reserved IP already has a pending event."}`
	for droplet, want := range map[string]string{
		"412345678": "422 Unprocessable Entity: The reserved IP already has a pending event.",
		"i-0123":    `strconv.ParseInt: parsing "i-0123": invalid syntax`,
	} {
		err := client.Assign(t.Context(), "203.0.113.9", droplet)
		if want = "assign the reserved IP 203.0.113.9 to droplet " + droplet + ": " + want; err == nil || err.Error() != want {
			t.Errorf("error = %v\nwant    %s", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "t0ken") {
			t.Errorf("the error quotes the token: %v", err)
		}
	}
}
