package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/backoff"
	"devctl/internal/discovery"
	"devctl/units"
)

const (
	// resyncInterval is how often secrets are read again and resting units started.
	resyncInterval = 30 * time.Second
	// evidenceAge is how old the log lines of a unit that fails may get.
	evidenceAge = 5 * time.Second
)

// manager is what the reconciler needs of systemd. Jobs are queued, not waited for: units tells how they go.
type manager interface {
	units(ctx context.Context, names []string) (map[string]unitState, error)
	reload(ctx context.Context) error
	enable(ctx context.Context, unit string) error
	disable(ctx context.Context, unit string) error
	restart(ctx context.Context, unit string) error
	start(ctx context.Context, unit string) error
	stop(ctx context.Context, unit string) error
	// forget clears the memory of a unit's failures.
	forget(ctx context.Context, unit string) error
}

// reconciler makes systemd run what is assigned to the node.
type reconciler struct {
	systemd   manager
	secrets   func(ctx context.Context, name string) (string, error)
	device    func() (string, error)                                 // name of the node's network interface
	journal   func(ctx context.Context, unit string) (string, error) // last lines, for people
	log       *slog.Logger
	unitDir   string
	stateFile string
	base      []string // units that came with the machine: reported, never touched
	report    func(owned map[string]applied, base, assigned []api.UnitStatus)
	pace      func() time.Duration // until the next look at the units
	random    func() float64       // jitter of retries; nil means math/rand
	idle      func()               // told after a full pass without trouble; may be nil

	owned    map[string]applied
	desired  map[string]api.Assignment // nil until etcd has answered
	want     map[string]wanted
	files    map[string][]api.File // of want, secrets put in
	problems map[string]string     // why a unit is not what it should be, from the last full pass
	evidence map[string]evidence
}

// evidence is what a failing unit has logged.
type evidence struct {
	taken time.Time
	text  string
}

// followAssignments sends the node's assignments whenever they change. What does not parse changes nothing.
func followAssignments(ctx context.Context, cli *clientv3.Client, c Config, out chan<- map[string]api.Assignment) error {
	return discovery.Follow(ctx, cli, discovery.AssignmentsOf(c.Identity.Name), c.Log, func(s discovery.Snapshot) {
		assignments, err := discovery.ParseAssignments(s.Values)
		if err != nil {
			c.Log.Error("assignments are unusable, keeping what runs", "error", err)
			return
		}
		select {
		case out <- assignments:
		case <-ctx.Done():
		}
	})
}

// run reconciles until ctx ends: at once when assignments come in, every 30 s, and sooner after trouble, at the latest when
// etcd answers again. In between it looks at the units and goes on with what had to wait for them.
func (r *reconciler) run(ctx context.Context, desired <-chan map[string]api.Assignment) error {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	retry := backoff.Backoff{Min: time.Second, Max: resyncInterval, Random: r.random}
	var next time.Time // when to make a full pass again
	for {
		tick.Reset(r.pace())
		full := false
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case set := <-desired:
			// Follow tells the same again and again; the rest of the pass costs reads of secrets. But when it tells something at all
			// etcd answers, and what failed for want of that need not wait.
			full = !maps.EqualFunc(r.desired, set, func(a, b api.Assignment) bool { return a.Hash == b.Hash }) ||
				r.desired == nil || len(r.problems) > 0
			r.desired = set
		case now := <-tick.C:
			full = now.After(next)
		}
		err := r.pass(ctx, full)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			r.log.Warn("units are not what they should be, trying on", "error", err)
			if soon := time.Now().Add(retry.Next()); full || soon.Before(next) {
				next = soon
			}
		case full:
			retry.Reset()
			next = time.Now().Add(resyncInterval)
			if r.idle != nil {
				r.idle()
			}
		}
	}
}

// pass does what there is to do now and reports how the units are. The error joins what went wrong.
func (r *reconciler) pass(ctx context.Context, full bool) error {
	if full {
		r.problems = map[string]string{}
		if r.desired != nil {
			r.render(ctx)
		}
	}
	live, err := r.look(ctx)
	if err != nil {
		return err
	}
	if r.want != nil {
		tasks := diff(r.want, r.owned, live, full)
		if !full { // what failed waits for the next full pass
			tasks = slices.DeleteFunc(tasks, func(t task) bool { return r.problems[t.Unit] != "" })
		}
		if len(tasks) > 0 {
			r.apply(ctx, tasks)
			if live, err = r.look(ctx); err != nil {
				return err
			}
		}
	}
	r.publish(ctx, live)
	if !full {
		return nil
	}
	var all []error
	for _, unit := range slices.Sorted(maps.Keys(r.problems)) {
		all = append(all, fmt.Errorf("%s: %s", unit, r.problems[unit]))
	}
	return errors.Join(all...)
}

// render works out what the assignments want on disk.
func (r *reconciler) render(ctx context.Context) {
	known := map[string]string{}
	lookup := func(name string) (string, error) {
		if value, ok := known[name]; ok {
			return value, nil
		}
		value, err := r.secrets(ctx, name)
		if err == nil {
			known[name] = value
		}
		return value, err
	}
	r.want, r.files = map[string]wanted{}, map[string][]api.File{}
	for unit, a := range r.desired {
		files, content, err := render(a, lookup, r.device)
		if err != nil {
			r.problems[unit] = err.Error()
		}
		r.want[unit] = wanted{Hash: a.Hash, Content: content, Broken: err != nil}
		r.files[unit] = files
	}
}

func (r *reconciler) look(ctx context.Context) (map[string]unitState, error) {
	names := slices.Concat(r.base, slices.Collect(maps.Keys(r.owned)))
	for unit := range r.want {
		if _, ok := r.owned[unit]; !ok {
			names = append(names, unit)
		}
	}
	return r.systemd.units(ctx, names)
}

// apply carries out tasks. A task that fails leaves a problem, and does not keep others from being done.
func (r *reconciler) apply(ctx context.Context, tasks []task) {
	owned := maps.Clone(r.owned) // the reported one is not ours to change any more
	step := func(unit, action string, err error) bool {
		if err != nil {
			r.problems[unit] = action + ": " + err.Error()
		}
		return err == nil
	}
	var installs []string
	reload := false
	for _, t := range tasks {
		r.log.Info(string(t.Kind), "unit", t.Unit, "reason", t.Reason)
		switch t.Kind {
		case stop:
			step(t.Unit, "stop it", r.systemd.stop(ctx, t.Unit))
		case start:
			step(t.Unit, "start it", r.systemd.start(ctx, t.Unit))
		case remove:
			reload = true
			if step(t.Unit, "remove it", r.remove(ctx, t.Unit, owned[t.Unit])) {
				delete(owned, t.Unit)
			}
		case install:
			reload = true
			// Own it before the first file is there: what is withdrawn in the middle must be found again.
			o := owned[t.Unit]
			stale := o.Files
			o.Hash, o.Files = "", union(stale, paths(r.files[t.Unit]))
			owned[t.Unit] = o
			if step(t.Unit, "note it", saveOwned(r.stateFile, owned)) && step(t.Unit, "write its files", r.write(t.Unit, stale)) {
				installs = append(installs, t.Unit)
			}
		}
	}
	if reload {
		if err := r.systemd.reload(ctx); err != nil {
			for _, unit := range installs {
				step(unit, "reload systemd", err)
			}
			installs = nil
		}
	}
	for _, unit := range installs {
		if !step(unit, "enable it", r.systemd.enable(ctx, unit)) || !step(unit, "restart it", r.systemd.restart(ctx, unit)) {
			continue
		}
		a, w := r.desired[unit], r.want[unit]
		owned[unit] = applied{Hash: w.Hash, Content: w.Content, Files: paths(r.files[unit]), Shard: a.Shard, Endpoint: a.Endpoint}
	}
	r.owned = owned
	if err := saveOwned(r.stateFile, owned); err != nil {
		r.log.Error("cannot note what is installed", "error", err)
	}
}

// write puts everything of a unit on disk, and takes away what an earlier version of it left.
func (r *reconciler) write(unit string, stale []string) error {
	a, files := r.desired[unit], r.files[unit]
	for _, d := range a.Dirs {
		if err := makeDir(d); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := writeFile(f); err != nil {
			return err
		}
	}
	now := paths(files)
	for _, path := range stale {
		if !slices.Contains(now, path) {
			if err := removeFile(path); err != nil {
				return err
			}
		}
	}
	return writeFile(api.File{Path: filepath.Join(r.unitDir, unit), Mode: 0o644, Content: a.Text})
}

// remove takes a stopped unit off the node. Folders with data stay.
func (r *reconciler) remove(ctx context.Context, unit string, o applied) error {
	if err := r.systemd.disable(ctx, unit); err != nil {
		return err
	}
	for _, path := range append(slices.Clone(o.Files), filepath.Join(r.unitDir, unit)) {
		if err := removeFile(path); err != nil {
			return err
		}
	}
	return r.systemd.forget(ctx, unit)
}

// publish reports how the units are.
func (r *reconciler) publish(ctx context.Context, live map[string]unitState) {
	names := slices.Collect(maps.Keys(r.owned))
	for unit := range r.want {
		if _, ok := r.owned[unit]; !ok {
			names = append(names, unit)
		}
	}
	slices.Sort(names)
	r.report(r.owned, r.statuses(ctx, r.base, live), r.statuses(ctx, names, live))
}

func (r *reconciler) statuses(ctx context.Context, names []string, live map[string]unitState) []api.UnitStatus {
	out := make([]api.UnitStatus, len(names))
	for i, unit := range names {
		state := live[unit]
		out[i] = api.UnitStatus{
			Name: unit, Active: active(state), Sub: state.Sub,
			Hash: r.owned[unit].Hash, Message: r.message(ctx, unit, state),
		}
	}
	return out
}

// active is the state of a unit, seen with the job that is about to change it: what is about to be restarted is
// not the version that is ready.
func active(s unitState) string {
	if s.Active == "active" {
		switch s.Job {
		case "start", "restart":
			return "activating"
		case "stop":
			return "deactivating"
		}
	}
	return s.Active
}

// message says why a unit does not do its work: what the agent could not do, then what the unit logged last. An image on its way
// is nothing that fails, but so large that people want to know how far it is.
func (r *reconciler) message(ctx context.Context, unit string, state unitState) string {
	fetches := state.Active == "activating" && units.IsImage(unit)
	fails := state.Active == "failed" || state.Sub == "auto-restart"
	e, seen := r.evidence[unit]
	switch {
	case state.Active == "active" || state.Active == "inactive":
		delete(r.evidence, unit)
		e.text = ""
	case (fails || fetches) && (!seen || time.Since(e.taken) > evidenceAge):
		text, err := r.journal(ctx, unit)
		if err != nil {
			text = "its log cannot be read: " + err.Error()
		}
		if fetches {
			text = text[strings.LastIndex(text, "\n")+1:]
		}
		e = evidence{taken: time.Now(), text: text}
		if r.evidence == nil {
			r.evidence = map[string]evidence{}
		}
		r.evidence[unit] = e
	}
	return strings.TrimSpace(r.problems[unit] + "\n" + e.text)
}

func paths(files []api.File) []string {
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = f.Path
	}
	return out
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
