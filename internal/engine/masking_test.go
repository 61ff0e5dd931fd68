package engine_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSecretValues: what is secret is found wherever it is, and what is not is told without a process.
func TestSecretValues(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.open(t, declare(thingNamed("a")))
	values, err := s.SecretValues(t.Context())
	if err != nil || len(values) > 0 {
		t.Errorf("secrets of a stack that is not there: %q, %v", values, err)
	}
	if outputs, err := s.LastOutputs(); err != nil || len(outputs) > 0 {
		t.Errorf("outputs of a stack that is not there: %v, %v", outputs, err)
	}
	run(t, s.Up)
	if err := s.SetSecret(t.Context(), "test:token", "t0k3n", time.Now()); err != nil {
		t.Fatal(err)
	}
	if values, err = s.SecretValues(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(values)
	// The password is an input and an output of the thing, and twice an output of the stack, once among others.
	if want := []string{password, "t0k3n"}; !slices.Equal(slices.Compact(values), want) {
		t.Errorf("secrets are %q, want %q", slices.Compact(values), want)
	}
	outputs, err := s.LastOutputs()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]any{"count": float64(1)}, outputs); d != "" {
		t.Error(d)
	}
}
