package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"devctl/internal/version"
)

// Paths of the controller's API.
const (
	PathJoin        = "/v1/join"        // POST JoinRequest → JoinResponse
	PathDeployment  = "/v1/deployment"  // PUT DeployRequest → DeployResponse
	PathAssignments = "/v1/assignments" // GET → Assigned
	PathWorkers     = "/v1/workers"     // PUT WorkersRequest → WorkersResponse
	PathStatus      = "/v1/status"      // GET → Status
	PathEvents      = "/v1/events"      // GET ?after=SEQ → Event lines, for as long as the client stays
	PathSnapshot    = "/v1/snapshot"    // GET → all that etcd holds, as etcd's own tools read it
	PathHealth      = "/v1/healthz"     // GET → Health
)

// ControllerName is the name in every controller's certificate, at whatever address it is asked.
const ControllerName = "controller.devctl"

// VersionHeader carries the version of devctl on every request and every response.
const VersionHeader = "Devctl-Version"

// SnapshotRevisionHeader carries the revision of etcd up to which a snapshot has everything.
const SnapshotRevisionHeader = "Devctl-Snapshot-Revision"

// EventHeartbeat is how often a stream of events carries a line, an empty one when nothing happened. A client that
// reads nothing for three of them takes the server for dead.
const EventHeartbeat = 3 * time.Second

// Health is the answer of GET /v1/healthz.
type Health struct {
	Node    string `json:"node"`
	Version string `json:"version"`
	Leader  bool   `json:"leader"` // this controller is the one that reconciles
}

// Error is a controller's refusal: the body of every response that is no success.
type Error struct {
	Status  int    `json:"-"` // HTTP status code
	Message string `json:"error"`
	Hint    string `json:"hint,omitempty"` // what to do next
}

// Error is the message, and the hint on a line of its own.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "\n" + e.Hint
}

// CheckVersion returns nil when two versions of devctl understand each other: when major and minor are the same.
// The error says which of the two is the older, and what to upgrade; self and other name the two programs.
func CheckVersion(self, selfVersion, other, otherVersion string) error {
	mine, okMine := majorMinor(selfVersion)
	theirs, okTheirs := majorMinor(otherVersion)
	switch {
	case !okTheirs:
		return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("%s says no version that %s %s knows: %q", other, self, selfVersion, otherVersion),
			Hint: "Use a devctl of version " + selfVersion + "."}
	case okMine && mine == theirs:
		return nil
	}
	older := other
	if mine[0] < theirs[0] || mine[0] == theirs[0] && mine[1] < theirs[1] {
		older = self
	}
	return &Error{Status: http.StatusUpgradeRequired,
		Message: fmt.Sprintf("%s has version %s and %s has version %s: they do not understand each other", self, selfVersion, other, otherVersion),
		Hint:    fmt.Sprintf("Upgrade %s, so that both have the same major and minor version.", older)}
}

func majorMinor(v string) ([2]int, bool) {
	parts := strings.SplitN(strings.TrimPrefix(v, "v"), ".", 3)
	if len(parts) < 2 {
		return [2]int{}, false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return [2]int{major, minor}, err1 == nil && err2 == nil
}

const (
	dialTimeout    = 2 * time.Second
	requestTimeout = 20 * time.Second // of one attempt at one controller
	retryPause     = 250 * time.Millisecond
	maxAnswer      = 16 << 20 // bytes
	maxEventLine   = 1 << 20  // bytes
)

// Client talks to the controllers of one stack. All of them give the same answers, so it stays with one that
// answered and goes on to the next when that fails. It may be used by several goroutines.
type Client struct {
	endpoints []string
	http      *http.Client

	mu   sync.Mutex
	good int // index of the endpoint that answered last
}

// NewClient returns a client of the controllers at endpoints (host:port, at least one). It connects when it is used.
func NewClient(endpoints []string, config *tls.Config) *Client {
	return &Client{endpoints: endpoints, http: &http.Client{Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialController(ctx, network, address, config)
		},
		MaxIdleConnsPerHost: 2,
		IdleConnTimeout:     time.Minute,
	}}}
}

// dialController connects to a controller by its name, wherever it is: a public address is in nobody's certificate. A
// certificate of before controllers had that name is good for the address, as it was then.
func dialController(ctx context.Context, network, address string, config *tls.Config) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	conn, err := dialTLS(ctx, network, address, config, ControllerName)
	if unnamed := (x509.HostnameError{}); errors.As(err, &unnamed) {
		return dialTLS(ctx, network, address, config, host)
	}
	return conn, err
}

func dialTLS(ctx context.Context, network, address string, config *tls.Config, name string) (net.Conn, error) {
	config = config.Clone()
	config.ServerName = name
	ctx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: config}
	return dialer.DialContext(ctx, network, address)
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Deploy makes the deployment and its secrets what should run. It returns when that is stored, not when it runs:
// follow Events after the answer's Seq, or poll Status until it is settled.
func (c *Client) Deploy(ctx context.Context, req DeployRequest) (DeployResponse, error) {
	var out DeployResponse
	err := c.call(ctx, http.MethodPut, PathDeployment, req, &out)
	return out, wrap("deploy", err)
}

// Workers has the cloud's group have so many workers. It returns when the cloud knows, not when they are there.
func (c *Client) Workers(ctx context.Context, req WorkersRequest) (WorkersResponse, error) {
	var out WorkersResponse
	err := c.call(ctx, http.MethodPut, PathWorkers, req, &out)
	return out, wrap("scale workers", err)
}

// Assignments asks what the nodes have to run now.
func (c *Client) Assignments(ctx context.Context) (Assigned, error) {
	var out Assigned
	err := c.call(ctx, http.MethodGet, PathAssignments, nil, &out)
	return out, wrap("get assignments", err)
}

// Status asks how the stack is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var out Status
	err := c.call(ctx, http.MethodGet, PathStatus, nil, &out)
	return out, wrap("get status", err)
}

// Health asks the controller that answered last (or the first that answers) whether it serves.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var out Health
	err := c.call(ctx, http.MethodGet, PathHealth, nil, &out)
	return out, wrap("get health", err)
}

// Join asks for a certificate for a new node.
func (c *Client) Join(ctx context.Context, req JoinRequest) (JoinResponse, error) {
	var out JoinResponse
	err := c.call(ctx, http.MethodPost, PathJoin, req, &out)
	return out, wrap("join as "+strconv.Quote(req.Name), err)
}

// Events calls f with every event after the given sequence number, in order and each once, until ctx ends or f returns
// an error, which it returns. When a controller fails it goes on with the next one where it was.
func (c *Client) Events(ctx context.Context, after int64, f func(Event) error) error {
	last := after
	err := c.try(ctx, func(endpoint string) error {
		return c.stream(ctx, endpoint, &last, f)
	})
	return wrap("follow events", err)
}

// Snapshot writes all that etcd holds to w, and returns the revision up to which it has everything. Whether it is whole, its
// own hash at its end says.
func (c *Client) Snapshot(ctx context.Context, w io.Writer) (revision int64, err error) {
	err = c.try(ctx, func(endpoint string) error {
		resp, err := c.send(ctx, endpoint, http.MethodGet, PathSnapshot, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if revision, err = strconv.ParseInt(resp.Header.Get(SnapshotRevisionHeader), 10, 64); err != nil {
			return fmt.Errorf("read the revision of a snapshot of %s: %w", endpoint, err)
		}
		// What is written cannot be taken back for a try at another controller.
		if _, err := io.Copy(w, resp.Body); err != nil {
			return fmt.Errorf("read a snapshot of %s: %w", endpoint, err)
		}
		return nil
	})
	return revision, wrap("get a snapshot", err)
}

func wrap(action string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", action, err)
}

// temporary marks a failure that another controller, or the same one later, may not have.
type temporary struct{ error }

func (t temporary) Unwrap() error { return t.error }

// call makes one request until it is answered for good.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	return c.try(ctx, func(endpoint string) error {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		resp, err := c.send(ctx, endpoint, method, path, body)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return temporary{fmt.Errorf("read the answer of %s: %w", endpoint, err)}
		}
		if err := json.Unmarshal(answer, out); err != nil {
			return fmt.Errorf("decode the answer of %s: %w", endpoint, err)
		}
		return nil
	})
}

// try runs attempt against one controller after the other, beginning with the one that answered last, until it
// succeeds, fails for good, or ctx ends: then the error names what every controller said last.
func (c *Client) try(ctx context.Context, attempt func(endpoint string) error) error {
	if len(c.endpoints) == 0 {
		return errors.New("no controller is known")
	}
	failures := make([]error, len(c.endpoints))
	c.mu.Lock()
	start := c.good
	c.mu.Unlock()
	for i := 0; ; i++ {
		n := (start + i) % len(c.endpoints)
		err := attempt(c.endpoints[n])
		if ended := ctx.Err(); ended != nil && err != nil {
			if failures[n] == nil || !errors.Is(err, ended) {
				failures[n] = err
			}
			return noAnswer(ended, failures)
		}
		if t := (temporary{}); !errors.As(err, &t) {
			c.mu.Lock()
			c.good = n
			c.mu.Unlock()
			return err
		}
		failures[n] = err
		if (i+1)%len(c.endpoints) != 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return noAnswer(ctx.Err(), failures)
		case <-time.After(retryPause):
		}
	}
}

// noAnswer is the error of giving up. When a controller said itself why it cannot serve, that is the reason.
func noAnswer(ended error, failures []error) error {
	var said []error
	for _, f := range failures {
		if e := (*Error)(nil); errors.As(f, &e) {
			return fmt.Errorf("%w (%w)", e, ended)
		}
		if f != nil {
			said = append(said, f)
		}
	}
	if len(said) == 0 {
		return ended
	}
	return fmt.Errorf("no controller answered (%w): %w", ended, errors.Join(said...))
}

// send makes one request at one controller and returns its response when that is a success.
func (c *Client) send(ctx context.Context, endpoint, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://"+endpoint+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set(VersionHeader, version.Version)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if untrusted := (*tls.CertificateVerificationError)(nil); errors.As(err, &untrusted) {
			return nil, fmt.Errorf("%s is not a controller of this stack: %w", endpoint, err)
		}
		// crypto/tls does not export the type of an alert that the other side sent.
		if alert := (*net.OpError)(nil); errors.As(err, &alert) && alert.Op == "remote error" {
			return nil, fmt.Errorf("%s does not accept this certificate: %w", endpoint, err)
		}
		return nil, temporary{fmt.Errorf("ask %s: %w", endpoint, err)}
	}
	// The refusal of a server that rejects our version says so itself, in words that fit its own version.
	if resp.StatusCode == http.StatusOK {
		if err := CheckVersion("devctl", version.Version, "the controller", resp.Header.Get(VersionHeader)); err != nil {
			resp.Body.Close()
			return nil, err
		}
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

// refusal is the error that a response carries.
func refusal(resp *http.Response) error {
	e := &Error{}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil || json.Unmarshal(text, e) != nil || e.Message == "" {
		e.Message = "the controller answered " + resp.Status
	}
	e.Status = resp.StatusCode
	if e.Status == http.StatusServiceUnavailable {
		return temporary{e}
	}
	return e
}

// errQuiet is why a stream is given up that carries not even heartbeats.
var errQuiet = errors.New("the stream went quiet")

// stream follows one controller's events from *last on, and keeps *last at the event that f has seen.
func (c *Client) stream(ctx context.Context, endpoint string, last *int64, f func(Event) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(3*EventHeartbeat, func() { cancel(errQuiet) })
	defer quiet.Stop()
	resp, err := c.send(ctx, endpoint, http.MethodGet, PathEvents+"?after="+strconv.FormatInt(*last, 10), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEventLine)
	for lines.Scan() {
		quiet.Reset(3 * EventHeartbeat)
		if len(lines.Bytes()) == 0 {
			continue
		}
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("decode an event of %s: %w", endpoint, err)
		}
		if e.Seq <= *last {
			continue
		}
		if err := f(e); err != nil {
			return err
		}
		*last = e.Seq
	}
	if cause := context.Cause(ctx); errors.Is(cause, errQuiet) {
		return temporary{fmt.Errorf("follow events of %s: %w", endpoint, cause)}
	}
	if err := lines.Err(); err != nil {
		return temporary{fmt.Errorf("follow events of %s: %w", endpoint, err)}
	}
	return temporary{fmt.Errorf("follow events of %s: %w", endpoint, io.ErrUnexpectedEOF)}
}
