package controller

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"devctl/internal/api"
	"devctl/internal/plan"
	"devctl/internal/version"
)

const (
	maxBody         = 4 << 20 // bytes
	requestTimeout  = 15 * time.Second
	shutdownTimeout = 5 * time.Second
)

// Organisations of client certificates, which say what their holders may do.
const (
	orgAdmin     = "devctl:admin"
	orgBootstrap = "devctl:bootstrap"
)

// route is one method of one path. A nil error means that the handler has answered.
type route struct {
	method, path string
	org          string // whose certificates may use it
	handle       func(http.ResponseWriter, *http.Request) error
}

func (c *controller) routes() []route {
	return []route{
		{http.MethodPost, api.PathJoin, orgBootstrap, c.postJoin},
		{http.MethodPut, api.PathDeployment, orgAdmin, c.putDeployment},
		{http.MethodPut, api.PathWorkers, orgAdmin, c.putWorkers},
		{http.MethodGet, api.PathAssignments, orgAdmin, c.getAssignments},
		{http.MethodGet, api.PathStatus, orgAdmin, c.getStatus},
		{http.MethodGet, api.PathEvents, orgAdmin, c.getEvents},
		{http.MethodGet, api.PathSnapshot, orgAdmin, c.getSnapshot},
		{http.MethodGet, api.PathHealth, orgAdmin, c.getHealth},
	}
}

// serve answers the API on l until ctx ends, and lets requests under way finish.
func (c *controller) serve(ctx context.Context, l net.Listener, config *tls.Config) error {
	srv := &http.Server{
		Handler:   http.HandlerFunc(c.serveHTTP),
		TLSConfig: config,
		// Streams end with ctx, so that Shutdown need not wait for them.
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout, // a stream prolongs it line by line
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(c.log.Handler(), slog.LevelDebug), // scans and bad certificates
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := srv.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the controller API: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-gctx.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			return errors.Join(fmt.Errorf("stop the controller API: %w", err), srv.Close())
		}
		return nil
	})
	return g.Wait()
}

func (c *controller) serveHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(api.VersionHeader, version.Version)
	err := c.dispatch(w, r)
	if err == nil {
		return
	}
	refusal := &api.Error{}
	if !errors.As(err, &refusal) {
		c.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		refusal = &api.Error{Status: http.StatusInternalServerError, Message: err.Error()}
	}
	writeJSON(w, refusal.Status, refusal)
}

// dispatch finds the handler and checks what is the same for all of them.
func (c *controller) dispatch(w http.ResponseWriter, r *http.Request) error {
	holder, org := holderOf(r)
	if org != orgAdmin && org != orgBootstrap {
		return &api.Error{Status: http.StatusForbidden, Message: fmt.Sprintf("the certificate of %q may not use this API", holder)}
	}
	if err := api.CheckVersion("the controller", version.Version, "devctl", r.Header.Get(api.VersionHeader)); err != nil {
		return err
	}
	routes := slices.DeleteFunc(c.routes(), func(rt route) bool { return rt.path != r.URL.Path })
	if len(routes) == 0 {
		return &api.Error{Status: http.StatusNotFound, Message: "there is no " + r.URL.Path}
	}
	rt := routes[0]
	if rt.org != org {
		return &api.Error{Status: http.StatusForbidden, Message: fmt.Sprintf("the certificate of %q may not use %s", holder, rt.path)}
	}
	if rt.method != r.Method {
		w.Header().Set("Allow", rt.method)
		return &api.Error{Status: http.StatusMethodNotAllowed, Message: fmt.Sprintf("%s takes %s, not %s", rt.path, rt.method, r.Method)}
	}
	if rt.method != http.MethodGet {
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			return &api.Error{Status: http.StatusUnsupportedMediaType, Message: fmt.Sprintf("%s takes application/json, not %q", rt.path, r.Header.Get("Content-Type"))}
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	return rt.handle(w, r)
}

// holderOf is who the client's certificate, which TLS has verified, says that the client is.
func holderOf(r *http.Request) (commonName, organization string) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return "", ""
	}
	subject := r.TLS.VerifiedChains[0][0].Subject
	return subject.CommonName, strings.Join(subject.Organization, ",")
}

// readJSON decodes a request's body into v, strictly: what this version does not know must not be lost silently.
func readJSON(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("there is something after the JSON value")
	}
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return &api.Error{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the request has more than %d bytes", tooLarge.Limit)}
	}
	return &api.Error{Status: http.StatusBadRequest, Message: "the request cannot be read: " + err.Error()}
}

// writeJSON answers. A client that does not wait for the answer is not told.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (c *controller) getHealth(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, api.Health{Node: c.self.Name, Version: version.Version, Leader: c.leading.Load()})
	return nil
}

// getAssignments tells what the nodes have to run, as it is in etcd: with placeholders for secrets.
func (c *controller) getAssignments(w http.ResponseWriter, r *http.Request) error {
	s, err := c.read(r.Context())
	if err != nil {
		return c.unavailable(r.Context(), err)
	}
	assigned := slices.SortedFunc(slices.Values(s.assignments), func(a, b api.Assignment) int {
		return cmp.Or(plan.CompareNames(a.Node, b.Node), cmp.Compare(a.Unit, b.Unit))
	})
	live, silent := s.around()
	writeJSON(w, http.StatusOK, api.Assigned{
		Deployed: s.deployed, Deployment: s.deployment, Assignments: append([]api.Assignment{}, assigned...),
		Live: append([]api.Identity{}, live...), Silent: silent,
	})
	return nil
}

func (c *controller) getStatus(w http.ResponseWriter, r *http.Request) error {
	s, err := c.read(r.Context())
	if err != nil {
		return c.unavailable(r.Context(), err)
	}
	st := s.status(c.self.Stack, time.Now())
	if err := c.addEtcd(r.Context(), &st); err != nil {
		return c.unavailable(r.Context(), err)
	}
	writeJSON(w, http.StatusOK, st)
	return nil
}

// unavailable says that etcd did not answer, and which of its members do.
func (c *controller) unavailable(ctx context.Context, cause error) error {
	out := &api.Error{Status: http.StatusServiceUnavailable, Hint: "Nothing is changed until then; what runs goes on. Start the main nodes that are missing, or look at `devctl logs etcd`."}
	members, err := c.members(ctx)
	if err != nil {
		out.Message = fmt.Sprintf("no etcd member answers %s: %v", c.self.Name, cause)
		return out
	}
	var up, down []string
	voters, healthy := 0, 0
	for _, m := range members {
		if !m.learner {
			voters++
		}
		if m.healthy {
			healthy++
		}
		if m.answers {
			up = append(up, m.name)
		} else {
			down = append(down, m.name)
		}
	}
	if healthy > voters/2 {
		out.Message = fmt.Sprintf("etcd did not answer %s: %v", c.self.Name, cause)
		out.Hint = "Try again."
		return out
	}
	out.Message = fmt.Sprintf("etcd has no quorum: members that answer: %s; that do not: %s", listed(up), listed(down))
	return out
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
