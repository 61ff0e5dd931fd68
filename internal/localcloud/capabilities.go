package localcloud

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// capabilities are Linux's, by number, as Docker writes them.
var capabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// droppedCapabilities are those that a node cannot have. Docker refuses to start a container with a capability that
// lies outside its own bounding set, which is what --privileged asks for; the bounding set of this process stands for
// Docker's, which runs on the same machine or, where there is no /proc, in a virtual machine of its own that has all.
func droppedCapabilities() []string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil
	}
	missing, err := outsideBoundingSet(string(status))
	if err != nil {
		return nil
	}
	return missing
}

// outsideBoundingSet reads /proc/PID/status.
func outsideBoundingSet(status string) ([]string, error) {
	for line := range strings.Lines(status) {
		value, found := strings.CutPrefix(line, "CapBnd:")
		if !found {
			continue
		}
		set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("parse capability bounding set %q: %w", strings.TrimSpace(value), err)
		}
		var missing []string
		for number, name := range capabilities {
			if set&(1<<number) == 0 {
				missing = append(missing, name)
			}
		}
		return missing, nil
	}
	return nil, fmt.Errorf("no capability bounding set in the process status")
}
