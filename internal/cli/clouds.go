package cli

import (
	"devctl/components"
	"devctl/components/local"
	"devctl/images"
	"devctl/stacks"
)

// cloudOf is the cloud that a spec wants. It asks nobody and touches nothing.
func cloudOf(spec *stacks.Spec, set *images.Set) components.Cloud {
	return local.New(set)
}
