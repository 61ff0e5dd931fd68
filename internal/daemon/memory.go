package daemon

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

// idleGCPercent is how much garbage may come upon what is in use before it is collected.
const idleGCPercent = 10

// settle gives back the memory that only the last work needed. A node is there for its services; what waits beside
// them, for years, should be small.
//
// Two kinds: garbage, and pages of the program itself, which initialisation has touched
// nearly all of and idling needs a third of. Dropping those loses nothing: they are mapped again from the
// file when they are needed.
//
// From then on garbage is collected earlier: what that costs, next to nothing while idle, would slow a start.
func settle() error {
	debug.SetGCPercent(idleGCPercent)
	debug.FreeOSMemory()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("read the program's mappings: %w", err)
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	for _, m := range readOnly(string(maps), program) {
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, m.start, m.end-m.start, syscall.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("give back the program's pages: %w", errno)
		}
	}
	return nil
}

// mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// readOnly returns the mappings of file, in the format of /proc/PID/maps, that nobody can have written to.
func readOnly(maps, file string) []mapping {
	var out []mapping
	for line := range strings.Lines(maps) {
		f := strings.Fields(line)
		if len(f) < 6 || f[5] != file || (f[1] != "r-xp" && f[1] != "r--p") {
			continue
		}
		from, to, _ := strings.Cut(f[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil && start < end {
			out = append(out, mapping{uintptr(start), uintptr(end)})
		}
	}
	return out
}
