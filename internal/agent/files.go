package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"devctl/internal/api"
	"devctl/internal/atomicfile"
)

// placeholder is ${secret:NAME} or ${secret-sha256:NAME}.
var placeholder = regexp.MustCompile(`\$\{secret(-sha256)?:([A-Za-z0-9._-]+)\}`)

// fill puts secrets in the place of their placeholders. lookup is asked once per placeholder; the first error it
// returns is returned.
func fill(content string, lookup func(name string) (string, error)) (string, error) {
	var failed error
	text := placeholder.ReplaceAllStringFunc(content, func(match string) string {
		parts := placeholder.FindStringSubmatch(match)
		value, err := lookup(parts[2])
		if err != nil {
			if failed == nil {
				failed = err
			}
			return ""
		}
		if parts[1] != "" {
			sum := sha256.Sum256([]byte(value))
			return hex.EncodeToString(sum[:])
		}
		return value
	})
	return text, failed
}

// render returns the files of an assignment with their secrets and the node's network device in them, and the hash of all
// that has to be on disk.
func render(a api.Assignment, lookup func(name string) (string, error), device func() (string, error)) (files []api.File, content string, err error) {
	if a.Unit != filepath.Base(a.Unit) || filepath.Ext(a.Unit) == "" {
		return nil, "", fmt.Errorf("%q is no name of a unit", a.Unit)
	}
	for _, f := range a.Files {
		if !filepath.IsAbs(f.Path) || filepath.Clean(f.Path) != f.Path {
			return nil, "", fmt.Errorf("file %q has no absolute, clean path", f.Path)
		}
		if strings.Contains(f.Content, api.DevicePlaceholder) {
			name, err := device()
			if err != nil {
				return nil, "", fmt.Errorf("fill in %s: %w", f.Path, err)
			}
			f.Content = strings.ReplaceAll(f.Content, api.DevicePlaceholder, name)
		}
		if f.Content, err = fill(f.Content, lookup); err != nil {
			return nil, "", fmt.Errorf("fill in %s: %w", f.Path, err)
		}
		files = append(files, f)
	}
	hash := sha256.New()
	if err := json.NewEncoder(hash).Encode([]any{a.Text, files, a.Dirs}); err != nil {
		return nil, "", fmt.Errorf("hash the files of %s: %w", a.Unit, err)
	}
	return files, hex.EncodeToString(hash.Sum(nil)), nil
}

// deviceOf is the name of the network interface that has the address.
func deviceOf(address string) (string, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("find the interface with %s: %w", address, err)
	}
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil {
			return "", fmt.Errorf("find the interface with %s: %w", address, err)
		}
		for _, a := range addresses {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.String() == address {
				return i.Name, nil
			}
		}
	}
	return "", fmt.Errorf("no interface has the address %s", address)
}

// writeFile makes the file on disk what f says, and leaves it alone when it is.
func writeFile(f api.File) error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(f.Mode).Perm()
	info, err := os.Lstat(f.Path)
	if err == nil && info.Mode() == mode && ownedBy(info, f) {
		if text, err := os.ReadFile(f.Path); err == nil && bytes.Equal(text, []byte(f.Content)) {
			return nil
		}
	}
	return atomicfile.WriteOwned(f.Path, []byte(f.Content), mode, atomicfile.Owner{UID: f.UID, GID: f.GID})
}

// makeDir makes sure that a folder exists with the mode and the owner that f says. What is in it stays.
func makeDir(f api.File) error {
	if err := os.MkdirAll(f.Path, 0o755); err != nil {
		return err
	}
	info, err := os.Lstat(f.Path)
	if err != nil {
		return err
	}
	if !ownedBy(info, f) {
		if err := os.Chown(f.Path, f.UID, f.GID); err != nil {
			return err
		}
	}
	if mode := fs.FileMode(f.Mode).Perm(); info.Mode().Perm() != mode {
		return os.Chmod(f.Path, mode)
	}
	return nil
}

func ownedBy(info fs.FileInfo, f api.File) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == f.UID && int(stat.Gid) == f.GID
}

// removeFile deletes a file, and its folder when that was the last one in it.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_ = os.Remove(filepath.Dir(path)) // fails when something else is in it, and then it stays
	return nil
}

// loadOwned reads what the agent owns. A node that is new owns nothing.
func loadOwned(path string) (map[string]applied, error) {
	owned := map[string]applied{}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return owned, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what the agent owns: %w", err)
	}
	if err := json.Unmarshal(text, &owned); err != nil {
		return nil, fmt.Errorf("read what the agent owns: decode %s: %w", path, err)
	}
	return owned, nil
}

func saveOwned(path string, owned map[string]applied) error {
	text, err := json.MarshalIndent(owned, "", "  ")
	if err != nil {
		return fmt.Errorf("encode what the agent owns: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(path, append(text, '\n'), 0o600)
}
