package cli

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"devctl/internal/cli/output"
	"devctl/internal/engine"
	"devctl/internal/version"
	"devctl/stacks"
)

const versionTimeout = 3 * time.Second

// versionView is what `devctl version` shows.
type versionView struct {
	Devctl      string              `json:"devctl"`
	Go          string              `json:"go"`
	Platform    string              `json:"platform"`
	Engine      string              `json:"engine"` // of Pulumi
	Stack       string              `json:"stack"`
	Controllers []controllerVersion `json:"controllers"` // empty when the stack is not up
}

type controllerVersion struct {
	Address string `json:"address"`
	Node    string `json:"node,omitempty"`
	Version string `json:"version,omitempty"`
	Leader  bool   `json:"leader"`
	Error   string `json:"error,omitempty"` // why there is no version
}

type versionOptions struct {
	format output.Format
	client bool
}

func newVersionCommand(d *deps) *cobra.Command {
	var opts versionOptions
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of devctl, its engine, and the controllers that answer",
		Long: `Shows the version of devctl and of the Pulumi engine it uses, and, when the stack is up, the versions of its
controllers. That these do not answer is no error.`,
		Example: `  devctl version
  devctl version --client -o json | jq -r .devctl`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runVersion(cmd.Context(), d, opts) },
	}
	addFormat(cmd, &opts.format)
	cmd.Flags().BoolVar(&opts.client, "client", false, "do not ask the controllers")
	return cmd
}

func runVersion(ctx context.Context, d *deps, opts versionOptions) error {
	v := versionView{
		Devctl: version.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Engine: engine.Version(), Stack: d.global.stack, Controllers: []controllerVersion{},
	}
	if !opts.client {
		v.Controllers = controllerVersions(ctx, d)
	}
	return output.Write(d.streams.Out, opts.format, v, func(w io.Writer) error {
		g := output.NewGrid()
		g.Row("devctl", v.Devctl+" ("+v.Go+", "+v.Platform+")")
		g.Row("engine", "pulumi "+v.Engine)
		for _, c := range v.Controllers {
			switch {
			case c.Error != "":
				g.Row("controller", fmt.Sprintf("no answer from %s", c.Address))
			case c.Leader:
				g.Row("controller", fmt.Sprintf("%s on %s (leader)", c.Version, c.Node))
			default:
				g.Row("controller", fmt.Sprintf("%s on %s", c.Version, c.Node))
			}
		}
		return g.Write(w)
	})
}

// controllerVersions asks every controller of the stack for its version; none when the stack is not up.
func controllerVersions(ctx context.Context, d *deps) []controllerVersion {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	_, out, err := d.standing(ctx)
	if err != nil {
		return []controllerVersion{}
	}
	all := make([]controllerVersion, len(out.Controllers))
	var g errgroup.Group
	for i, address := range out.Controllers {
		g.Go(func() error {
			all[i] = askVersion(ctx, d, out, address)
			return nil
		})
	}
	_ = g.Wait() // what went wrong is in the answers
	return all
}

func askVersion(ctx context.Context, d *deps, out *stacks.Outputs, address string) controllerVersion {
	only := *out
	only.Controllers = []string{address}
	c, err := d.dial(&only)
	if err != nil {
		return controllerVersion{Address: address, Error: err.Error()}
	}
	defer c.Close()
	health, err := c.Health(ctx)
	if err != nil {
		return controllerVersion{Address: address, Error: err.Error()}
	}
	return controllerVersion{Address: address, Node: health.Node, Version: health.Version, Leader: health.Leader}
}
