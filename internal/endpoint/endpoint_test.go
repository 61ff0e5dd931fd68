package endpoint

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

const address = "203.0.113.9"

// fakeCloud has one address, which takes a while to move.
type fakeCloud struct {
	mu      sync.Mutex
	delay   time.Duration // from an accepted move to the address
	arrives time.Time     // zero: it is elsewhere
	silent  bool          // the metadata service does not answer
	refuses bool          // the API
	lost    bool          // moves are accepted and come to nothing
	moves   int
}

func (c *fakeCloud) Move(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moves++
	if c.refuses {
		return errors.New("UnauthorizedOperation")
	}
	if !c.lost {
		c.arrives = time.Now().Add(c.delay)
	}
	return nil
}

func (c *fakeCloud) Address(context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.silent:
		return "", errors.New("timeout")
	case c.arrives.IsZero() || time.Now().Before(c.arrives):
		return "198.51.100.7", nil // one of the machine's own
	}
	return address, nil
}

func (c *fakeCloud) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *fakeCloud) asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moves
}

func TestHold(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		cloud  *fakeCloud
		story  func(c *fakeCloud, check func(what string, held bool, moves int))
		logged string
	}{
		{"it moves", &fakeCloud{delay: 3 * time.Second}, func(_ *fakeCloud, check func(string, bool, int)) {
			check("at once", false, 1)
			time.Sleep(2 * time.Second)
			check("on its way: nobody asks twice", false, 1)
			time.Sleep(2 * time.Second)
			check("arrived", true, 1)
			time.Sleep(time.Hour)
			check("it stays", true, 1)
		}, "the address is here"},
		{"it is here already", &fakeCloud{arrives: time.Unix(1, 0)}, func(_ *fakeCloud, check func(string, bool, int)) {
			check("at once", true, 0)
		}, "the address is here"},
		{"the API refuses for a while", &fakeCloud{refuses: true}, func(c *fakeCloud, check func(string, bool, int)) {
			time.Sleep(20 * time.Second)
			if n := c.asked(); n < 3 || n > 20 {
				t.Errorf("asked %d times in 20 s", n)
			}
			c.change(func() { c.refuses, c.moves = false, 0 })
			time.Sleep(10 * time.Second)
			check("allowed", true, 1)
		}, "UnauthorizedOperation"},
		{"the metadata service says nothing", &fakeCloud{silent: true}, func(c *fakeCloud, check func(string, bool, int)) {
			time.Sleep(time.Minute)
			check("no answer is not elsewhere", false, 0)
			c.change(func() { c.silent = false })
			time.Sleep(10 * time.Second)
			check("answered", true, 1)
			c.change(func() { c.silent = true })
			time.Sleep(time.Minute)
			check("no answer later changes nothing", true, 1)
		}, "timeout"},
		{"a move that comes to nothing", &fakeCloud{lost: true}, func(c *fakeCloud, check func(string, bool, int)) {
			time.Sleep(14 * time.Second)
			check("patience", false, 1)
			c.change(func() { c.lost = false })
			time.Sleep(2 * time.Second)
			check("again", true, 2)
		}, "the address is here"},
		{"somebody takes it away", &fakeCloud{}, func(c *fakeCloud, check func(string, bool, int)) {
			time.Sleep(time.Second)
			check("here", true, 1)
			c.change(func() { c.arrives, c.delay = time.Time{}, time.Second })
			time.Sleep(2 * time.Second)
			check("away", false, 2)
			time.Sleep(2 * time.Second)
			check("back", true, 2)
		}, "the address has been taken away"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "run", "endpoint")
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() {
					done <- Keeper{Address: address, Cloud: tc.cloud, File: file, Log: slog.New(slog.NewTextHandler(&log, nil))}.Hold(ctx)
				}()
				tc.story(tc.cloud, func(what string, held bool, moves int) {
					t.Helper()
					synctest.Wait()
					if got := Held(file) == address; got != held || tc.cloud.asked() != moves {
						t.Errorf("%s: held %v, asked %d times; want %v, %d", what, got, tc.cloud.asked(), held, moves)
					}
				})
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Errorf("ended with %v", err)
				}
				if Held(file) != "" {
					t.Error("it still says that the address is here")
				}
				if !strings.Contains(log.String(), tc.logged) || strings.Count(log.String(), "trying on") > 2 {
					t.Errorf("want %q, and every complaint once, in:\n%s", tc.logged, log.String())
				}
			})
		})
	}
}

// holding is a hold that counts.
type holding struct {
	mu   sync.Mutex
	now  bool
	ever int
}

func (h *holding) hold(ctx context.Context) error {
	h.mu.Lock()
	h.now = true
	h.ever++
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	h.now = false
	h.mu.Unlock()
	return context.Cause(ctx)
}

func (h *holding) is(t *testing.T, what string, now bool, ever int) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now != now || h.ever != ever {
		t.Errorf("%s: holds %v, for the %d. time; want %v, %d", what, h.now, h.ever, now, ever)
	}
}

func TestWhileMarked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var marked bool
		var broken error
		set := func(m bool, err error) {
			mu.Lock()
			marked, broken = m, err
			mu.Unlock()
			time.Sleep(time.Second)
			synctest.Wait()
		}
		var h holding
		done := make(chan error, 1)
		go func() {
			done <- WhileMarked(t.Context(), func() (bool, error) { mu.Lock(); defer mu.Unlock(); return marked, broken }, h.hold)
		}()
		set(false, nil)
		h.is(t, "not marked", false, 0)
		set(true, nil)
		h.is(t, "marked", true, 1)
		set(true, nil)
		h.is(t, "still marked", true, 1)
		set(false, nil)
		h.is(t, "the mark is gone", false, 1)
		set(true, nil)
		h.is(t, "marked again", true, 2)
		set(false, errors.New("no netlink"))
		h.is(t, "nobody can tell", false, 2)
		if err := <-done; err == nil || err.Error() != "no netlink" {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestWhileElected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		dead := errors.New("connection refused")
		var health error = dead
		var turn = make(chan struct{}, 1) // the election: whoever has it is elected
		var over context.CancelCauseFunc
		elect := func(ctx context.Context, elected func(context.Context) error) error {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-turn:
			}
			ctx, cancel := context.WithCancelCause(ctx)
			mu.Lock()
			over = cancel
			mu.Unlock()
			return elected(ctx)
		}
		set := func(err error) {
			mu.Lock()
			health = err
			mu.Unlock()
			time.Sleep(5 * time.Second)
			synctest.Wait()
		}
		var h holding
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- WhileElected(ctx, elect, func(context.Context) error { mu.Lock(); defer mu.Unlock(); return health }, h.hold, slog.New(slog.NewTextHandler(&log, nil)))
		}()
		turn <- struct{}{}
		set(dead)
		h.is(t, "nothing is served", false, 0)
		set(nil)
		h.is(t, "elected", true, 1)
		set(dead)
		h.is(t, "HAProxy died", false, 1)
		set(nil)
		h.is(t, "HAProxy is back, somebody else is elected", false, 1)
		turn <- struct{}{}
		set(nil)
		h.is(t, "elected again", true, 2)
		over(errors.New("the election's lease is lost"))
		set(nil)
		h.is(t, "the election is over", false, 2)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		for _, want := range []string{"connection refused", "the load balancer of this machine does not serve: connection refused", "the election's lease is lost"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("no %q in:\n%s", want, log.String())
			}
		}
	})
}

// TestOneFailureIsForgiven: a machine that stops for a moment need not lose the address.
func TestOneFailureIsForgiven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answers := []error{nil, errors.New("late"), nil, errors.New("late"), errors.New("dead")}
		asked := 0
		err := watchServing(t.Context(), func(context.Context) error { asked++; return answers[asked-1] })
		if asked != len(answers) || err == nil || !strings.HasSuffix(err.Error(), ": dead") {
			t.Errorf("%v after %d questions", err, asked)
		}
	})
}

func TestServes(t *testing.T) {
	t.Parallel()
	status := make(chan int, 1)
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code := <-status; code != 0 && r.URL.Path == "/livez" {
			w.WriteHeader(code)
			return
		}
		<-hang
	}))
	defer s.Close()
	defer close(hang)
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	for code, want := range map[int]string{200: "", 503: "HAProxy says 503 Service Unavailable", 0: "Client.Timeout exceeded"} {
		status <- code
		if err := Serves(port)(t.Context()); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v, want %q", code, err, want)
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	for platform, want := range map[api.Platform][]api.File{
		api.PlatformAWS: {
			{Path: "/etc/devctl/services/devctl-endpoint.service/endpoint.env", Mode: 0o644,
				Content: "DEVCTL_ENDPOINT=203.0.113.9\nDEVCTL_STATS_PORT=7020\nDEVCTL_ALLOCATION=eipalloc-1\n"},
		},
		api.PlatformDigitalOcean: {
			{Path: "/etc/devctl/services/devctl-endpoint.service/endpoint.env", Mode: 0o644, Content: "DEVCTL_ENDPOINT=203.0.113.9\nDEVCTL_STATS_PORT=7020\n"},
			{Path: "/etc/devctl/services/devctl-endpoint.service/token", Mode: 0o600, Content: "${secret:digitalocean-token}"},
		},
	} {
		got := Files(api.EndpointSpec{Address: address, Platform: platform, Allocation: "eipalloc-1"}, 7020)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", platform, d)
		}
	}
}
