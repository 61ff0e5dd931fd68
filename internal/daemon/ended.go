package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"

	"devctl/internal/atomicfile"
	"devctl/units"
)

const (
	// secondRestart is how long a unit waits when it has failed again, and what is doubled from then on up to lastRestart.
	secondRestart, lastRestart = time.Second, 30 * time.Second
	// steady is how long a unit has to run for its next failure to be the first one again: what runs that long is no burden.
	steady = 10 * time.Second

	endedTimeout = 5 * time.Second
)

// restartDelay is how long systemd is to wait before it starts a unit again that has failed after a run of the given length. Before
// that run it had waited for last; restarts is how often it has started the unit by itself since somebody asked it to.
func restartDelay(restarts uint32, ran, last time.Duration) time.Duration {
	if restarts == 0 || ran >= steady {
		return units.FirstRestart
	}
	return min(max(2*last, secondRestart), lastRestart)
}

// ended is the end of a unit, before systemd thinks of starting it again: one that fails again and again gets more and more time.
//
// systemd 252 knows one delay only, so this one is put beside the unit and systemd told to read it. It is systemd that waits, so who
// starts the unit meanwhile need not, and a unit that starts well the first time never meets this code.
func ended(ctx context.Context, unit string, get getter, log *slog.Logger) error {
	if get("SERVICE_RESULT") == "success" { // it was asked to stop, or ends by itself now and then
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, endedTimeout)
	defer cancel()
	systemd, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return fmt.Errorf("connect to systemd: %w", err)
	}
	defer systemd.Close()
	properties, err := systemd.GetAllPropertiesContext(ctx, unit)
	if err != nil {
		return fmt.Errorf("ask systemd for %s: %w", unit, err)
	}
	restarts, known := properties["NRestarts"].(uint32)
	wait, alsoKnown := properties["RestartUSec"].(uint64)
	started, andKnown := properties["InactiveExitTimestampMonotonic"].(uint64)
	if !known || !alsoKnown || !andKnown {
		return fmt.Errorf("ask systemd for %s: it does not say when it starts it again", unit)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	last := time.Duration(wait) * time.Microsecond
	ran := time.Duration(now.Nano()) - time.Duration(started)*time.Microsecond
	delay := restartDelay(restarts, ran, last)
	if delay > units.FirstRestart {
		log.Warn("failed again soon after its start", "ran", ran.Round(time.Millisecond), "starts again in", delay)
	}
	if delay == last {
		return nil
	}
	if err := writeRestartDelay(filepath.Join("/run/systemd/system", unit+".d"), delay); err != nil {
		return err
	}
	if err := systemd.ReloadContext(ctx); err != nil {
		return fmt.Errorf("reload systemd: %w", err)
	}
	return nil
}

// writeRestartDelay puts the delay into a unit's folder of drop-ins; the first one is the unit's own.
func writeRestartDelay(dir string, delay time.Duration) error {
	file := filepath.Join(dir, "restart.conf")
	if delay == units.FirstRestart {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("set the delay of restarts: %w", err)
		}
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("set the delay of restarts: %w", err)
	}
	text := fmt.Sprintf("# Written when the unit failed again and again. What runs for %s starts at once again the next time.\n[Service]\nRestartSec=%dms\n",
		steady, delay.Milliseconds())
	return atomicfile.Write(file, []byte(text), 0o644)
}
