// Command stack is a stack's program as an ordinary Pulumi project has it: Pulumi.yaml names it as main. It is for those who
// prefer `pulumi preview` to `devctl preview` on the cloud stacks; docs/pulumi.md says what that takes. devctl itself does
// not run it: it runs the same program inside its own process.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/images"
	"devctl/internal/clouds"
	"devctl/stacks"
)

func main() {
	pulumi.Run(func(ctx *pulumi.Context) error { return run(ctx, ".", os.Getenv("DEVCTL_BIN_DIR")) })
}

// run registers the stack that Pulumi has selected, of the project that dir is in. bin has what machines run; "" is the
// folder where `make build` puts it.
func run(ctx *pulumi.Context, dir, bin string) error {
	project, err := stacks.FindProject(dir)
	if err != nil {
		return err
	}
	spec, err := project.Load(ctx.Stack())
	if err != nil {
		return err
	}
	if spec.Provider == stacks.ProviderLocal {
		return fmt.Errorf("stack %q is on this machine, and its machines are made inside of devctl: use `devctl -s %[1]s preview` and `devctl -s %[1]s up`", spec.Stack)
	}
	if bin == "" {
		bin = filepath.Join(project.Root, "bin")
	}
	set, err := images.Load(os.DirFS(bin))
	if err != nil {
		return fmt.Errorf("look in %s for what nodes run: %w; run `make build`", bin, err)
	}
	return stacks.Program(spec, clouds.Of(spec, set, bin, nil), set.Etcd(), nil)(ctx)
}
