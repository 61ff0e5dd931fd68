// Package devctl holds the project that devctl works with outside of any project directory: this repository's
// own Pulumi.yaml and local stack. It is at the root because embedding reaches no higher than its own folder.
package devctl

import "embed"

// DefaultProject holds Pulumi.yaml and its one stack file, under the paths they have in this repository.
//
//go:embed Pulumi.yaml stacks/Pulumi.local.yaml
var DefaultProject embed.FS

// Examples holds a stack file for every provider, in the folder stacks.
//
//go:embed stacks/Pulumi.*.yaml
var Examples embed.FS
