package api

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/pki"
	"devctl/internal/version"
)

// authority is a stack's authority with what both sides of a connection need.
type authority struct {
	pki.Pair
	client *tls.Config
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	ca, err := pki.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	admin, err := ca.Issue(pki.Profile{CommonName: "admin", Organization: "devctl:admin", Client: true}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	config, err := pki.ClientTLS(ca.Cert, admin)
	if err != nil {
		t.Fatal(err)
	}
	return authority{ca, config}
}

// serve runs a controller and returns its address.
func (a authority) serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	return a.serveAs(t, []string{ControllerName}, h)
}

// serveAs runs a controller whose certificate is for the given names.
func (a authority) serveAs(t *testing.T, names []string, h http.HandlerFunc) string {
	t.Helper()
	pair, err := a.Issue(pki.Profile{CommonName: "root", Organization: "devctl:controller", Server: true, Addresses: names}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(VersionHeader, version.Version)
		h(w, r)
	}))
	if srv.TLS, err = pki.ServerTLS(a.Cert, pair); err != nil {
		t.Fatal(err)
	}
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// TestControllerIsKnownByItsName: at whatever address it is asked, or by the address where it has no name yet.
func TestControllerIsKnownByItsName(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	for _, tc := range []struct {
		names []string
		want  string
	}{
		{[]string{ControllerName}, ""},
		{[]string{ControllerName, "127.0.0.1"}, ""},
		{[]string{"127.0.0.1"}, ""},
		{[]string{"198.18.0.11"}, "is not a controller of this stack"},
		{nil, "is not a controller of this stack"},
	} {
		address := ca.serveAs(t, tc.names, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"node":"main-1"}`) })
		c := NewClient([]string{address}, ca.client)
		got, err := c.Health(t.Context())
		c.Close()
		if tc.want == "" && (err != nil || got.Node != "main-1") || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("a certificate for %q: %+v, %v, want %q", tc.names, got, err, tc.want)
		}
	}
}

// nobody returns an address at which nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestClientFailsOverAndRemembers(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	var asked atomic.Int32
	good := ca.serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, `{"stack":"local"}`)
	})
	var refused atomic.Int32
	noQuorum := ca.serve(t, func(w http.ResponseWriter, r *http.Request) {
		refused.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"error":"etcd has no quorum"}`)
	})
	c := NewClient([]string{nobody(t), noQuorum, good}, ca.client)
	defer c.Close()
	for range 3 {
		st, err := c.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if st.Stack != "local" {
			t.Fatalf("stack is %q", st.Stack)
		}
	}
	if asked.Load() != 3 || refused.Load() != 1 {
		t.Errorf("the good controller was asked %d times, the other %d times; want 3 and 1", asked.Load(), refused.Load())
	}
}

func TestClientRetriesUntilServed(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	var n atomic.Int32
	addr := ca.serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":"etcd has no quorum"}`)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || !strings.Contains(string(body), `"shards":3`) {
			t.Errorf("the retried request has body %q, %v", body, err)
		}
		fmt.Fprint(w, `{"revision":"abc","changed":true,"seq":7}`)
	})
	c := NewClient([]string{addr}, ca.client)
	defer c.Close()
	got, err := c.Deploy(t.Context(), DeployRequest{Deployment: Deployment{Redis: RedisSpec{Shards: 3}}})
	if err != nil {
		t.Fatal(err)
	}
	if want := (DeployResponse{Revision: "abc", Changed: true, Seq: 7}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestClientErrors(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	cases := map[string]struct {
		answer  http.HandlerFunc
		tls     *tls.Config
		timeout time.Duration // zero: the client must give up by itself
		want    []string
	}{
		"refused with a hint": {
			answer: func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusConflict)
				fmt.Fprint(w, `{"error":"redis.shards cannot change","hint":"Destroy the stack first."}`)
			},
			want: []string{"get status: redis.shards cannot change\nDestroy the stack first."},
		},
		"no envelope": {
			answer: func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) },
			want:   []string{"get status: the controller answered 418 I'm a teapot"},
		},
		"no JSON": {
			answer: func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") },
			want:   []string{"get status: decode the answer of 127.0.0.1:", "invalid character 'h'"},
		},
		"newer controller": {
			answer: func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set(VersionHeader, "99.1.0")
				fmt.Fprint(w, "{}")
			},
			want: []string{"the controller has version 99.1.0", "Upgrade devctl, so that both have the same major and minor version."},
		},
		"no quorum until the deadline": {
			answer: func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprint(w, `{"error":"etcd has no quorum: only main-1 answers"}`)
			},
			timeout: 400 * time.Millisecond,
			want:    []string{"get status: etcd has no quorum: only main-1 answers (context deadline exceeded)"},
		},
		"controller of another stack": {
			answer: func(w http.ResponseWriter, r *http.Request) { t.Error("a controller of another stack was asked") },
			tls:    other.client,
			want:   []string{"is not a controller of this stack", "certificate signed by unknown authority"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			if tc.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, tc.timeout)
				defer cancel()
			}
			config := ca.client
			if tc.tls != nil {
				config = tc.tls
			}
			c := NewClient([]string{ca.serve(t, tc.answer)}, config)
			defer c.Close()
			_, err := c.Status(ctx)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error is\n%v\nwant it to say\n%v", err, w)
				}
			}
		})
	}
}

func TestClientNamesEveryControllerThatDidNotAnswer(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	a, b := nobody(t), nobody(t)
	c := NewClient([]string{a, b}, ca.client)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := c.Status(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error is %v, want the deadline", err)
	}
	for _, w := range []string{"get status: no controller answered", "ask " + a, "ask " + b, "connection refused"} {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error is\n%v\nwant it to say\n%v", err, w)
		}
	}
}

func TestClientWithoutAcceptedCertificateGivesUp(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	addr := ca.serve(t, func(w http.ResponseWriter, r *http.Request) { t.Error("it was let in") })
	config := ca.client.Clone()
	config.Certificates = nil
	c := NewClient([]string{addr}, config)
	defer c.Close()
	_, err := c.Status(t.Context())
	if err == nil || !strings.Contains(err.Error(), "does not accept this certificate") {
		t.Errorf("error is %v", err)
	}
}

// TestEventsGoOnAtAnotherController: a stream breaks after two events, and a second controller has more of the same.
func TestEventsGoOnAtAnotherController(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	line := func(w io.Writer, seq int64) {
		text, err := json.Marshal(Event{Seq: seq, Message: fmt.Sprint("event ", seq)})
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, "%s\n", text)
	}
	first := ca.serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query().Get("after"); got != "4" {
			t.Errorf("the first controller is asked for events after %s, want 4", got)
		}
		line(w, 5)
		fmt.Fprintln(w)
		line(w, 6)
	})
	second := ca.serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query().Get("after"); got != "6" {
			t.Errorf("the second controller is asked for events after %s, want 6", got)
		}
		line(w, 6) // told twice: the client must not pass it on
		line(w, 7)
	})
	c := NewClient([]string{first, second}, ca.client)
	defer c.Close()
	enough := errors.New("enough")
	var got []int64
	err := c.Events(t.Context(), 4, func(e Event) error {
		got = append(got, e.Seq)
		if e.Seq == 7 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("error is %v, want the callback's", err)
	}
	if diff := cmp.Diff([]int64{5, 6, 7}, got); diff != "" {
		t.Error(diff)
	}
}

func TestEventsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	addr := ca.serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, `{"seq":1}`)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	c := NewClient([]string{addr}, ca.client)
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Events(ctx, 0, func(Event) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want %v", err, context.Canceled)
	}
}

func TestCheckVersion(t *testing.T) {
	t.Parallel()
	cases := []struct{ self, other, want string }{
		{"0.1.0", "0.1.7-dev", ""},
		{"v1.2.3", "1.2.0", ""},
		{"0.1.0", "0.2.0", "Upgrade devctl,"},
		{"1.0.0", "0.9.0", "Upgrade the controller,"},
		{"0.1.0", "", `the controller says no version that devctl 0.1.0 knows: ""`},
		{"0.1.0", "seven", `"seven"`},
	}
	for _, tc := range cases {
		err := CheckVersion("devctl", tc.self, "the controller", tc.other)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s and %s: %v", tc.self, tc.other, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s and %s: error is %v, want it to say %s", tc.self, tc.other, err, tc.want)
		}
	}
}
