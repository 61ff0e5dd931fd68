// Package endpoint keeps the stack's address at the node that should have it, where the network carries it nowhere by itself:
// a cloud has to be asked to move it. Somebody else decides which node that is: keepalived, or an election in etcd.
package endpoint

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"devctl/internal/atomicfile"
	"devctl/internal/backoff"
)

const (
	// lookInterval is how often a machine asks whether the address has arrived.
	lookInterval = 500 * time.Millisecond
	// guardInterval is how often it asks whether the address is still there.
	guardInterval = 2 * time.Second
	// patience is how long an accepted move may take before it is asked for again.
	patience = 15 * time.Second
)

// Cloud moves the address.
type Cloud interface {
	// Move asks for the address to be moved to this machine, wherever it is. Asking again does no harm.
	Move(ctx context.Context) error
	// Address is the public address that, as the cloud says, this machine has now; "" for none.
	Address(ctx context.Context) (string, error)
}

// Keeper gets an address to this machine and keeps it there.
type Keeper struct {
	Address string
	Cloud   Cloud
	File    string // says that the address is here, for as long as the cloud does
	Log     *slog.Logger
}

// Hold sees to it that the address is on this machine until ctx ends, and returns why it did. Whatever fails is tried again: the
// address is nobody else's business in the meantime. It does not give the address back: the next holder takes it.
func (k Keeper) Hold(ctx context.Context) error {
	defer k.release()
	started := time.Now()
	retry := backoff.Backoff{Min: lookInterval, Max: 5 * time.Second}
	var here bool
	var asked time.Time // when a move was accepted
	var last string
	for {
		pause, err := lookInterval, error(nil)
		var address string
		switch address, err = k.Cloud.Address(ctx); {
		case err != nil: // no answer is not "elsewhere"
		case address == k.Address:
			if !here {
				k.Log.Info("the address is here", "address", k.Address, "after", time.Since(started).Round(time.Millisecond))
				err = k.claim()
			}
			here, pause, asked = err == nil, guardInterval, time.Time{}
		default:
			if here {
				k.Log.Warn("the address has been taken away, taking it back", "address", k.Address)
				k.release()
				here, started = false, time.Now()
			}
			if time.Since(asked) >= patience {
				if err = k.Cloud.Move(ctx); err == nil {
					asked = time.Now()
				}
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		switch {
		case err == nil:
			retry.Reset()
			last = ""
		default:
			if err.Error() != last {
				k.Log.Warn("cannot get the address here yet, trying on", "address", k.Address, "error", err)
			}
			last, pause = err.Error(), retry.Next()
		}
		if err := backoff.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

func (k Keeper) claim() error {
	if err := os.MkdirAll(filepath.Dir(k.File), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(k.File, []byte(k.Address+"\n"), 0o644)
}

// release says that this machine does not have the address, or does not any more.
func (k Keeper) release() {
	if err := os.Remove(k.File); err != nil && !errors.Is(err, os.ErrNotExist) {
		k.Log.Error("cannot say that the address is not here", "error", err)
	}
}

// Held is the address that, as file says, is on this machine; "" for none.
func Held(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
