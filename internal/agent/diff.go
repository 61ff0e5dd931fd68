package agent

import (
	"maps"
	"slices"
)

// wanted is an assignment as far as the decision what to do about it goes.
type wanted struct {
	Hash    string // of the assignment
	Content string // hash of what has to be on disk, secrets put in
	// Broken: the files cannot be made at the moment, say for want of a secret. The unit stays as it is.
	Broken bool
}

// applied is what the agent made of an assignment. The agent removes nothing that it does not own.
type applied struct {
	Hash    string   `json:"hash"` // "" while it is being installed
	Content string   `json:"content"`
	Files   []string `json:"files"` // paths, besides the unit file
	// What the agent has to know of the unit without asking etcd.
	Shard    int    `json:"shard,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
}

// unitState is what systemd says about a unit.
type unitState struct {
	Known  bool   // it has a unit file
	Active string // ActiveState
	Sub    string // SubState
	Job    string // type of the job that is queued or runs for it: start, stop, restart …; "" for none
}

// rests tells whether nothing of the unit runs, and nothing is about to.
func (s unitState) rests() bool {
	return s.Job == "" && (s.Active == "inactive" || s.Active == "failed" || s.Active == "")
}

// kind is what a task does to a unit.
type kind string

const (
	install kind = "install" // write its files and (re)start it
	start   kind = "start"
	stop    kind = "stop"
	remove  kind = "remove" // it has stopped: delete its files, but not its data
)

// task is one thing to do, and why.
type task struct {
	Kind   kind
	Unit   string
	Reason string
}

// diff compares what is wanted with what the agent owns and what systemd says. Units that go come first: a port
// may pass from one unit to the next. Nothing here waits: a unit that has to stop is removed by a later diff that
// finds it stopped. With again set, wanted units that rest are started: systemd itself restarts what crashes, so
// that somebody stopped them by hand, or it gave up.
func diff(want map[string]wanted, owned map[string]applied, live map[string]unitState, again bool) []task {
	var tasks []task
	for _, unit := range slices.Sorted(maps.Keys(owned)) {
		if _, ok := want[unit]; ok {
			continue
		}
		state := live[unit]
		switch {
		case state.rests():
			tasks = append(tasks, task{remove, unit, "it is not assigned any more, and has stopped"})
		case state.Job != "stop" && state.Active != "deactivating":
			tasks = append(tasks, task{stop, unit, "it is not assigned any more"})
		}
	}
	for _, unit := range slices.Sorted(maps.Keys(want)) {
		w := want[unit]
		if w.Broken {
			continue
		}
		o, ok := owned[unit]
		state := live[unit]
		switch {
		case !ok:
			tasks = append(tasks, task{install, unit, "it is new on this node"})
		case o.Hash == "":
			tasks = append(tasks, task{install, unit, "it was not installed to the end"})
		case o.Hash != w.Hash:
			tasks = append(tasks, task{install, unit, "its assignment changed"})
		case o.Content != w.Content:
			tasks = append(tasks, task{install, unit, "a secret in its files changed"})
		case !state.Known:
			tasks = append(tasks, task{install, unit, "its unit file is gone"})
		case again && state.rests():
			tasks = append(tasks, task{start, unit, "it is " + state.Active})
		}
	}
	return tasks
}
