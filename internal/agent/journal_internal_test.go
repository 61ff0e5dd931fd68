package agent

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTelling reads what the journal has of a Redis that may not enter its folder, as systemd 252 on a node wrote it.
func TestTelling(t *testing.T) {
	t.Parallel()
	entry := func(identifier, priority, message string) string {
		return fmt.Sprintf("{\"MESSAGE\":%q,\"__CURSOR\":\"s=ae\",\"SYSLOG_IDENTIFIER\":%q,\"PRIORITY\":%q}\n", message, identifier, priority)
	}
	try := entry("systemd", "6", "redis-1.service: Scheduled restart job, restart counter is at 8.") +
		entry("systemd", "6", "Stopped redis-1.service.") +
		entry("(podman)", "4", "Failed to attach 503 to compat systemd cgroup /system.slice/redis-1.service: No such file or directory") +
		entry("systemd", "6", "Starting redis-1.service...") +
		entry("redis-1", "6", "*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***") +
		entry("redis-1", "6", "Permission denied") +
		entry("systemd", "5", "redis-1.service: Main process exited, code=exited, status=1/FAILURE") +
		entry("systemd", "4", "redis-1.service: Failed with result 'exit-code'.") +
		entry("systemd", "3", "Failed to start redis-1.service.")
	once := []string{
		"*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***", "Permission denied",
		"redis-1.service: Main process exited, code=exited, status=1/FAILURE", "redis-1.service: Failed with result 'exit-code'.",
		"Failed to start redis-1.service.",
	}
	for name, tc := range map[string]struct {
		entries string
		want    []string
	}{
		"one try":                       {try, once},
		"many tries":                    {strings.Repeat(try, 5), append(once, once...)},
		"a program that is not there":   {entry("(podman)", "3", "Failed at step EXEC spawning /usr/bin/podman: No such file or directory"), []string{"Failed at step EXEC spawning /usr/bin/podman: No such file or directory"}},
		"what is no text, and no entry": {`{"MESSAGE":[27,91],"SYSLOG_IDENTIFIER":"redis-1","PRIORITY":"6"}` + "\n{\n" + entry("redis-1", "6", "text"), []string{"text"}},
		"nothing":                       {"", nil},
	} {
		if diff := cmp.Diff(strings.Join(tc.want, "\n"), telling([]byte(tc.entries), "redis-1")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
