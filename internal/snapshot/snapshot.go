// Package snapshot keeps copies of what etcd holds, and makes members' data out of one.
//
// A snapshot is all of a stack's control plane: deployment, assignments, users, and the services' passwords. So it is
// guarded like the authority's key: its file is readable by its owner only, in a folder that only its owner may enter.
package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// MaxSize bounds one snapshot, in bytes. What a stack of a hundred nodes has in etcd are a few MB.
const MaxSize = 512 << 20

// Info describes a snapshot.
type Info struct {
	Name     string    `json:"name"`     // its time, so that names sort by age: 20261121T075600.123Z
	Time     time.Time `json:"time"`     // when it was begun
	Revision int64     `json:"revision"` // of etcd; what was written at it, and before, is in the snapshot
	Size     int64     `json:"size"`     // bytes
	SHA256   string    `json:"sha256"`   // of the file, hex
}

// nameFormat has milliseconds: two snapshots of one second are two.
const nameFormat = "20060102T150405.000Z"

// name calls a snapshot after its time.
func name(t time.Time) string { return t.UTC().Format(nameFormat) }

// Begun completes a description with when the snapshot was begun, and the revision that it has.
func (i Info) Begun(t time.Time, revision int64) Info {
	i.Name, i.Time, i.Revision = name(t), t.UTC(), revision
	return i
}

// Write puts the snapshot that r brings into the file at path, which appears only when the snapshot is whole.
func Write(path string, r io.Reader) (info Info, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600, and so it stays
	if err != nil {
		return Info{}, fmt.Errorf("write snapshot: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write snapshot %s: %w", path, err)
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	n, err := io.Copy(f, io.LimitReader(r, MaxSize+1))
	if err != nil {
		return Info{}, err
	}
	if n > MaxSize {
		return Info{}, fmt.Errorf("it has more than %d MiB", MaxSize>>20)
	}
	if info, err = check(f); err != nil {
		return Info{}, err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return Info{}, err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return Info{}, err
	}
	return info, syncDir(filepath.Dir(path))
}

// Check makes sure that the file at path is a whole snapshot, and tells its size and hash.
func Check(path string) (Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return Info{}, fmt.Errorf("read snapshot: %w", err)
	}
	defer f.Close()
	info, err := check(f)
	if err != nil {
		return Info{}, fmt.Errorf("read snapshot %s: %w", path, err)
	}
	return info, nil
}

// pageSize divides the size of every database of etcd's; behind it, in a snapshot, comes its SHA-256.
const pageSize = 512

func check(f *os.File) (Info, error) {
	stat, err := f.Stat()
	if err != nil {
		return Info{}, err
	}
	size := stat.Size()
	if size <= sha256.Size || size%pageSize != sha256.Size {
		return Info{}, fmt.Errorf("its %d bytes are no whole snapshot of etcd", size)
	}
	database, all := sha256.New(), sha256.New()
	if _, err := io.Copy(io.MultiWriter(database, all), io.NewSectionReader(f, 0, size-sha256.Size)); err != nil {
		return Info{}, err
	}
	trailer := make([]byte, sha256.Size)
	if _, err := f.ReadAt(trailer, size-sha256.Size); err != nil {
		return Info{}, err
	}
	if !bytes.Equal(trailer, database.Sum(nil)) {
		return Info{}, errors.New("it is damaged: its hash is not that of its content")
	}
	_, _ = all.Write(trailer) // a hash takes everything
	return Info{Size: size, SHA256: hex.EncodeToString(all.Sum(nil))}, nil
}

// syncDir makes a rename inside dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
