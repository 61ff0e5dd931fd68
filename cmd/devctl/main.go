// Command devctl brings environments up and keeps them in shape.
package main

import (
	"os"

	"devctl/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
