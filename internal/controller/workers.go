package controller

import (
	"context"
	"fmt"
	"net/http"

	"golang.org/x/sync/errgroup"

	"devctl/internal/api"
	"devctl/internal/plan"
)

// Workers is the cloud's group of elastic workers. The cloud remembers how many there should be, and puts another one in the place
// of one that ends by itself.
type Workers interface {
	// Machines are the IDs of those that are not ending, and how many there should be.
	Machines(ctx context.Context) (ids []string, wanted int, err error)
	// Resize has the group have so many.
	Resize(ctx context.Context, count int) error
	// End ends one, and there should be one less.
	End(ctx context.Context, id string) error
}

// parallelEnds is how many machines are ended at a time.
const parallelEnds = 8

// putWorkers changes the number of elastic workers. Which ones go is decided here: the cloud does not know what they do.
func (c *controller) putWorkers(w http.ResponseWriter, r *http.Request) error {
	var req api.WorkersRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	s, err := c.read(r.Context())
	if err != nil {
		return c.unavailable(r.Context(), err)
	}
	if err := c.scalable(s, req.Count); err != nil {
		return err
	}
	answer, err := scale(r.Context(), c.workers, s, req.Count)
	if err != nil {
		return &api.Error{Status: http.StatusBadGateway, Message: "the cloud refuses: " + err.Error(), Hint: "What was done so far stays. Try again when the reason is gone."}
	}
	c.log.Info("number of workers changed", "from", answer.Before, "to", req.Count, "ended", answer.Ended)
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// scalable refuses what no cloud has to be asked for.
func (c *controller) scalable(s state, count int) error {
	switch {
	case c.workers == nil || s.deployment != nil && s.deployment.Workers == nil:
		return &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf("no controller of stack %q can change the number of its workers", c.self.Stack),
			Hint: "Change nodes.worker in the spec, then `devctl up`."}
	case s.deployment == nil:
		return &api.Error{Status: http.StatusConflict, Message: "nothing is deployed yet, so what workers are for is not known", Hint: "Run `devctl up` first."}
	case count < s.deployment.Workers.Min:
		return &api.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("%d workers are fewer than the %d that the deployment needs", count, s.deployment.Workers.Min)}
	}
	return nil
}

// scale makes the group as large as it should be. Asked again, it goes on with what is left.
func scale(ctx context.Context, workers Workers, s state, count int) (api.WorkersResponse, error) {
	machines, wanted, err := workers.Machines(ctx)
	if err != nil {
		return api.WorkersResponse{}, err
	}
	surplus := plan.Surplus(machines, s.nodes, s.assignments, max(0, min(wanted, len(machines))-count))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelEnds)
	for _, id := range surplus {
		g.Go(func() error { return workers.End(gctx, id) })
	}
	if err := g.Wait(); err != nil {
		return api.WorkersResponse{}, err
	}
	if wanted-len(surplus) != count {
		if err := workers.Resize(ctx, count); err != nil {
			return api.WorkersResponse{}, err
		}
	}
	return api.WorkersResponse{Before: wanted, Ended: append([]string{}, surplus...)}, nil
}
