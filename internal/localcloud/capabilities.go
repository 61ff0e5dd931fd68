package localcloud

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
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

// refusedDrop is how Docker refuses to take a capability away: 20.10 does not know those that are newer, others do not
// take what they have not got themselves.
var refusedDrop = regexp.MustCompile(`invalid CapDrop: .*"CAP_([A-Z_]+)"`)

// createMachine makes a container with the rights of nodeHostConfig and returns its ID. A capability that Docker refuses to take
// away is one that it gives to nobody.
func (c *Cloud) createMachine(ctx context.Context, machine *container.Config, host *container.HostConfig, attachment *network.NetworkingConfig,
	name string) (id string, err error) {
	for {
		created, err := c.docker.ContainerCreate(ctx, machine, host, attachment, nil, name)
		if err == nil {
			return created.ID, nil
		}
		refused := refusedDrop.FindStringSubmatch(err.Error())
		if refused == nil {
			return "", err
		}
		before := len(host.CapDrop)
		// The client has put CAP_ before each name by now, or not.
		host.CapDrop = slices.DeleteFunc(slices.Clone(host.CapDrop), func(name string) bool { return strings.TrimPrefix(name, "CAP_") == refused[1] })
		if len(host.CapDrop) == before {
			return "", err
		}
	}
}
