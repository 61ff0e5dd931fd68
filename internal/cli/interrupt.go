package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interruptible returns two contexts: the first ends with the first SIGINT or SIGTERM, the hard one with the second.
// A third one ends the process, whatever it does. stop gives the signals back.
func interruptible(ctx context.Context) (soft, hard context.Context, stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	hard, cancelHard := context.WithCancel(ctx)
	soft, cancelSoft := context.WithCancel(hard)
	done := make(chan struct{})
	go func() {
		defer signal.Stop(signals)
		for _, cancel := range []context.CancelFunc{cancelSoft, cancelHard} {
			select {
			case <-signals:
				cancel()
			case <-done:
				return
			}
		}
	}()
	return soft, hard, func() {
		close(done)
		cancelHard()
	}
}
