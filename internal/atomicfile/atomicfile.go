// Package atomicfile replaces files so that a reader, or a machine that loses power, sees the old content or
// the new one and never half of either.
package atomicfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Owner is who a file belongs to.
type Owner struct{ UID, GID int }

// Write replaces the file at path with data. The permission bits of mode hold from the first moment on, whatever
// the umask is, so a secret is never readable by others in between. The folder must exist.
func Write(path string, data []byte, mode fs.FileMode) error {
	return write(path, filepath.Dir(path), data, mode, nil, os.Rename)
}

// Create is Write for a file that is not there yet; else it is fs.ErrExist. Of two that create it at once, one does. What a kill
// leaves half made is in the folder aside, which must be on the same disk.
func Create(path, aside string, data []byte, mode fs.FileMode) error {
	return write(path, aside, data, mode, nil, func(from, to string) error {
		if err := os.Link(from, to); err != nil {
			return err
		}
		return os.Remove(from)
	})
}

// WriteOwned is Write for a file that belongs to somebody else.
func WriteOwned(path string, data []byte, mode fs.FileMode, owner Owner) error {
	return write(path, filepath.Dir(path), data, mode, &owner, os.Rename)
}

// write writes the file in the folder aside, complete, and lets put take it to its place.
func write(path, aside string, data []byte, mode fs.FileMode, owner *Owner, put func(from, to string) error) (err error) {
	f, err := os.CreateTemp(aside, "."+filepath.Base(path)+".*") // 0600 until it is complete
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if owner != nil {
		if err = f.Chown(owner.UID, owner.GID); err != nil {
			return err
		}
	}
	if err = f.Chmod(mode.Perm()); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = put(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename inside dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}
