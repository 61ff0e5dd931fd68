package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"devctl/internal/discovery"
	"devctl/internal/discovery/etcdtest"
)

// TestElect: one holds at a time; when it gives up the next has its turn at once, and who is cut off from etcd holds no more.
func TestElect(t *testing.T) {
	t.Parallel()
	m := etcdtest.Start(t)
	const key = discovery.EndpointKey
	turns := make(chan string)
	// stand returns how to give up what was won, and why it was over.
	stand := func(ctx context.Context, name string) (give func(), over chan error) {
		enough, over := make(chan struct{}), make(chan error, 1)
		cli := etcdtest.Dial(t, m)
		go func() {
			over <- discovery.Elect(ctx, cli, key, name, func(ctx context.Context) error {
				turns <- name
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-enough:
					return errors.New("enough")
				}
			})
		}()
		return func() { close(enough) }, over
	}
	turn := func(within time.Duration, want string) {
		t.Helper()
		select {
		case got := <-turns:
			if got != want {
				t.Fatalf("%s is elected, want %s", got, want)
			}
		case <-time.After(within):
			t.Fatalf("nobody is elected within %v, want %s", within, want)
		}
	}
	ended := func(over chan error, want error) {
		t.Helper()
		select {
		case err := <-over:
			if !errors.Is(err, want) && fmt.Sprint(err) != want.Error() {
				t.Errorf("it ended with %v, want %v", err, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("it holds on")
		}
	}

	giveA, overA := stand(t.Context(), "worker-a")
	turn(5*time.Second, "worker-a")
	ctx, cancel := context.WithCancel(t.Context())
	_, overB := stand(ctx, "worker-b")
	select {
	case got := <-turns:
		t.Fatalf("%s is elected while worker-a is", got)
	case <-time.After(time.Second):
	}
	giveA()
	ended(overA, errors.New("enough"))
	turn(2*time.Second, "worker-b") // not after the lease has run out
	_, overC := stand(t.Context(), "worker-c")
	cancel()
	ended(overB, context.Canceled)
	turn(2*time.Second, "worker-c")
	m.Stop()
	ended(overC, discovery.ErrSessionLost)
}
