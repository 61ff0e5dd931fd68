package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
)

// runFunc is one of the Automation API's methods, with the options that all of them share already decided.
type runFunc func(ctx context.Context, stack *auto.Stack, stream chan<- events.EngineEvent, log io.Writer) error

// Preview tells what Up would do. Every resource is a planned event with its differences. A stack that does not
// exist yet is made, empty, for the engine previews nothing else.
//
// Each event goes to the callback in order, from one goroutine, and all of them before the method returns. The
// summary counts what was done even when the run failed or was cancelled.
func (s *Stack) Preview(ctx context.Context, each func(Event)) (Summary, error) {
	return s.run(ctx, "preview", each, func(ctx context.Context, stack *auto.Stack, stream chan<- events.EngineEvent, log io.Writer) error {
		opts := []optpreview.Option{optpreview.EventStreams(stream), optpreview.ProgressStreams(log), optpreview.ErrorProgressStreams(log),
			optpreview.Parallel(s.options.Parallel), optpreview.Color("never"), optpreview.SuppressOutputs()}
		if s.options.Refresh {
			opts = append(opts, optpreview.Refresh())
		}
		_, err := stack.Preview(ctx, opts...)
		return err
	})
}

// Up makes the stack what the program says. It may be repeated after any failure. Events: see Preview.
func (s *Stack) Up(ctx context.Context, each func(Event)) (Summary, error) {
	return s.run(ctx, "up", each, func(ctx context.Context, stack *auto.Stack, stream chan<- events.EngineEvent, log io.Writer) error {
		opts := []optup.Option{optup.EventStreams(stream), optup.ProgressStreams(log), optup.ErrorProgressStreams(log),
			optup.Parallel(s.options.Parallel), optup.Color("never"), optup.SuppressOutputs()}
		if s.options.Refresh {
			opts = append(opts, optup.Refresh())
		}
		if s.options.Only != "" {
			opts = append(opts, optup.Target([]string{s.options.Only}))
		}
		_, err := stack.Up(ctx, opts...)
		return err
	})
}

// Refresh brings the state in line with what really exists. Finished events say what was found: same, update or
// delete (it is gone). Events: see Preview.
func (s *Stack) Refresh(ctx context.Context, each func(Event)) (Summary, error) {
	return s.run(ctx, "refresh", each, func(ctx context.Context, stack *auto.Stack, stream chan<- events.EngineEvent, log io.Writer) error {
		_, err := stack.Refresh(ctx, optrefresh.EventStreams(stream), optrefresh.ProgressStreams(log), optrefresh.ErrorProgressStreams(log),
			optrefresh.Parallel(s.options.Parallel), optrefresh.Color("never"), optrefresh.SuppressOutputs())
		return err
	})
}

// Destroy deletes every resource of the stack; one that cannot be deleted does not keep it from the others. The
// empty stack stays until Remove. Events: see Preview.
func (s *Stack) Destroy(ctx context.Context, each func(Event)) (Summary, error) {
	return s.run(ctx, "destroy", each, func(ctx context.Context, stack *auto.Stack, stream chan<- events.EngineEvent, log io.Writer) error {
		opts := []optdestroy.Option{optdestroy.EventStreams(stream), optdestroy.ProgressStreams(log), optdestroy.ErrorProgressStreams(log),
			optdestroy.Parallel(s.options.Parallel), optdestroy.Color("never"), optdestroy.SuppressOutputs(), optdestroy.ContinueOnError()}
		if s.options.Refresh {
			opts = append(opts, optdestroy.Refresh())
		}
		_, err := stack.Destroy(ctx, opts...)
		return err
	})
}

// run is what all four have in common.
func (s *Stack) run(ctx context.Context, op string, each func(Event), call runFunc) (_ Summary, err error) {
	begun := time.Now()
	summary := Summary{Op: op, Changes: map[Op]int{}}
	fail := func(err error) (Summary, error) {
		summary.Duration = time.Since(begun)
		return summary, err
	}
	stack, err := s.ready(ctx, op)
	if err != nil {
		if s.stopped(ctx) { // before the run began: nothing was done
			err = fmt.Errorf("%s of stack %q: %w: %w", op, s.options.Stack, ErrCancelled, err)
		}
		return fail(err)
	}
	log, err := newRunLog(s.home.runs(s.options.Stack), op, begun)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, log.close()) }()
	summary.Dir = log.dir

	t := newTranslator(op, time.Now)
	stream, ended, drained := make(chan events.EngineEvent), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(drained)
		drain(stream, ended, func(e events.EngineEvent) {
			if ours, ok := t.translate(e); ok {
				log.write(ours)
				if each != nil {
					each(ours)
				}
			}
		})
	}()
	err = call(ctx, stack, stream, log.engine)
	close(ended)
	<-drained
	summary.Changes = t.changes
	if err != nil {
		return fail(s.failure(ctx, op, err, t, log.dir))
	}
	return fail(nil)
}

// ready makes everything ready for a run.
func (s *Stack) ready(ctx context.Context, op string) (*auto.Stack, error) {
	if op != "preview" {
		if err := s.recover(ctx); err != nil {
			return nil, err
		}
	}
	return s.workspace(ctx, op == "up" || op == "preview")
}

// stopped tells whether somebody wanted the run to end.
func (s *Stack) stopped(ctx context.Context) bool {
	select {
	case <-s.options.Kill:
		return true
	default:
		return ctx.Err() != nil
	}
}

// drain hands on what comes until the stream is closed. The API closes it before its method returns, unless the
// engine never got as far as opening it: then ended is all there is.
func drain(stream <-chan events.EngineEvent, ended <-chan struct{}, each func(events.EngineEvent)) {
	for {
		select {
		case e, open := <-stream:
			if !open {
				return
			}
			each(e)
		case <-ended:
			return
		}
	}
}

// failure says in a few words why a run failed.
func (s *Stack) failure(ctx context.Context, op string, err error, t *translator, dir string) error {
	if auto.IsConcurrentUpdateError(err) {
		if held := heldLock(s.options.Stack, err.Error()); held != nil {
			return held
		}
		return fmt.Errorf("stack %q was being changed by somebody else; try again", s.options.Stack)
	}
	if s.stopped(ctx) {
		err := fmt.Errorf("%s of stack %q: %w", op, s.options.Stack, ErrCancelled)
		// What fails beside the resources, the program for example, does so because of the cancelling.
		failures := slices.DeleteFunc(t.failures, func(f Failure) bool { return f.Name == "" })
		if len(failures) > 0 {
			err = fmt.Errorf("%w: %w", err, &FailedError{Op: op, Failures: failures, Dir: dir})
		}
		return err
	}
	failures := slices.Concat(t.failures, t.unsaid())
	if len(failures) == 0 {
		failures = []Failure{{Message: plain(err).Error()}}
	}
	return &FailedError{Op: op, Failures: failures, Dir: dir}
}
