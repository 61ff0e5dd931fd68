package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"devctl/internal/backoff"
)

// markInterval is how often a machine looks whether it should hold the address.
const markInterval = 250 * time.Millisecond

// WhileMarked runs hold whenever, and only while, marked says so, until ctx ends. keepalived marks its machine by an address
// that it adds and takes away. A notification could get lost while this program starts again; a mark is there or is not.
func WhileMarked(ctx context.Context, marked func() (bool, error), hold func(context.Context) error) error {
	for {
		yes, err := marked()
		if err != nil {
			return err
		}
		if yes {
			if err := holdWhileMarked(ctx, marked, hold); err != nil {
				return err
			}
		}
		if err := backoff.Sleep(ctx, markInterval); err != nil {
			return err
		}
	}
}

var errUnmarked = errors.New("this machine should not hold the address any more")

func holdWhileMarked(ctx context.Context, marked func() (bool, error), hold func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return hold(ctx) })
	g.Go(func() error {
		for {
			if err := backoff.Sleep(ctx, markInterval); err != nil {
				return err
			}
			yes, err := marked()
			if err != nil {
				return err
			}
			if !yes {
				cancel(errUnmarked)
			}
		}
	})
	if err := g.Wait(); !errors.Is(err, errUnmarked) {
		return err
	}
	return nil
}

const (
	// serveTimeout is how long a load balancer that serves may take to say so.
	serveTimeout = 250 * time.Millisecond
	// serveInterval is how often it is asked. At the second failure in a row it does not serve.
	serveInterval = 500 * time.Millisecond
)

var errDead = errors.New("the load balancer of this machine does not serve")

// WhileElected stands for election whenever the load balancer of this machine serves, and runs hold while this machine is
// elected, until ctx ends. elect runs what it is given under an election that ends when that does.
//
// Without a quorum of etcd nobody is elected, and the address stays where it is.
func WhileElected(ctx context.Context, elect func(ctx context.Context, elected func(context.Context) error) error,
	serves func(context.Context) error, hold func(context.Context) error, log *slog.Logger) error {
	retry := backoff.Backoff{Min: 200 * time.Millisecond, Max: 3 * time.Second}
	var last string
	for {
		err := serves(ctx)
		if err == nil {
			err = elect(ctx, func(ctx context.Context) error {
				retry.Reset()
				g, ctx := errgroup.WithContext(ctx)
				g.Go(func() error { return hold(ctx) })
				g.Go(func() error { return watchServing(ctx, serves) })
				return g.Wait()
			})
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil && err.Error() != last {
			log.Warn("not holding the endpoint", "reason", err)
			last = err.Error()
		}
		if err := retry.Wait(ctx); err != nil {
			return err
		}
	}
}

// watchServing returns when the load balancer does not serve any more.
func watchServing(ctx context.Context, serves func(context.Context) error) error {
	failures := 0
	for {
		if err := backoff.Sleep(ctx, serveInterval); err != nil {
			return err
		}
		if err := serves(ctx); err == nil {
			failures = 0
		} else if failures++; failures == 2 {
			return fmt.Errorf("%w: %w", errDead, err)
		}
	}
}

// Serves returns a function that asks HAProxy, on this machine, whether it serves.
func Serves(statsPort string) func(context.Context) error {
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}, Timeout: serveTimeout}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+statsPort+"/livez", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10))
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("HAProxy says %s", resp.Status)
		}
		return nil
	}
}
