package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"

	"devctl/internal/atomicfile"
)

// backend is where the states of stacks are, as far as we have to know more of it than Pulumi's CLI tells.
type backend interface {
	exists(stack string) bool
	learn(exists bool) // what became of the stack in work
	// pending tells whether a run was killed while operations were under way.
	pending(ctx context.Context, stack string) (bool, error)
	// unlock removes the locks of dead processes and what else they left, where it can. A lock that somebody holds is a *LockedError.
	unlock(stack string) error
}

// files reads the files of Pulumi's file backend where asking the CLI would cost a process, or where the CLI has
// no answer: which process holds a lock, and whether a killed run left operations pending.
type files struct{ dir, project string }

var _ backend = files{}

func (b files) checkpoint(stack string) string {
	return filepath.Join(b.dir, ".pulumi", "stacks", b.project, stack+".json")
}

func (files) learn(bool) {} // the files are looked at every time

func (b files) exists(stack string) bool {
	_, err := os.Stat(b.checkpoint(stack))
	return err == nil
}

// create makes the stack, empty, as `pulumi stack init` does, which takes 0.4 s: its first run chooses what its secrets are encrypted
// with. One that is there stays as it is. The state is written in the folder aside, so that nothing half made is ever among
// the states; where that is on another disk, nothing is done.
func (b files) create(stack, aside string) error {
	checkpoint, err := json.Marshal(apitype.CheckpointV3{Stack: tokens.QName("organization/" + b.project + "/" + stack)})
	if err != nil {
		return fmt.Errorf("create stack %q: %w", stack, err)
	}
	data, err := json.Marshal(apitype.VersionedCheckpoint{Version: 3, Checkpoint: checkpoint})
	if err != nil {
		return fmt.Errorf("create stack %q: %w", stack, err)
	}
	path := b.checkpoint(stack)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("create stack %q: %w", stack, err)
	}
	err = atomicfile.Create(path, aside, data, 0o600)
	if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.EXDEV) {
		return fmt.Errorf("create stack %q: %w", stack, err)
	}
	return nil
}

func (b files) pending(_ context.Context, stack string) (bool, error) {
	data, err := os.ReadFile(b.checkpoint(stack))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read state: %w", err)
	}
	var file struct {
		Checkpoint struct {
			Latest struct {
				Pending []json.RawMessage `json:"pending_operations"`
			} `json:"latest"`
		} `json:"checkpoint"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return false, fmt.Errorf("read state %s: %w", b.checkpoint(stack), err)
	}
	return len(file.Checkpoint.Latest.Pending) > 0, nil
}

func (b files) unlock(stack string) error {
	// Who writes holds a lock until the file is whole. So what is half written now, with no lock held afterwards, stays so.
	halves, err := b.halfWritten(stack)
	if err != nil {
		return err
	}
	if err := b.breakLocks(stack); err != nil {
		return err
	}
	for _, file := range halves {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what a dead process left: %w", err)
		}
	}
	return nil
}

// halfWritten lists the files that become the stack's state or its backup once they are whole: its name, the time in
// hexadecimal digits, and .tmp (gocloud.dev/blob/fileblob, by which Pulumi writes).
func (b files) halfWritten(stack string) ([]string, error) {
	var halves []string
	for _, name := range []string{b.checkpoint(stack), b.checkpoint(stack) + ".bak"} {
		files, err := filepath.Glob(globQuoted(name) + ".*.tmp")
		if err != nil {
			return nil, fmt.Errorf("look for what a dead process left: %w", err)
		}
		for _, file := range files {
			// Another stack's name may begin like this one's file.
			written := strings.TrimSuffix(strings.TrimPrefix(file, name+"."), ".tmp")
			if _, err := strconv.ParseUint(written, 16, 64); err == nil {
				halves = append(halves, file)
			}
		}
	}
	return halves, nil
}

// breakLocks removes the locks of dead processes. One that somebody holds is a *LockedError.
func (b files) breakLocks(stack string) error {
	dir := filepath.Join(b.dir, ".pulumi", "locks", "organization", b.project, stack)
	locks, err := filepath.Glob(filepath.Join(globQuoted(dir), "*.json"))
	if err != nil {
		return fmt.Errorf("look for locks: %w", err)
	}
	for _, file := range locks {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // given back meanwhile
		}
		if err != nil {
			return fmt.Errorf("read lock: %w", err)
		}
		var lock struct {
			PID       int       `json:"pid"`
			Username  string    `json:"username"`
			Hostname  string    `json:"hostname"`
			Timestamp time.Time `json:"timestamp"`
		}
		// One that cannot be read is a lock all the same: it says nothing of who might hold it.
		if err := json.Unmarshal(data, &lock); err != nil {
			return fmt.Errorf("stack %q is locked by a file that cannot be read: %w; when nothing works on the stack, remove %s", stack, err, file)
		}
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("look for locks: %w", err)
		}
		if lock.Hostname != host || pulumiRuns(lock.PID) {
			return &LockedError{Stack: stack, PID: lock.PID, User: lock.Username, Host: lock.Hostname, Since: lock.Timestamp, Lock: file}
		}
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the lock of a dead process: %w", err)
		}
	}
	return nil
}

// pulumiRuns tells whether the process is a pulumi that runs. That a process with the number exists does not say so:
// it may wait for a parent that never asks for its exit code, or be another one that got the number since.
func pulumiRuns(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	}
	// pid (name) state …, and the name may hold parentheses of its own.
	before, after, _ := strings.Cut(string(stat), "(")
	end := strings.LastIndex(after, ")")
	if before == "" || end < 0 {
		return true
	}
	name, state := after[:end], strings.TrimSpace(after[end+1:])
	return name == "pulumi" && !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}
