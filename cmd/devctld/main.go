// Command devctld is the daemon on every node.
package main

import (
	"os"

	"devctl/internal/daemon"
)

func main() { os.Exit(daemon.Main(os.Args[1:], os.Stdout, os.Stderr)) }
