package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"devctl/internal/api"
	"devctl/internal/cli/output"
	"devctl/internal/cli/planview"
	"devctl/internal/cli/progress"
	"devctl/internal/engine"
	"devctl/stacks"
)

// operation is one of the environment's methods that change something.
type operation func(ctx context.Context, each func(engine.Event)) (engine.Summary, error)

// runOperation runs the engine and shows how it gets on; title and done are how the step is called while it runs and
// afterwards. The first Ctrl-C (ctx) lets what runs finish, the second (d.hard) ends the engine at once.
func runOperation(ctx context.Context, d *deps, show *progress.Display, op operation, title, done string) (engine.Summary, error) {
	show.Start(title)
	told := context.AfterFunc(ctx, func() {
		show.Print(progress.Warn, "Interrupted: finishing the steps that run, so that nothing is left half done. Ctrl-C again stops at once.")
	})
	defer told()
	toldHard := context.AfterFunc(d.hard, func() {
		show.Print(progress.Warn, "Stopping at once: what was being worked on may be left half done.")
	})
	defer toldHard()
	view := runView{show: show, busy: map[string]engine.Event{}, interrupted: func() bool { return ctx.Err() != nil }}
	show.Wait("the engine")
	summary, err := op(ctx, view.event)
	switch {
	case err != nil:
		show.Close()
		return summary, operationError(d, summary, view.busyWith(), err)
	case summary.Changed():
		show.Done(done)
	default:
		show.Skip()
	}
	return summary, nil
}

// operationError says what a failed or interrupted run leaves, and what to do next; busy is what it was working on when
// it ended.
func operationError(d *deps, summary engine.Summary, busy []string, err error) error {
	again := d.command(summary.Op)
	var failed *engine.FailedError
	switch {
	case errors.Is(err, engine.ErrCancelled):
		if summary.Op == "preview" {
			return &cancelledError{what: "nothing was changed"}
		}
		next := again + " goes on where it stopped"
		if summary.Op == "up" {
			next += ", " + d.command("destroy") + " removes what is there"
		}
		what := "done so far: " + changesText(summary.Changes)
		errors.As(err, &failed)
		switch {
		case d.hard.Err() != nil:
			what = stoppedText(what, failed, busy)
		case failed != nil:
			what += "; not complete:" + failuresText(failed)
		default:
			what += "; the rest was not begun"
		}
		return withNext(&cancelledError{what: what}, next)
	case errors.As(err, &failed):
		text := fmt.Sprintf("%s failed:%s", failed.Op, failuresText(failed))
		next := again + " goes on where it stopped; "
		if summary.Op == "preview" {
			next = ""
		}
		return withNext(&explainedError{text: text, cause: err}, fmt.Sprintf("%s%s checks this machine; the log is in %s", next, d.command("doctor"), failed.Dir))
	}
	return err
}

// failuresText is each failure on a line of its own.
func failuresText(failed *engine.FailedError) string {
	var b strings.Builder
	for _, f := range failed.Failures {
		what := ""
		if f.Name != "" {
			what = fmt.Sprintf("%s %s: ", f.Op, planview.Noun(f.Type, f.Name))
		}
		b.WriteString("\n  " + what + strings.ReplaceAll(strings.TrimSpace(f.Message), "\n", "\n    "))
	}
	return b.String()
}

// stoppedText says what a run that was stopped at once leaves half done: what failed because of that, and what the
// engine had not heard of any more.
func stoppedText(done string, failed *engine.FailedError, busy []string) string {
	half := slices.Clone(busy)
	if failed != nil {
		for _, f := range failed.Failures {
			half = append(half, verbs[f.Op][0]+" "+planview.Noun(f.Type, f.Name))
		}
	}
	if len(half) == 0 {
		return done + "; the rest was not begun"
	}
	slices.Sort(half)
	return done + "; may be half done: " + strings.Join(slices.Compact(half), ", ")
}

// changesText counts what was done: "2 created, 1 updated".
func changesText(changes map[engine.Op]int) string {
	var parts []string
	for _, op := range []engine.Op{engine.OpCreate, engine.OpUpdate, engine.OpReplace, engine.OpDelete} {
		if n := changes[op]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, verbs[op][1]))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// verbs are how operations are told: while they run, and when they are done.
var verbs = map[engine.Op][2]string{
	engine.OpCreate:         {"creating", "created"},
	engine.OpUpdate:         {"updating", "updated"},
	engine.OpReplace:        {"replacing", "replaced"},
	engine.OpDelete:         {"deleting", "deleted"},
	engine.OpDeleteReplaced: {"deleting the old", "deleted the old"},
}

// engineCancelled is what the engine says of an interrupt.
const engineCancelled = "update canceled"

// runView turns the engine's events into progress.
type runView struct {
	show *progress.Display
	busy map[string]engine.Event // by URN: what is being worked on
	// interrupted tells whether the person wanted the run to end.
	interrupted func() bool
}

func (v *runView) event(e engine.Event) {
	verb, changes := verbs[e.Op]
	what := planview.Noun(e.Type, e.Name)
	switch e.Kind {
	case engine.KindStarted:
		if !changes {
			return
		}
		v.busy[e.URN] = e
	case engine.KindFinished:
		delete(v.busy, e.URN)
		if changes {
			v.show.Print(progress.Good, fmt.Sprintf("%s %s in %s", verb[1], what, progress.Elapsed(e.Elapsed)))
		}
	case engine.KindFailed:
		delete(v.busy, e.URN)
		level, end := progress.Bad, "failed" // why ends the run's error
		if v.interrupted() {
			level, end = progress.Warn, "is not complete"
		}
		v.show.Print(level, fmt.Sprintf("%s %s %s", verb[0], what, end))
	case engine.KindDiagnostic:
		if e.Message == engineCancelled && v.interrupted() {
			return // told already, in our words
		}
		level := map[string]progress.Level{engine.SeverityWarning: progress.Warn, engine.SeverityError: progress.Bad}[e.Severity]
		v.show.Print(level, e.Message)
		return
	default:
		return
	}
	v.update()
}

// busyWith is what is being worked on, in words.
func (v *runView) busyWith() []string {
	var all []string
	for _, urn := range sortedKeys(v.busy) {
		e := v.busy[urn]
		all = append(all, verbs[e.Op][0]+" "+planview.Noun(e.Type, e.Name))
	}
	return all
}

// update shows what is being worked on.
func (v *runView) update() {
	busy := make([]engine.Event, 0, len(v.busy))
	for _, urn := range sortedKeys(v.busy) {
		busy = append(busy, v.busy[urn])
	}
	slices.SortStableFunc(busy, func(a, b engine.Event) int { return a.Time.Compare(b.Time) })
	var rows []progress.Row
	var names []string
	for _, e := range busy {
		what := planview.Noun(e.Type, e.Name)
		names = append(names, what)
		rows = append(rows, progress.Row{Key: e.URN, Cells: []string{verbs[e.Op][0], what}, Line: verbs[e.Op][0] + " " + what, Since: e.Time})
	}
	v.show.Rows(nil, rows)
	v.show.Wait(strings.Join(names, ", "))
}

const (
	healTimeout = 5 * time.Minute
	healPoll    = time.Second
	healTell    = 10 // polls until people are told what a roll waits for

	problemWidth = 160
)

// gate returns what is asked about a node of a roll: it waits until the stack is as it has to be for that node, so that never
// two members of one thing are missing by our own doing. Without outputs the stack was never complete, and there is no cluster
// whose health could be waited for.
func gate(d *deps, outputs func() (*stacks.Outputs, error), until func(*deps, api.Identity) wait) func(context.Context, api.Identity) error {
	return func(ctx context.Context, node api.Identity) error {
		out, err := outputs()
		if err != nil || out == nil {
			return err
		}
		c, err := d.dial(out)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = until(d, node).run(ctx, d, c)
		return err
	}
}

// sparing is the wait before a node is taken away.
func sparing(d *deps, node api.Identity) wait {
	return wait{
		node: node.Name, until: "the others have all that it has", timeout: healTimeout,
		fits: func(st api.Status) bool { return spares(st, node) },
		vain: func(st api.Status) error {
			slots := onlyOn(st, node)
			if len(slots) == 0 {
				return nil
			}
			return fmt.Errorf("no other node is to have a copy of the Redis slots %s, so nothing was done to %s: "+
				"with devctl:redis.replicas above 0 %q gives every shard one, then try again", strings.Join(slots, ", "), node.Name, d.command("deploy"))
		},
	}
}

// healing is the wait after a node has come.
func healing(_ *deps, node api.Identity) wait {
	return wait{
		node: node.Name, until: "the stack is healthy again", timeout: healTimeout,
		fits: func(st api.Status) bool { return healthyWith(st, node) },
	}
}

// wait is for a stack to be as it has to be for the sake of a node.
type wait struct {
	node    string
	until   string // what is waited for
	timeout time.Duration
	fits    func(api.Status) bool
	vain    func(api.Status) error // why waiting is of no use, or nil; may be nil itself
}

// run asks the controllers until the stack fits, and returns what they said last. When that takes longer than the timeout,
// the error says what the stack's problems are; it is a context.DeadlineExceeded.
func (w wait) run(ctx context.Context, d *deps, c cluster) (last api.Status, err error) {
	limited, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	for polls := 1; ; polls++ {
		st, err := c.Status(limited)
		switch {
		case err == nil && w.fits(st):
			return st, nil
		case err == nil:
			last = st
			if w.vain != nil {
				if err := w.vain(st); err != nil {
					return last, err
				}
			}
			if polls == healTell {
				d.say("%s: waiting until %s:%s", w.node, w.until, problemLines(st))
			}
		case ctx.Err() != nil:
			return last, ctx.Err()
		case limited.Err() != nil:
			return last, &explainedError{text: fmt.Sprintf("waited %s until %s:%s", w.timeout, w.until, problemLines(last)), cause: err}
		default:
			return last, err
		}
		select {
		case <-limited.Done():
		case <-d.after(healPoll):
		}
	}
}

// problemLines are the problems of a stack, each on a line of its own and without the logs that may come with it.
func problemLines(st api.Status) string {
	var b strings.Builder
	for _, problem := range st.Problems {
		b.WriteString("\n  " + output.Cut(strings.ReplaceAll(problem, "\n", " "), problemWidth))
	}
	return b.String()
}

// healthyWith tells whether the stack is healthy and the node a part of it. Before anything was deployed there is
// nothing that could be lost.
func healthyWith(st api.Status, node api.Identity) bool {
	return ready(st, node.Name) && (st.Healthy || st.Deployed == "")
}

// spares tells whether the others have all that the node has: etcd its quorum, every shard a copy in sync, and the endpoint
// somebody to hold it. The node itself may be broken: that is what replacing it is for.
func spares(st api.Status, node api.Identity) bool {
	switch node.Role {
	case api.RoleMain:
		others := st.Etcd.Healthy
		if ready(st, node.Name) {
			others--
		}
		return others > st.Etcd.Members/2
	case api.RoleData:
		elsewhere := func(m api.ShardMember) bool { return m.InSync && m.Node != "" && m.Node != node.Name }
		return st.Deployed == "" || len(st.Redis.Shards) > 0 &&
			!slices.ContainsFunc(st.Redis.Shards, func(s api.ShardStatus) bool {
				return !elsewhere(s.Primary) && !slices.ContainsFunc(s.Replicas, elsewhere)
			})
	default:
		return st.Deployed == "" || slices.ContainsFunc(st.Nodes, func(n api.NodeStatus) bool {
			return n.Role == node.Role && n.Name != node.Name && n.State == api.NodeReady
		})
	}
}

// onlyOn are the slots that no other data node will ever have a copy of: all is as it should be, and there is none.
func onlyOn(st api.Status, node api.Identity) []string {
	if node.Role != api.RoleData || !st.Healthy || !st.Settled {
		return nil
	}
	var slots []string
	for _, s := range st.Redis.Shards {
		if s.Primary.Node == node.Name && len(s.Replicas) == 0 {
			slots = append(slots, s.Slots)
		}
	}
	return slots
}

func ready(st api.Status, node string) bool {
	return slices.ContainsFunc(st.Nodes, func(n api.NodeStatus) bool { return n.Name == node && n.State == api.NodeReady })
}
