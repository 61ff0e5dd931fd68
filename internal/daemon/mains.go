package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"devctl/internal/api"
	"devctl/internal/atomicfile"
)

// mainsInterval is how often a machine looks whether the mains are still where they were.
const mainsInterval = time.Minute

// errMainsMoved ends a service that knows the mains by addresses of before. The next start has those of now.
var errMainsMoved = errors.New("the main nodes have moved")

// followRegistry keeps DEVCTL_MAINS in file what the registry says, and ends with errMainsMoved when that changes. Where
// mains have fixed addresses it only waits. What is no complete list of the mains changes nothing.
func followRegistry(ctx context.Context, get getter, file string, log *slog.Logger) error {
	c, err := newCloud(get)
	if err != nil {
		return err
	}
	if get(keyMainNames) == "" {
		return waitFor(ctx, nil)
	}
	return follow(ctx, c, get, file, log)
}

func follow(ctx context.Context, c cloud, get getter, file string, log *slog.Logger) error {
	return waitFor(ctx, func() (bool, error) {
		mains, err := c.Mains(ctx)
		if err == nil {
			err = checkMains(mains, get(keyMainNames), api.Role(get(keyRole)), get(keyNode), get(keyAddress))
		}
		if err != nil {
			log.Debug("cannot find out where the mains are", "error", err)
			return false, nil
		}
		if mains == get(keyMains) {
			return false, nil
		}
		return true, replaceSetting(file, setting{keyMains, mains})
	})
}

// followFile ends with errMainsMoved when another service has found that.
func followFile(ctx context.Context, get getter, file string) error {
	if get(keyMainNames) == "" {
		return waitFor(ctx, nil)
	}
	return waitFor(ctx, func() (bool, error) {
		text, err := os.ReadFile(file)
		if err != nil {
			return false, fmt.Errorf("read the platform's environment: %w", err)
		}
		now := parseEnv(string(text))[keyMains]
		return now != "" && now != get(keyMains), nil
	})
}

// waitFor looks from time to time, until it is so that the mains have moved or ctx ends; nil never is.
func waitFor(ctx context.Context, moved func() (bool, error)) error {
	if moved == nil {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	tick := time.NewTicker(mainsInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		yes, err := moved()
		if err != nil {
			return err
		}
		if yes {
			return errMainsMoved
		}
	}
}

// replaceSetting changes one line of an environment file.
func replaceSetting(file string, s setting) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("change %s: %w", s.key, err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, s.key+"=") {
			b.WriteString(line)
		}
	}
	fmt.Fprintf(&b, "%s=%s\n", s.key, s.value)
	return atomicfile.Write(file, []byte(b.String()), 0o644)
}
