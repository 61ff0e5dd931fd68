// Command devctl-supervisor keeps the size of a local stack's node groups, as a cloud's autoscaling does. It runs in a container of the
// stack's own, which `devctl up` starts.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"devctl/internal/localcloud"
)

const usage = `usage: devctl-supervisor keep STACK [CAPABILITY…]   keep the size of the stack's groups; no node has the capabilities
       devctl-supervisor hold                       keep the supervisor from touching machines until stdin ends
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var err error
	switch args := os.Args[1:]; {
	case len(args) >= 2 && args[0] == "keep":
		err = keep(ctx, args[1], args[2:])
	case len(args) == 1 && args[0] == "hold":
		err = localcloud.Hold(localcloud.SupervisorDir, os.Stdin, os.Stdout)
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "devctl-supervisor:", err)
		os.Exit(1)
	}
}

func keep(ctx context.Context, stack string, dropped []string) error {
	cloud, err := localcloud.Connect()
	if err != nil {
		return err
	}
	defer func() { _ = cloud.Close() }()
	cloud.Dropped = dropped
	return cloud.Keep(ctx, stack, localcloud.SupervisorDir, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}
