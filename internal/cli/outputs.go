package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"devctl/internal/api"
	"devctl/internal/cli/output"
	"devctl/stacks"
)

// masked stands for a secret that was not asked for.
const masked = "********"

// statsUser is the user of HAProxy's stats page.
const statsUser = "stats"

// outputsView is what `devctl outputs` shows: all that a client of the stack needs.
type outputsView struct {
	Stack    string       `json:"stack"`
	Redis    redisView    `json:"redis"`
	Endpoint endpointView `json:"endpoint"`
	Stats    statsView    `json:"stats"`
	API      []string     `json:"api"` // URLs of the controllers
}

type redisView struct {
	Address  string `json:"address"`
	Port     int    `json:"port"`
	Username string `json:"username"`
	Password string `json:"password"`
}

type endpointView struct {
	Address string `json:"address"`
	Port    int    `json:"port"`
}

type statsView struct {
	URL      string `json:"url"`
	Username string `json:"username"`
	Password string `json:"password"`
}

type outputsOptions struct {
	format      output.Format
	showSecrets bool
}

func newOutputsCommand(d *deps) *cobra.Command {
	var opts outputsOptions
	cmd := &cobra.Command{
		Use:   "outputs",
		Short: "Show where the stack is reached and with what",
		Long: `Shows the address, the user and the password for Redis clients, the stats page, and the controllers' API. Secrets
are masked unless --show-secrets is given.`,
		Example: `  devctl outputs
  devctl outputs -o json --show-secrets | jq -r .redis.password
  REDISCLI_AUTH=$(devctl outputs -o json --show-secrets | jq -r .redis.password) \
    redis-cli -c -h 198.18.0.10 -p 7010 --user app`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runOutputs(cmd.Context(), d, opts) },
	}
	addFormat(cmd, &opts.format)
	cmd.Flags().BoolVar(&opts.showSecrets, "show-secrets", false, "show passwords")
	return cmd
}

func runOutputs(ctx context.Context, d *deps, opts outputsOptions) error {
	spec, out, err := d.standing(ctx)
	if err != nil {
		return err
	}
	v := publicOutputs(spec.Stack, out, opts.showSecrets)
	return output.Write(d.streams.Out, opts.format, v, func(w io.Writer) error {
		g := output.NewGrid()
		g.Row("redis", fmt.Sprintf("%s:%d", v.Redis.Address, v.Redis.Port))
		g.Row("  user", v.Redis.Username)
		g.Row("  password", v.Redis.Password)
		g.Row("stats", v.Stats.URL)
		g.Row("  user", v.Stats.Username)
		g.Row("  password", v.Stats.Password)
		for i, url := range v.API {
			g.Row(map[bool]string{true: "api", false: " "}[i == 0], url)
		}
		return g.Write(w)
	})
}

// publicOutputs is what may be shown of a stack's outputs; passwords only when they are asked for.
func publicOutputs(stack string, o *stacks.Outputs, showSecrets bool) outputsView {
	secret := func(name string) string {
		if showSecrets {
			return o.Secrets[name]
		}
		return masked
	}
	v := outputsView{
		Stack:    stack,
		Redis:    redisView{Address: o.Redis.Address, Port: o.Redis.Port, Username: o.Redis.Username, Password: secret(api.SecretRedisApp)},
		Endpoint: endpointView{Address: o.Redis.Address, Port: o.Redis.Port},
		Stats:    statsView{URL: o.StatsURL, Username: statsUser, Password: secret(api.SecretStats)},
		API:      []string{},
	}
	for _, address := range o.Controllers {
		v.API = append(v.API, "https://"+address)
	}
	return v
}
