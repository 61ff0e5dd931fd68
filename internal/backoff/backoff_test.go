package backoff_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/backoff"
)

func TestNext(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, tc := range []struct {
		name string
		b    backoff.Backoff
		draw float64
		want []time.Duration
	}{
		{"shortest", backoff.Backoff{Min: 100 * ms, Max: time.Second}, 0, []time.Duration{50 * ms, 100 * ms, 200 * ms, 400 * ms, 500 * ms, 500 * ms}},
		{"middle", backoff.Backoff{Min: 100 * ms, Max: time.Second}, 0.5, []time.Duration{75 * ms, 150 * ms, 300 * ms, 600 * ms, 750 * ms, 750 * ms}},
		{"zero value", backoff.Backoff{}, 0, []time.Duration{50 * ms, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 2500 * ms, 2500 * ms}},
		{"smallest above largest", backoff.Backoff{Min: time.Minute, Max: time.Second}, 0, []time.Duration{500 * ms, 500 * ms}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := tc.b
			b.Random = func() float64 { return tc.draw }
			var got []time.Duration
			for range tc.want {
				got = append(got, b.Next())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("waits (-want +got):\n%s", diff)
			}
			b.Reset()
			if again := b.Next(); again != tc.want[0] {
				t.Errorf("after Reset waits %v, want %v", again, tc.want[0])
			}
		})
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(stop)
	b := backoff.Backoff{Min: time.Hour, Max: time.Hour}
	if err := b.Wait(ctx); !errors.Is(err, stop) {
		t.Errorf("got %v, want the cause", err)
	}
}
