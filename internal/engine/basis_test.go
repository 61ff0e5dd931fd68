package engine_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/engine"
)

// TestBasis asks what a plan rests on before, during and after the life of a stack.
func TestBasis(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open(t, declare(thingNamed("a")))
	basis := func(want engine.Basis) {
		t.Helper()
		got, err := s.Basis(t.Context(), "password")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("basis (-want +got):\n%s", diff)
		}
	}
	nothing := engine.Basis{Secrets: map[string]string{}}
	basis(nothing)
	run(t, s.Preview)
	basis(nothing)
	run(t, s.Up)
	thing := engine.BasisResource{
		URN: "urn:pulumi:alpha::test::test:index:Thing::a", Type: "test:index:Thing", Name: "a",
		Properties: map[string]engine.Output{
			"id": {Value: "a"}, "name": {Value: "a"}, "image": {Value: "v1"}, "size": {Value: 1.0},
			"password": {Value: password, Secret: true},
		},
	}
	basis(engine.Basis{Resources: []engine.BasisResource{thing}, Secrets: map[string]string{}, Key: password})

	// What is there is not what was asked for.
	drifted := thingNamed("a")
	drifted.Size = 7
	if err := b.put("drift", drifted); err != nil {
		t.Fatal(err)
	}
	run(t, s.Refresh)
	thing.Properties["size (as it is)"] = engine.Output{Value: 7.0}
	basis(engine.Basis{Resources: []engine.BasisResource{thing}, Secrets: map[string]string{}, Key: password})
}
