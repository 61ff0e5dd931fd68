package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"devctl/internal/atomicfile"
)

const (
	// Keep is how many snapshots a folder holds: with one every quarter of an hour, six hours and more.
	Keep = 24
	// KeepBytes bounds what they take together. The latest stays in any case.
	KeepBytes = 2 * MaxSize

	// InfoDir is the folder within a Dir that has a description of every snapshot. It is small, so that one may look
	// what there is without reading the snapshots.
	InfoDir = "info"

	infoSuffix = ".json"
	dataSuffix = ".db"
)

// Dir is a folder of snapshots. One process writes, any number may read.
type Dir string

// Data is where in a Dir the snapshot with the given name is.
func Data(name string) string { return name + dataSuffix }

// Add keeps the snapshot that r brings, begun at time t, and removes those that are one too many.
func (d Dir) Add(ctx context.Context, t time.Time, revision int64, r io.Reader) (Info, error) {
	if err := ctx.Err(); err != nil {
		return Info{}, err
	}
	if err := d.ensure(); err != nil {
		return Info{}, err
	}
	n := name(t)
	info, err := Write(filepath.Join(string(d), Data(n)), r)
	if err != nil {
		return Info{}, err
	}
	info = info.Begun(t, revision)
	text, err := json.Marshal(info)
	if err != nil {
		return Info{}, fmt.Errorf("describe snapshot %s: %w", n, err)
	}
	// The description comes last: what has one is whole.
	if err := atomicfile.Write(d.info(n), text, 0o600); err != nil {
		return Info{}, fmt.Errorf("describe snapshot %s: %w", n, err)
	}
	return info, d.prune()
}

// ensure makes the folder, and makes sure that it is nobody else's to look into.
func (d Dir) ensure() error {
	if err := os.MkdirAll(filepath.Join(string(d), InfoDir), 0o700); err != nil {
		return fmt.Errorf("make the folder of snapshots: %w", err)
	}
	if err := os.Chmod(string(d), 0o700); err != nil {
		return fmt.Errorf("close the folder of snapshots: %w", err)
	}
	return nil
}

func (d Dir) info(name string) string { return filepath.Join(string(d), InfoDir, name+infoSuffix) }

// List describes all snapshots, the latest first. A folder that does not exist has none.
func (d Dir) List() ([]Info, error) {
	return list(os.DirFS(filepath.Join(string(d), InfoDir)))
}

func list(infos fs.FS) ([]Info, error) {
	entries, err := fs.ReadDir(infos, ".")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var out []Info
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), infoSuffix) || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		text, err := fs.ReadFile(infos, e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went meanwhile
		} else if err != nil {
			return nil, fmt.Errorf("list snapshots: %w", err)
		}
		info, err := ParseInfo(text)
		if err != nil {
			return nil, err
		}
		out = append(out, info)
	}
	Sort(out)
	return out, nil
}

// ParseInfo reads one file of InfoDir.
func ParseInfo(text []byte) (Info, error) {
	var i Info
	if err := json.Unmarshal(text, &i); err != nil {
		return Info{}, fmt.Errorf("read the description of a snapshot: %w", err)
	}
	if i.Name != name(i.Time) {
		return Info{}, fmt.Errorf("read the description of a snapshot: %q is not the name of one of %s", i.Name, i.Time)
	}
	return i, nil
}

// Sort sorts snapshots, the latest first.
func Sort(all []Info) {
	slices.SortFunc(all, func(a, b Info) int { return strings.Compare(b.Name, a.Name) })
}

// prune removes the oldest snapshots, and what interrupted writes have left.
func (d Dir) prune() error {
	all, err := d.List()
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	var size int64
	for i, s := range all {
		size += s.Size
		if i == 0 || i < Keep && size <= KeepBytes {
			keep[s.Name] = true
			continue
		}
		// What has a description is whole: it goes first.
		if err := os.Remove(d.info(s.Name)); err != nil {
			return fmt.Errorf("remove an old snapshot: %w", err)
		}
	}
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return fmt.Errorf("look for old snapshots: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() || keep[strings.TrimSuffix(e.Name(), dataSuffix)] {
			continue
		}
		if err := os.Remove(filepath.Join(string(d), e.Name())); err != nil {
			return fmt.Errorf("remove an old snapshot: %w", err)
		}
	}
	return nil
}
