package standin

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// World is a cloud in memory. Like a real one it knows nothing of stacks and states: it finds things by their ids, refuses
// names that are taken, and deletes nothing that others still refer to. Its methods may be used from several goroutines.
type World struct {
	mu     sync.Mutex
	things []*Thing
	made   map[string]int // how often something was created, by URN: part of the seed of ids
	faults []*fault
	calls  []string
}

// Thing is a resource that exists in a World.
type Thing struct {
	Type    string // for example aws:ec2/vpc:Vpc
	Name    string // the resource's, in the program
	ID      string
	Inputs  property.Map
	Outputs property.Map

	version int
}

// fault makes a call fail.
type fault struct {
	call    string // for example "create aws:ec2/vpc:Vpc"
	after   int    // so many such calls do not fail
	message string
}

// NewWorld makes an empty world.
func NewWorld() *World { return &World{made: map[string]int{}} }

// Fail makes the n-th call of that kind from now on fail once, the first being 1. A kind is a verb (create, update,
// delete) and a type token.
func (w *World) Fail(verb, token string, n int, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, &fault{call: verb + " " + token, after: n - 1, message: message})
}

// Lose deletes a resource behind everybody's back. It tells whether there was one.
func (w *World) Lose(token, name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := len(w.things)
	w.things = slices.DeleteFunc(w.things, func(t *Thing) bool { return t.Type == token && t.Name == name })
	return len(w.things) < before
}

// Change changes a property of a resource behind everybody's back. It tells whether there is such a resource.
func (w *World) Change(token, name, changed string, value property.Value) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.things {
		if t.Type == token && t.Name == name {
			if _, given := t.Inputs.GetOk(changed); given {
				t.Inputs = t.Inputs.Set(changed, value)
			}
			t.Outputs = t.Outputs.Set(changed, value)
			return true
		}
	}
	return false
}

// Things are all resources that exist, sorted by type and name.
func (w *World) Things() []Thing {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Thing
	for _, t := range w.things {
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b Thing) int { return strings.Compare(a.Type+" "+a.Name, b.Type+" "+b.Name) })
	return all
}

// Calls returns what was done since it was called last, in order: "create aws:ec2/vpc:Vpc prod".
func (w *World) Calls() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.calls
	w.calls = nil
	return calls
}

// begin notes a call, and fails when it is to fail.
func (w *World) begin(verb, token, name string) error {
	call := verb + " " + token
	for i, f := range w.faults {
		if f.call != call {
			continue
		}
		if f.after == 0 {
			w.faults = slices.Delete(w.faults, i, i+1)
			return fmt.Errorf("%s", f.message)
		}
		f.after--
	}
	w.calls = append(w.calls, call+" "+name)
	return nil
}

// find returns the index of a resource, or -1.
func (w *World) find(token, id string) int {
	return slices.IndexFunc(w.things, func(t *Thing) bool { return t.Type == token && t.ID == id })
}

func (w *World) create(r *resourceType, urn resource.URN, inputs property.Map) (Thing, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	token, name := string(urn.Type()), urn.Name()
	if taken := slices.ContainsFunc(w.things, func(t *Thing) bool { return t.Type == token && r.clash(t.Inputs, inputs) }); taken {
		return Thing{}, fmt.Errorf("there is another %s with the same %s", token, strings.Join(r.Unique, " and "))
	}
	seed := fmt.Sprintf("%s %d", urn, w.made[string(urn)])
	t := &Thing{Type: token, Name: name, Inputs: inputs, version: 1}
	t.ID = expand(r.ID, seed, "", inputs)
	if w.find(token, t.ID) >= 0 {
		return Thing{}, fmt.Errorf("a %s with the id %s exists already", token, t.ID)
	}
	if err := w.begin("create", token, name); err != nil {
		return Thing{}, err
	}
	w.made[string(urn)]++
	t.Outputs = r.made(t.ID, t.version, inputs)
	w.things = append(w.things, t)
	return *t, nil
}

func (w *World) read(token, id string) (Thing, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.find(token, id)
	if i < 0 {
		return Thing{}, false
	}
	return *w.things[i], true
}

func (w *World) update(r *resourceType, urn resource.URN, id string, inputs property.Map) (Thing, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.find(string(urn.Type()), id)
	if i < 0 {
		return Thing{}, fmt.Errorf("there is no %s %s (any more)", urn.Type(), id)
	}
	if err := w.begin("update", string(urn.Type()), urn.Name()); err != nil {
		return Thing{}, err
	}
	t := w.things[i]
	if moves(r.diff(t.Outputs, t.Inputs, inputs)) {
		t.version++
	}
	t.Inputs, t.Outputs = inputs, r.made(id, t.version, inputs)
	return *t, nil
}

func (w *World) remove(r *resourceType, urn resource.URN, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	token := string(urn.Type())
	i := w.find(token, id)
	if i < 0 {
		return nil
	}
	for _, t := range w.things {
		if r.holds() && t != w.things[i] && refers(property.New(t.Inputs), id) {
			return fmt.Errorf("%s is in use by %s %s", id, t.Type, t.Name)
		}
	}
	if err := w.begin("delete", token, urn.Name()); err != nil {
		return err
	}
	w.things = slices.Delete(w.things, i, i+1)
	return nil
}

// clash tells whether two resources of the type cannot be beside one another.
func (r *resourceType) clash(a, b property.Map) bool {
	return len(r.Unique) > 0 && !slices.ContainsFunc(r.Unique, func(name string) bool {
		return a.Get(name).IsNull() || !same(a.Get(name), b.Get(name))
	})
}

// holds tells whether resources of the type cannot be deleted while others refer to them. Ids that are names do not tell who
// does: many things may have a name.
func (r *resourceType) holds() bool {
	return !r.Loose && (strings.Contains(r.ID, "{hex}") || strings.Contains(r.ID, "{uuid}") || strings.Contains(r.ID, "{number}"))
}

// refers tells whether an id is anywhere in a value.
func refers(v property.Value, id string) bool {
	switch {
	case v.IsString():
		return v.AsString() == id
	case v.IsArray():
		return slices.ContainsFunc(v.AsArray().AsSlice(), func(e property.Value) bool { return refers(e, id) })
	case v.IsMap():
		for _, e := range v.AsMap().All {
			if refers(e, id) {
				return true
			}
		}
	}
	return false
}
