package daemon

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/units"
)

func TestRestartDelayGrows(t *testing.T) {
	t.Parallel()
	var got []time.Duration
	last := units.FirstRestart
	for restarts := range uint32(9) {
		last = restartDelay(restarts, 300*time.Millisecond, last)
		got = append(got, last)
	}
	want := []time.Duration{100 * time.Millisecond, time.Second}
	for _, seconds := range []int{2, 4, 8, 16, 30, 30, 30} {
		want = append(want, time.Duration(seconds)*time.Second)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("delays of a unit that never starts (-want +got):\n%s", diff)
	}
	for name, delay := range map[string]time.Duration{
		"that ran for a while":                restartDelay(9, steady, 30*time.Second),
		"that was started by somebody":        restartDelay(0, 0, 30*time.Second),
		"that crashes for the first time":     restartDelay(0, time.Hour, units.FirstRestart),
		"that crashes now and then for weeks": restartDelay(9, time.Hour, units.FirstRestart),
	} {
		if delay != units.FirstRestart {
			t.Errorf("delay of a unit %s = %v, want %v", name, delay, units.FirstRestart)
		}
	}
}

func TestWriteRestartDelay(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "redis-1.service.d")
	write := func(delay time.Duration) {
		t.Helper()
		if err := writeRestartDelay(dir, delay); err != nil {
			t.Fatal(err)
		}
	}
	write(units.FirstRestart) // nothing to take away
	write(time.Second)
	write(2 * time.Second)
	const want = "# Written when the unit failed again and again. What runs for 10s starts at once again the next time.\n[Service]\nRestartSec=2000ms\n"
	got, err := os.ReadFile(filepath.Join(dir, "restart.conf"))
	if diff := cmp.Diff(want, string(got)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	write(units.FirstRestart)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v, %v are left", err, left)
	}
}
