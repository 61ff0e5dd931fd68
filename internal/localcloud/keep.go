package localcloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/docker/docker/api/types/events"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"devctl/internal/api"
	"devctl/internal/backoff"
)

const (
	// resync is how often a supervisor looks by itself, should it have missed an event.
	resync = 30 * time.Second
	// A node, or a group, that cannot be brought back is tried again after this long, growing.
	retryFirst, retryLast = 500 * time.Millisecond, time.Minute
)

// Keep keeps the size of the stack's groups, as files in dir say it, until ctx ends: the work of a supervisor. A node that is gone is
// made again, one that is stopped is started, and mains come one at a time. One that is paused, made from something else or not
// wanted is a person's business. When Docker stops answering that is the end: Docker starts a supervisor again, with its new socket.
func (c *Cloud) Keep(ctx context.Context, stack, dir string, log *slog.Logger) error {
	keeping, keepCtx := errgroup.WithContext(ctx)
	keepers := map[string]*keeper{}
	for _, role := range api.Roles() {
		k := &keeper{
			cloud: c, stack: stack, role: role, dir: dir, log: log.With("role", role),
			look: make(chan struct{}, 1), busy: map[string]bool{}, retries: map[string]*backoff.Backoff{},
		}
		keepers[string(role)] = k
		keeping.Go(func() error { return k.run(keepCtx) })
	}
	keeping.Go(func() error { return c.watch(keepCtx, stack, keepers) })
	err := keeping.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// watch lets keepers look whenever a machine of theirs ends or goes.
func (c *Cloud) watch(ctx context.Context, stack string, keepers map[string]*keeper) error {
	selector := labelled(stackLabel(stack), labelNode)
	selector.Add("type", string(events.ContainerEventType))
	selector.Add("event", string(events.ActionDie))
	selector.Add("event", string(events.ActionDestroy))
	messages, failed := c.docker.Events(ctx, events.ListOptions{Filters: selector})
	for {
		select {
		case m := <-messages:
			if k := keepers[m.Actor.Attributes[labelRole]]; k != nil {
				k.wake()
			}
		case err := <-failed:
			return c.explain(ctx, "watch the nodes of stack "+stack, err)
		}
	}
}

// keeper keeps the size of one group.
type keeper struct {
	cloud *Cloud
	stack string
	role  api.Role
	dir   string
	log   *slog.Logger
	look  chan struct{} // something has happened

	boots   sync.WaitGroup
	mu      sync.Mutex
	busy    map[string]bool // nodes that boot, or failed to and are left alone for a while
	retries map[string]*backoff.Backoff
}

func (k *keeper) wake() {
	select {
	case k.look <- struct{}{}:
	default: // it will look anyway
	}
}

// run looks after the group until ctx ends or Docker stops answering.
func (k *keeper) run(ctx context.Context) error {
	defer k.boots.Wait()
	retry := backoff.Backoff{Min: retryFirst, Max: retryLast}
	for {
		err := k.repair(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && silent(err):
			return err
		case err != nil:
			k.log.Warn("cannot bring the group back to its size, trying on", "error", err)
			if retry.Wait(ctx) != nil {
				return nil
			}
			continue
		}
		retry.Reset()
		select {
		case <-ctx.Done():
			return nil
		case <-k.look:
		case <-time.After(resync):
		}
	}
}

// repair begins whatever is to be done, while no devctl works on the stack. That nodes get ready is waited for elsewhere: nobody
// has to wait for that to work on the stack.
func (k *keeper) repair(ctx context.Context) error {
	unlock, err := lockExclusively(ctx, k.dir)
	if err != nil {
		return err
	}
	defer unlock()
	g, err := readGroup(k.dir, k.role)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // not handed over yet
	} else if err != nil {
		return err
	}
	have, err := k.cloud.Nodes(ctx, k.stack, k.role)
	if err != nil {
		return err
	}
	if err := lost(g, have); err != nil {
		return err
	}
	k.mu.Lock()
	due := dueRepairs(g.Role, repairs(g, have), k.busy)
	k.mu.Unlock()
	if len(due) == 0 {
		return nil
	}
	failed := make([]error, len(due))
	var beginning sync.WaitGroup
	for i, s := range due {
		beginning.Go(func() {
			k.log.Info("bringing a node back", "node", s.node.Name, "how", s.kind)
			id, err := k.cloud.begin(ctx, g, s, true)
			if err != nil {
				failed[i] = err
				return
			}
			k.await(ctx, g, s.node.Name, id)
		})
	}
	beginning.Wait()
	// A node that was removed may have left its disks.
	return errors.Join(append(failed, k.cloud.removeVolumes(ctx, k.stack, k.role))...)
}

// await waits, beside other work, until a node is ready. The group is looked at again then: at once, or after a while when it has failed.
func (k *keeper) await(ctx context.Context, g Group, node, id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.busy[node] = true
	if k.retries[node] == nil {
		k.retries[node] = &backoff.Backoff{Min: retryFirst, Max: retryLast}
	}
	retry, begun := k.retries[node], time.Now()
	k.boots.Go(func() {
		err := k.cloud.waitReady(ctx, node, id, g.Units, func() {})
		if err == nil {
			retry.Reset()
			k.log.Info("node is ready", "node", node, "took", time.Since(begun).Round(time.Millisecond))
		} else {
			k.log.Warn("node is not ready, trying on", "node", node, "error", err)
			_ = retry.Wait(ctx) // when ctx ends, so does the keeper
		}
		k.mu.Lock()
		delete(k.busy, node)
		k.mu.Unlock()
		k.wake()
	})
}

// repairs is what of the plan for a group that was complete brings nodes back. What takes a working node away is up to a person, who
// sees to it that the others have all that it has; what is paused was paused by one.
func repairs(g Group, have []Node) []step {
	existing := map[string]Node{}
	for _, n := range have {
		existing[n.Name] = n
	}
	var steps []step
	for _, s := range plan(g, have) {
		n := existing[s.node.Name]
		if s.kind == remove || n.Paused || s.kind == replace && n.Running {
			continue
		}
		if s.kind == replace && n.Ready {
			s.kind = start // as it was
		}
		steps = append(steps, s)
	}
	return steps
}

// dueRepairs are those of the repairs that may be begun now: not on nodes that are busy, and of mains a new one only when no other is on
// its way, so that never two members of etcd are missing by our own doing.
func dueRepairs(role api.Role, steps []step, busy map[string]bool) []step {
	steps = slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return busy[s.node.Name] })
	together, oneByOne := schedule(role, steps, true)
	if role != api.RoleMain {
		return append(together, oneByOne...)
	}
	if len(together) > 0 || len(oneByOne) == 0 || len(busy) > 0 {
		return together
	}
	return oneByOne[:1]
}

func readGroup(dir string, role api.Role) (Group, error) {
	data, err := os.ReadFile(groupFile(dir, role))
	if err != nil {
		return Group{}, fmt.Errorf("read the %s group: %w", role, err)
	}
	var g Group
	if err := json.Unmarshal(data, &g); err != nil {
		return Group{}, fmt.Errorf("read the %s group: %w", role, err)
	}
	return g, nil
}

// lockName is the file in a supervisor's folder whose lock decides who may touch machines: the supervisor alone, or any number of devctl.
const lockName = "lock"

func openLock(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the machines: %w", err)
	}
	return file, nil
}

// lockExclusively waits until no devctl works on the stack, and no other keeper.
func lockExclusively(ctx context.Context, dir string) (unlock func(), err error) {
	file, err := openLock(dir)
	if err != nil {
		return nil, err
	}
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			_ = file.Close()
			return nil, fmt.Errorf("lock the machines: %w", err)
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, fmt.Errorf("lock the machines: %w", ctx.Err())
		case <-poll.C:
		}
	}
}

// Hold keeps the supervisor of the folder from touching machines, says so on out, and ends with in.
func Hold(dir string, in io.Reader, out io.Writer) error {
	file, err := openLock(dir)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_SH); err != nil {
		return fmt.Errorf("lock the machines: %w", err)
	}
	if _, err := io.WriteString(out, held); err != nil {
		return fmt.Errorf("say that the machines are locked: %w", err)
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return fmt.Errorf("wait for the end of the lock: %w", err)
	}
	return nil
}
