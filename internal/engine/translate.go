package engine

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// unknownSentinel stands in the engine's events for a value that is not known before the update.
const unknownSentinel = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

// translator turns one run's engine events into ours.
type translator struct {
	op       string
	now      func() time.Time
	begun    time.Time
	started  map[string]time.Time // by operation and URN
	reasons  map[string]string    // by URN: what the engine complained about before it said that the operation failed
	changes  map[Op]int
	failures []Failure
}

func newTranslator(op string, now func() time.Time) *translator {
	return &translator{op: op, now: now, begun: now(), started: map[string]time.Time{}, reasons: map[string]string{}, changes: map[Op]int{}}
}

// translate returns our event for one of the engine's; false for those that tell nobody anything.
func (t *translator) translate(e events.EngineEvent) (Event, bool) {
	switch {
	case e.Error != nil:
		// The stream broke: pulumi is gone. What that means shows in how its process ended.
		return Event{}, false
	case e.ResourcePreEvent != nil:
		return t.pre(e.ResourcePreEvent.Metadata, e.ResourcePreEvent.Planning)
	case e.ResOutputsEvent != nil:
		return t.outputs(e.ResOutputsEvent.Metadata, e.ResOutputsEvent.Planning)
	case e.ResOpFailedEvent != nil:
		return t.failed(e.ResOpFailedEvent.Metadata)
	case e.DiagnosticEvent != nil:
		return t.diagnostic(*e.DiagnosticEvent)
	case e.ErrorEvent != nil:
		return t.diagnostic(apitype.DiagnosticEvent{Message: e.ErrorEvent.Error, Severity: SeverityError})
	case e.SummaryEvent != nil:
		ev := t.event(KindSummary)
		ev.Elapsed, ev.Changes = ev.Time.Sub(t.begun), maps.Clone(t.changes)
		return ev, true
	}
	return Event{}, false
}

// event is an event of now. The engine's own timestamps have no more than seconds.
func (t *translator) event(k Kind) Event { return Event{Time: t.now(), Kind: k} }

// resource fills in what the event is about; false for what people do not see as a resource.
func (t *translator) resource(k Kind, m apitype.StepEventMetadata) (Event, bool) {
	op, ok := operation(m.Op)
	if !ok || m.Type == string(resource.RootStackType) || strings.HasPrefix(m.Type, "pulumi:providers:") {
		return Event{}, false
	}
	e := t.event(k)
	e.Op, e.URN, e.Type, e.Name = op, m.URN, m.Type, urnName(m.URN)
	return e, true
}

func operation(op apitype.OpType) (Op, bool) {
	switch op {
	case apitype.OpSame:
		return OpSame, true
	case apitype.OpCreate, apitype.OpImport:
		return OpCreate, true
	case apitype.OpUpdate:
		return OpUpdate, true
	case apitype.OpDelete, apitype.OpDiscardReplaced, apitype.OpReadDiscard:
		return OpDelete, true
	case apitype.OpReplace, apitype.OpCreateReplacement, apitype.OpImportReplacement:
		return OpReplace, true
	case apitype.OpDeleteReplaced:
		return OpDeleteReplaced, true
	case apitype.OpRead, apitype.OpReadReplacement:
		return OpRead, true
	case apitype.OpRefresh:
		return OpRefresh, true
	}
	return "", false
}

// pre is the beginning of a step, or the whole of it in a preview. A replacement comes as three steps: the creation
// of the new resource, the deletion of the old one, and "replace", which does nothing and has the whole difference.
func (t *translator) pre(m apitype.StepEventMetadata, planning bool) (Event, bool) {
	k := KindStarted
	if planning {
		k = KindPlanned
	}
	e, ok := t.resource(k, m)
	logical := m.Op == apitype.OpReplace
	if !ok || planning && e.Op == OpReplace && !logical || planning && e.Op == OpDeleteReplaced || !planning && logical {
		return Event{}, false
	}
	e.Diff = diff(m)
	t.started[string(e.Op)+e.URN] = e.Time
	if planning {
		t.changes[e.Op]++
		if m.Old != nil {
			e.Old, e.OldOutputs = inputs(m.Old.Inputs), inputs(m.Old.Outputs)
		}
		if m.New != nil {
			e.New = inputs(m.New.Inputs)
		}
	}
	return e, true
}

func (t *translator) outputs(m apitype.StepEventMetadata, planning bool) (Event, bool) {
	e, ok := t.resource(KindFinished, m)
	if !ok || planning || m.Op == apitype.OpReplace {
		return Event{}, false
	}
	e.Elapsed = t.elapsed(e)
	if t.op == "refresh" && e.Op == OpRefresh {
		e.Op, e.Diff = found(m)
	}
	if e.Op != OpDeleteReplaced {
		t.changes[e.Op]++
	}
	return e, true
}

func (t *translator) failed(m apitype.StepEventMetadata) (Event, bool) {
	e, ok := t.resource(KindFailed, m)
	if !ok {
		return Event{}, false
	}
	e.Elapsed, e.Severity, e.Message = t.elapsed(e), SeverityError, t.reasons[e.URN]
	delete(t.reasons, e.URN)
	t.failures = append(t.failures, Failure{URN: e.URN, Type: e.Type, Name: e.Name, Op: e.Op, Message: e.Message})
	return e, true
}

func (t *translator) elapsed(e Event) time.Duration {
	began, known := t.started[string(e.Op)+e.URN]
	if !known {
		return 0
	}
	return e.Time.Sub(began)
}

// diagnostic is a message for people. An error of a resource is kept for the event that says that the resource
// failed, which follows.
func (t *translator) diagnostic(d apitype.DiagnosticEvent) (Event, bool) {
	e := t.event(KindDiagnostic)
	e.Message = message(d)
	e.Severity = strings.TrimSuffix(d.Severity, "#err")
	if d.Ephemeral || e.Message == "" || e.Severity == "debug" {
		return Event{}, false
	}
	if d.URN != "" && resource.URN(d.URN).IsValid() {
		e.URN, e.Type, e.Name = d.URN, string(resource.URN(d.URN).Type()), urnName(d.URN)
	}
	if e.Severity != SeverityError {
		return e, true
	}
	if e.URN != "" && e.Type != string(resource.RootStackType) {
		t.reasons[e.URN] = join(t.reasons[e.URN], e.Message)
		return Event{}, false
	}
	e.URN, e.Type, e.Name = "", "", ""
	switch e.Message {
	case "update failed", "preview failed": // which the resources explain
		return Event{}, false
	case "update canceled", "preview canceled": // which ErrCancelled says
		return Event{}, false
	}
	t.failures = append(t.failures, Failure{Message: e.Message})
	return e, true
}

// unsaid returns the errors of resources that no failed operation followed: a check or a diff that went wrong.
func (t *translator) unsaid() []Failure {
	var failures []Failure
	for _, urn := range slices.Sorted(maps.Keys(t.reasons)) {
		failures = append(failures, Failure{URN: urn, Type: string(resource.URN(urn).Type()), Name: urnName(urn), Op: "check", Message: t.reasons[urn]})
	}
	return failures
}

func join(a, b string) string {
	if a == "" || a == b {
		return b
	}
	return a + "; " + b
}

func urnName(urn string) string {
	if !resource.URN(urn).IsValid() {
		return ""
	}
	return resource.URN(urn).Name()
}

// wrapping is what the engine, the SDK and gRPC put around every error.
var wrapping = regexp.MustCompile(`^(error: |warning: |rpc error: code = \w+ desc = |an unhandled error occurred: |program failed: |\d+ errors? occurred:\s*\* |\s+)+`)

// message is the text of a diagnostic without colours and without that wrapping.
func message(d apitype.DiagnosticEvent) string {
	text := wrapping.ReplaceAllString(colors.Never.Colorize(d.Message), "")
	return strings.TrimSpace(strings.ReplaceAll(text, "\n\t* ", "; "))
}

// found is what a refresh saw of one resource: gone, different or the same.
func found(m apitype.StepEventMetadata) (Op, []PropertyChange) {
	switch {
	case m.New == nil:
		return OpDelete, nil
	case m.Old == nil:
		return OpSame, nil
	}
	changes := compare(m.Old.Outputs, m.New.Outputs)
	if len(changes) == 0 {
		return OpSame, nil
	}
	return OpUpdate, changes
}

// diff is what a step changes in the inputs of its resource.
func diff(m apitype.StepEventMetadata) []PropertyChange {
	var before, after map[string]any
	if m.Old != nil {
		before = m.Old.Inputs
	}
	if m.New != nil {
		after = m.New.Inputs
	}
	switch {
	case m.Op == apitype.OpSame:
		return nil
	case m.Old == nil || m.New == nil:
		return compare(before, after)
	}
	var changes []PropertyChange
	for path, d := range m.DetailedDiff {
		kind, replaces := strings.CutSuffix(string(d.Kind), "-replace")
		c := PropertyChange{Path: path, Kind: kind, Replaces: replaces}
		if parsed, err := resource.ParsePropertyPath(path); err == nil {
			old, found := lookup(before, parsed)
			if !found { // the difference is to what really is there
				old, found = lookup(m.Old.Outputs, parsed)
			}
			if found {
				c.Old = text(old)
			}
			if value, found := lookup(after, parsed); found {
				c.New = text(value)
			}
		}
		changes = append(changes, c)
	}
	if len(changes) == 0 {
		changes = compare(before, after)
		for i, c := range changes {
			changes[i].Replaces = slices.Contains(m.Keys, c.Path)
		}
	}
	slices.SortFunc(changes, func(a, b PropertyChange) int { return strings.Compare(a.Path, b.Path) })
	return changes
}

// compare lists the top-level differences.
func compare(before, after map[string]any) []PropertyChange {
	names := slices.Collect(maps.Keys(before))
	names = slices.AppendSeq(names, maps.Keys(after))
	slices.Sort(names)
	var changes []PropertyChange
	for _, name := range slices.Compact(names) {
		old, had := before[name]
		value, has := after[name]
		c := PropertyChange{Path: name}
		switch {
		case strings.HasPrefix(name, "__"): // the SDK's own bookkeeping
			continue
		case !had:
			c.Kind, c.New = ChangeAdd, text(value)
		case !has:
			c.Kind, c.Old = ChangeDelete, text(old)
		case text(old) != text(value):
			c.Kind, c.Old, c.New = ChangeUpdate, text(old), text(value)
		default:
			continue
		}
		changes = append(changes, c)
	}
	return changes
}

// inputs are those of a resource with secrets masked, or what the state knows of it.
func inputs(of map[string]any) map[string]any {
	if of == nil {
		return nil
	}
	return masked(of).(map[string]any)
}

func lookup(in map[string]any, path resource.PropertyPath) (any, bool) {
	var v any = in
	for _, step := range path {
		switch at := v.(type) {
		case map[string]any:
			key, ok := step.(string)
			if !ok {
				return nil, false
			}
			if v, ok = at[key]; !ok {
				return nil, false
			}
		case []any:
			i, ok := step.(int)
			if !ok || i < 0 || i >= len(at) {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// text is a value for people: strings as they are, all else as JSON.
func text(v any) string {
	v = masked(v)
	switch v := v.(type) {
	case string:
		return v
	case nil:
		return ""
	}
	data, err := json.Marshal(v)
	if err != nil {
		return "[unreadable]"
	}
	return string(data)
}

// masked puts words in the place of what the engine marks as secret or not known yet.
func masked(v any) any {
	switch v := v.(type) {
	case string:
		if v == unknownSentinel {
			return "[unknown]"
		}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = masked(v[i])
		}
		return out
	case map[string]any:
		if v[resource.SigKey] == resource.SecretSig {
			return "[secret]"
		}
		out := map[string]any{}
		for key := range v {
			out[key] = masked(v[key])
		}
		return out
	}
	return v
}
