package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// holder is who works on a stack: what is in the file that is locked meanwhile.
type holder struct {
	Command string    `json:"command"`
	PID     int       `json:"pid"`
	User    string    `json:"user"`
	Host    string    `json:"host"`
	Since   time.Time `json:"since"`
}

// Hold keeps other processes with the same data folder from holding the stack until release is called: for them it is a
// *LockedError that says who works on it, with which command. Pulumi's own lock, which also holds across machines, is there
// only while an operation of the engine runs; a command is longer. The kernel ends a hold with its process, however that
// ends. Of the options it needs Project, Stack and Home.
func Hold(o Options, command string) (release func(), err error) {
	if err := o.checkNames(); err != nil {
		return nil, err
	}
	h, err := newHome(o.Home)
	if err != nil {
		return nil, err
	}
	path := h.lock(o.Project, o.Stack)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("hold stack %q: %w", o.Stack, err)
	}
	// The file stays when the hold ends: a process may have opened it by then, and would hold what nobody else sees.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("hold stack %q: %w", o.Stack, err)
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		err = heldBy(o.Stack, file)
	case err == nil:
		err = sign(file, command)
	default:
		err = fmt.Errorf("hold stack %q: %w", o.Stack, err)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return func() { _ = file.Close() }, nil
}

// sign writes down who holds the file.
func sign(file *os.File, command string) error {
	now := holder{Command: command, PID: os.Getpid(), Since: time.Now().UTC().Truncate(time.Second)}
	var err error
	if now.Host, err = os.Hostname(); err != nil {
		return fmt.Errorf("hold the stack: %w", err)
	}
	if who, err := user.Current(); err == nil { // a process needs no name
		now.User = who.Username
	}
	data, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("hold the stack: %w", err)
	}
	if err := file.Truncate(0); err != nil {
		return fmt.Errorf("hold the stack: %w", err)
	}
	if _, err := file.WriteAt(data, 0); err != nil {
		return fmt.Errorf("hold the stack: %w", err)
	}
	return nil
}

// heldBy says who holds the file.
func heldBy(stack string, file *os.File) error {
	data, err := io.ReadAll(file)
	var by holder
	if err == nil {
		err = json.Unmarshal(data, &by)
	}
	if err != nil { // its holder has only just begun
		return fmt.Errorf("stack %q is being changed by a process that holds %s; try again", stack, file.Name())
	}
	return &LockedError{Stack: stack, Command: by.Command, PID: by.PID, User: by.User, Host: by.Host, Since: by.Since}
}
