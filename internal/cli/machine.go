package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"devctl/internal/localcloud"
)

const (
	gib = 1 << 30

	diskFail, diskWarn    = 2 * gib, 8 * gib // images are some 2 GiB, nodes a few hundred MiB
	memoryPerNode         = 160 << 20        // systemd, agent, podman and one service
	capabilitySysResource = 24
	capabilitySysAdmin    = 21
	capabilityNetAdmin    = 12
	nobodyElse            = 0o077 // permission bits that others must not have
)

// binaries are the programs that devctl starts, or puts on nodes.
var binaries = []string{"pulumi", "devctld", localcloud.SupervisorBinary, "etcd", "etcdctl", "etcdutl"}

// machineChecks look at this machine.
func machineChecks(home, binDir string) []check {
	return []check{
		{"binaries", func(context.Context) finding { return checkBinaries(binDir) }},
		{"data folder", func(context.Context) finding { return checkHome(home) }},
		{"disk", func(context.Context) finding { return checkDisk(home) }},
	}
}

// nodeChecks look at what nodes want of this machine, if they run on it.
func nodeChecks(nodes int) []check {
	return []check{
		{"memory", func(context.Context) finding { return checkMemory(os.DirFS("/proc"), nodes) }},
		{"cgroups", func(context.Context) finding { return checkCgroups(os.DirFS("/sys/fs/cgroup")) }},
		{"capabilities", func(context.Context) finding { return checkCapabilities(os.DirFS("/proc")) }},
	}
}

func checkBinaries(dir string) finding {
	var missing []string
	for _, name := range binaries {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fail(strings.Join(missing, ", ")+" missing in "+dir, "run `make build`, or set DEVCTL_BIN_DIR to the folder that has them")
	}
	return ok(strings.Join(binaries, ", ") + " in " + dir)
}

func checkHome(home string) finding {
	info, err := os.Stat(home)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ok(home + " (made by the first `devctl up`)")
	case err != nil:
		return fail(err.Error(), "make it readable, or set DEVCTL_HOME to another folder")
	case !info.IsDir():
		return fail(home+" is no folder", "remove it, or set DEVCTL_HOME to another folder")
	case unix.Access(home, unix.R_OK|unix.W_OK|unix.X_OK) != nil:
		return fail(home+" cannot be read and written by this user", "make it so, or set DEVCTL_HOME to another folder")
	}
	passphrase := filepath.Join(home, "passphrase")
	if info, err := os.Stat(passphrase); err == nil && info.Mode().Perm()&nobodyElse != 0 {
		return fail(fmt.Sprintf("%s can be read by others (mode %04o)", passphrase, info.Mode().Perm()), "chmod 600 "+passphrase)
	}
	return ok(home)
}

func checkDisk(home string) finding {
	dir := home
	for { // the folder may not exist yet; what counts is the disk that it will be on
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		if err == nil {
			return judgeDisk(dir, st.Bavail*uint64(st.Bsize))
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return fail(fmt.Sprintf("ask for the free space of %s: %s", home, err), "set DEVCTL_HOME to a folder on a local disk")
		}
		dir = parent
	}
}

func judgeDisk(dir string, free uint64) finding {
	detail := fmt.Sprintf("%.1f GiB free at %s", float64(free)/gib, dir)
	const fix = "free some space: `docker system prune` removes what Docker does not use"
	switch {
	case free < diskFail:
		return fail(detail+", at least 2 GiB are needed", fix)
	case free < diskWarn:
		return warn(detail+", building images takes up to 8 GiB", fix)
	}
	return ok(detail)
}

func checkMemory(proc fs.FS, nodes int) finding {
	kib, err := field(proc, "meminfo", "MemAvailable")
	if err != nil {
		return warn(err.Error(), "")
	}
	available, err := strconv.ParseUint(strings.TrimSuffix(kib, " kB"), 10, 64)
	if err != nil {
		return warn(fmt.Sprintf("read /proc/meminfo: %s", err), "")
	}
	available *= 1024
	need := uint64(nodes) * memoryPerNode
	detail := fmt.Sprintf("%.1f GiB available, %d nodes take about %.1f GiB", float64(available)/gib, nodes, float64(need)/gib)
	if available < need {
		return warn(detail, "stop other programs, or lower nodes.worker, nodes.data and redis.maxmemory in the spec")
	}
	return ok(detail)
}

func checkCgroups(root fs.FS) finding {
	if _, err := fs.Stat(root, "cgroup.controllers"); err == nil {
		return ok("version 2")
	}
	if entries, err := fs.ReadDir(root, "."); err != nil || len(entries) == 0 {
		return fail("no cgroups are mounted at /sys/fs/cgroup", "mount them: Docker needs them too (package cgroupfs-mount, or boot with systemd)")
	}
	return ok("version 1: containers on nodes are not limited by cgroups")
}

func checkCapabilities(proc fs.FS) finding {
	hex, err := field(proc, "self/status", "CapBnd")
	if err != nil {
		return warn(err.Error(), "")
	}
	set, err := strconv.ParseUint(hex, 16, 64)
	if err != nil {
		return warn(fmt.Sprintf("read /proc/self/status: %s", err), "")
	}
	has := func(bit int) bool { return set&(1<<bit) != 0 }
	switch {
	case !has(capabilitySysAdmin) || !has(capabilityNetAdmin):
		// Only this process's: Docker's daemon may have more.
		return warn("CAP_SYS_ADMIN or CAP_NET_ADMIN is missing here; nodes need both of Docker", "if nodes do not boot, run dockerd outside of this container, or give the container these capabilities")
	case !has(capabilitySysResource):
		return ok("CAP_SYS_RESOURCE is missing here: nodes run without it")
	}
	return ok("all that nodes need")
}

// field is the value of a line "name: value" of a file.
func field(fsys fs.FS, file, name string) (string, error) {
	f, err := fsys.Open(file)
	if err != nil {
		return "", fmt.Errorf("read /proc/%s: %w", file, err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if key, value, found := strings.Cut(lines.Text(), ":"); found && key == name {
			return strings.TrimSpace(value), nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("read /proc/%s: %w", file, err)
	}
	return "", fmt.Errorf("read /proc/%s: it has no line %s", file, name)
}
