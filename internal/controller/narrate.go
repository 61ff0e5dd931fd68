package controller

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"devctl/internal/api"
	"devctl/internal/plan"
)

// Levels of events.
const (
	levelInfo    = "info"
	levelWarning = "warning"
	levelError   = "error"
)

// told is what events have said so far. It is stored with them, in the same transaction, so that the next leader
// neither repeats nor leaves out anything.
type told struct {
	Seq      int64               `json:"seq"` // of the last event
	Deployed string              `json:"deployed,omitempty"`
	Settled  string              `json:"settled,omitempty"` // the deployment that was said to be settled, while it is
	Nodes    map[string]toldNode `json:"nodes,omitempty"`
	Units    map[string]toldUnit `json:"units,omitempty"` // by node/unit
	Redis    string              `json:"redis,omitempty"`
	Balancer map[string]string   `json:"balancer,omitempty"` // by node
	Endpoint string              `json:"endpoint,omitempty"`
}

// toldNode is a node that has joined at some time.
type toldNode struct {
	ID string `json:"id"` // of the machine
	// Silent is the node's last heartbeat if it beats no more.
	Silent time.Time `json:"silent,omitzero"`
	// Elastic is who the node is, if no deployment says so.
	Elastic *api.Identity `json:"elastic,omitempty"`
}

// toldUnit is how an assigned unit was when it was told about last.
type toldUnit struct {
	Hash   string `json:"hash"`
	Active bool   `json:"active"` // else it failed
}

// deploymentEvent tells that there is something new to run.
func deploymentEvent(revision string) api.Event {
	return api.Event{Level: levelInfo, Message: fmt.Sprintf("deployment %s is what should run now", revision)}
}

// operationEvent tells about a change of the assignments.
func operationEvent(op plan.Operation) api.Event {
	verb := "starts"
	switch {
	case op.Kind == plan.Delete:
		verb = "goes away"
	case !op.Creates():
		verb = "is changed"
	}
	a := op.Assignment
	return api.Event{Level: levelInfo, Node: a.Node, Unit: a.Unit, Message: fmt.Sprintf("%s on %s %s: %s", a.Unit, a.Node, verb, op.Reason)}
}

// narrator compares what was told with what is, and collects the difference as events.
type narrator struct {
	before, after told
	state         state
	status        api.Status
	beats         map[string]time.Time // last heartbeats that this leader has seen
	now           time.Time
	events        []api.Event
}

// narrate returns what there is to tell since s.told, and what will have been told then. Sequence numbers and times
// of the events are not set.
func narrate(s state, st api.Status, beats map[string]time.Time, now time.Time) ([]api.Event, told) {
	n := &narrator{before: s.told, state: s, status: st, beats: beats, now: now}
	n.after = told{
		Seq: s.told.Seq, Deployed: s.deployed, Nodes: map[string]toldNode{}, Units: map[string]toldUnit{}, Balancer: map[string]string{},
	}
	n.nodes()
	if s.deployment == nil {
		return n.events, n.after
	}
	n.units()
	n.redis()
	n.balancers()
	n.endpoint()
	if st.Settled {
		n.after.Settled = s.deployed
		if n.before.Settled != s.deployed {
			n.say(levelInfo, "", "", "settled: everything runs and is ready")
		}
	}
	return n.events, n.after
}

func (n *narrator) say(level, node, unit, format string, args ...any) {
	n.events = append(n.events, api.Event{Level: level, Node: node, Unit: unit, Message: fmt.Sprintf(format, args...)})
}

func (n *narrator) nodes() {
	for _, r := range n.state.nodes {
		t, known := n.before.Nodes[r.Name]
		switch {
		case !known:
			n.say(levelInfo, r.Name, "", "%s joined (%s, zone %s, %s)", r.Name, r.Role, r.Zone, r.Address)
		case t.ID != r.ID:
			n.say(levelInfo, r.Name, "", "%s joined anew, on another machine (%s, zone %s, %s)", r.Name, r.Role, r.Zone, r.Address)
		case !t.Silent.IsZero():
			n.say(levelInfo, r.Name, "", "%s beats again, after %s", r.Name, n.now.Sub(t.Silent).Round(time.Second))
		}
		t = toldNode{ID: r.ID}
		if n.state.deployment != nil && plan.IsElastic(*n.state.deployment, r.Identity) {
			t.Elastic = &r.Identity
		}
		n.after.Nodes[r.Name] = t
	}
	for _, name := range slices.SortedFunc(maps.Keys(n.before.Nodes), plan.CompareNames) {
		t := n.before.Nodes[name]
		if _, live := n.state.node(name); live {
			continue
		}
		expected := n.state.expects(name)
		if t.Silent.IsZero() {
			t.Silent = n.now
			if beat, seen := n.beats[name]; seen {
				t.Silent = beat
			}
			if expected {
				n.say(levelWarning, name, "", "%s stopped beating (last heartbeat %s)", name, t.Silent.UTC().Format("15:04:05 MST"))
			} else {
				n.say(levelInfo, name, "", "%s left the stack", name)
			}
		}
		if expected {
			n.after.Nodes[name] = t
		}
	}
}

// units tells when an assigned unit has come up or failed. A unit that keeps failing is between both all the time:
// that is told once.
func (n *narrator) units() {
	for _, a := range n.state.assignments {
		key := a.Node + "/" + a.Unit
		t, was := n.before.Units[key]
		u, known := n.state.units[a.Node][a.Unit]
		// What is said about the assignment before this one is no news.
		failed := (u.Active == "failed" || u.Sub == "auto-restart") && (u.Hash == a.Hash || u.Hash != t.Hash)
		was = was && t.Hash == a.Hash
		switch {
		case known && u.Ready() && u.Hash == a.Hash:
			if !was || !t.Active {
				n.say(levelInfo, a.Node, a.Unit, "%s on %s is active", a.Unit, a.Node)
			}
			t = toldUnit{Hash: a.Hash, Active: true}
		case known && failed:
			if !was || t.Active {
				n.say(levelError, a.Node, a.Unit, "%s on %s failed%s", a.Unit, a.Node, because(u.Message))
			}
			t = toldUnit{Hash: a.Hash}
		case !was:
			continue
		}
		n.after.Units[key] = t
	}
}

func (n *narrator) redis() {
	r, d := n.state.redis, n.state.deployment
	if d.Redis.Shards == 0 {
		return
	}
	replicas := -d.Redis.Shards
	for _, a := range n.state.assignments {
		if a.Shard > 0 {
			replicas++
		}
	}
	level, text := levelInfo, ""
	switch {
	case r.State == "none":
		text = "Redis: waiting for its members"
	case r.State == "ok" && len(n.state.redisProblems()) == 0:
		text = fmt.Sprintf("Redis: whole, %d primaries and %d replicas in sync", r.Primaries, r.Replicas)
	case r.State == "ok":
		text = fmt.Sprintf("Redis: every slot is served, replicas in sync %d of %d", r.Replicas, replicas)
	case r.State == "forming":
		text = fmt.Sprintf("Redis: forming, %d of %d slots", r.SlotsAssigned, redisSlots)
	default:
		level = levelError
		text = fmt.Sprintf("Redis: not whole, %d of %d slots served%s", r.SlotsAssigned, redisSlots, because(strings.Join(r.Problems, "\n")))
	}
	n.after.Redis = text
	if text != n.before.Redis {
		n.say(level, "", "", "%s", text)
	}
}

func (n *narrator) balancers() {
	for _, name := range n.state.balancers() {
		r, live := n.state.node(name)
		text := n.before.Balancer[name]
		switch want := n.state.deployment.Redis.Shards; {
		case !live, r.LoadBalancer == nil:
		case r.LoadBalancer.Up >= want:
			text = fmt.Sprintf("HAProxy on %s is up with %d backends", name, r.LoadBalancer.Up)
		default:
			text = fmt.Sprintf("HAProxy on %s reaches %d of %d backends", name, r.LoadBalancer.Up, want)
		}
		n.after.Balancer[name] = text
		if text != n.before.Balancer[name] {
			n.say(levelInfo, name, "", "%s", text)
		}
	}
}

func (n *narrator) endpoint() {
	problems, address := n.state.endpointProblems(), n.state.deployment.Endpoint.Address
	level, text := levelInfo, ""
	switch holder := n.status.Endpoint.Holder; {
	case len(problems) > 0:
		level, text = levelWarning, problems[0]
	case holder != "":
		text = fmt.Sprintf("the endpoint %s is held by %s", address, holder)
	}
	// That nobody has it yet is no news before somebody had it.
	if text != n.before.Endpoint && (level == levelInfo || n.before.Endpoint != "") {
		n.say(level, n.status.Endpoint.Holder, "", "%s", cmp.Or(text, "there is no endpoint any more"))
		n.after.Endpoint = text
		return
	}
	n.after.Endpoint = n.before.Endpoint
}
