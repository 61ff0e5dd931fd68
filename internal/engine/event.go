package engine

import "time"

// Kind is what an event tells.
type Kind string

// Kinds of events.
const (
	KindPlanned    Kind = "planned"    // a preview: what an update would do
	KindStarted    Kind = "started"    // work on a resource begins
	KindFinished   Kind = "finished"   // it is done
	KindFailed     Kind = "failed"     // it is not, and Message says why
	KindDiagnostic Kind = "diagnostic" // Message for people, of Severity
	KindSummary    Kind = "summary"    // the last event of a run that got to its end
)

// Op is what is done to a resource.
type Op string

// Operations.
const (
	OpSame    Op = "same"
	OpCreate  Op = "create"
	OpUpdate  Op = "update"
	OpReplace Op = "replace" // in an update: the creation of the replacement
	OpDelete  Op = "delete"
	// OpDeleteReplaced is the deletion of what is, or was, replaced. It is not in a summary, nor in a preview.
	OpDeleteReplaced Op = "delete-replaced"
	OpRead           Op = "read"
	OpRefresh        Op = "refresh"
)

// Severities of diagnostics.
const (
	SeverityInfo    = "info"
	SeverityWarning = "warning"
	SeverityError   = "error"
)

// Event is one thing that happened in a run. Secrets in it are replaced by "[secret]".
type Event struct {
	Time time.Time `json:"time"`
	Kind Kind      `json:"kind"`

	// The resource; empty in a summary and in diagnostics that concern none.
	Op   Op     `json:"op,omitempty"`
	URN  string `json:"urn,omitempty"`
	Type string `json:"type,omitempty"` // for example devctl:local:NodeGroup
	Name string `json:"name,omitempty"`

	Elapsed  time.Duration    `json:"elapsed,omitempty"` // since the work began: finished, failed; of the run: summary
	Message  string           `json:"message,omitempty"`
	Severity string           `json:"severity,omitempty"`
	Diff     []PropertyChange `json:"diff,omitempty"` // sorted by path: planned and started
	Changes  map[Op]int       `json:"changes,omitempty"`

	// Old and New are all inputs of the resource, before and after; nil where there is none. Only planned events have
	// them, and no log.
	Old map[string]any `json:"-"`
	New map[string]any `json:"-"`
	// OldOutputs are what the state knows of it; with those of New a preview can say which machines are there.
	OldOutputs map[string]any `json:"-"`
}

// Kinds of property changes.
const (
	ChangeAdd    = "add"
	ChangeDelete = "delete"
	ChangeUpdate = "update"
)

// PropertyChange is one difference in a resource's inputs. Strings are as they are, all else is JSON; a secret is
// "[secret]", and what only the update will know "[unknown]".
type PropertyChange struct {
	Path     string `json:"path"` // for example nodes[2].zone
	Kind     string `json:"kind"`
	Replaces bool   `json:"replaces,omitempty"` // the change forces the replacement of the resource
	Old      string `json:"old,omitempty"`
	New      string `json:"new,omitempty"`
}

// Summary is what a run did, or would do in a preview.
type Summary struct {
	Op       string        `json:"op"`      // preview, up, refresh, destroy
	Changes  map[Op]int    `json:"changes"` // number of resources, OpSame included; the stack itself is none
	Duration time.Duration `json:"duration"`
	Dir      string        `json:"dir"` // the run's log: events.jsonl and engine.log
}

// Changed tells whether anything is different.
func (s Summary) Changed() bool {
	for op, n := range s.Changes {
		if n > 0 && op != OpSame && op != OpRead && op != OpRefresh {
			return true
		}
	}
	return false
}
