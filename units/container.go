package units

import (
	"fmt"
	"strconv"

	"devctl/internal/api"
)

// container is what a unit runs with podman. Paths are the same inside as outside, so that every path in a
// config file means one thing.
type container struct {
	image      string   // reference, local: nothing is ever pulled by a unit
	entrypoint string   // program in the image
	args       []string // its arguments
	envFile    string   // file with its environment, written before every start; "" for none
	reads      []string // paths mounted read-only
	writes     []string // paths mounted writable
	// capabilities it keeps. Everything else is dropped, and the root file system is read-only.
	capabilities []string
	// notifies tells whether the program itself says READY=1 once it serves. Otherwise the unit is active as
	// soon as the program runs.
	notifies bool
	// grace is how long the program may take to stop, in seconds, before it is killed.
	grace int
}

// podman is where Debian and Fedora CoreOS have it.
const podman = "/usr/bin/podman"

// service returns the service that runs the container; the caller adds what is its own.
//
// conmon, not podman, is the main process: podman starts the container and leaves (--detach), which saves its
// memory. systemd sees the container end, restarts it, and has its output in the journal.
func (c container) service() service {
	sdnotify := "conmon"
	if c.notifies {
		// With podman 4.3 conmon passes READY=1 on, podman itself does not wait for it: on a node whose etcd
		// has no quorum yet, `podman ps` and `podman exec` were seen to answer at once.
		sdnotify = "container"
	}
	start := command{
		podman, "run",
		"--name=%N", "--replace", "--rm", "--detach", "--pull=never",
		"--network=host",
		// split on cgroup v2; on v1 a nested podman cannot make cgroups: the workload stays in the unit's.
		"--cgroups=${PODMAN_CGROUPS}",
		"--sdnotify=" + sdnotify,
		"--log-driver=passthrough",
		// The limits of the unit: podman's own default needs CAP_SYS_RESOURCE where the host's is lower.
		"--ulimit=host",
		"--read-only",
		"--security-opt=no-new-privileges",
		// On SELinux a mount would have to be relabelled at every change of a file in it.
		"--security-opt=label=disable",
		"--cap-drop=all",
	}
	for _, name := range c.capabilities {
		start = append(start, "--cap-add="+name)
	}
	start = append(start, "--stop-signal=SIGTERM", "--stop-timeout="+strconv.Itoa(c.grace))
	if c.envFile != "" {
		start = append(start, "--env-file="+c.envFile)
	}
	for _, path := range c.reads {
		start = append(start, "--volume="+path+":"+path+":ro")
	}
	for _, path := range c.writes {
		start = append(start, "--volume="+path+":"+path)
	}
	start = append(start, "--entrypoint="+c.entrypoint, c.image)
	start = append(start, c.args...)

	return service{
		wants:            []string{"network-online.target", setupUnit},
		kind:             "notify",
		notifyAccess:     "all", // conmon, or the workload in it
		delegate:         true,
		killMode:         "mixed",
		environmentFiles: []string{api.PlatformEnvFile},
		start:            start,
		stop:             command{podman, "stop", "--ignore", "%N"},
		// After a kill -9 of conmon the container's mounts are still there.
		stopPost:    command{podman, "rm", "--force", "--ignore", "%N"},
		restart:     "always",
		stopTimeout: fmt.Sprint(c.grace + 15),
	}
}
