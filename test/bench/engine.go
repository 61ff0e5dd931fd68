package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"

	"devctl/images"
	"devctl/internal/clouds"
	"devctl/internal/localcloud"
	"devctl/internal/provider"
	"devctl/internal/standin"
	"devctl/stacks"
)

// bareEngine is the argument that makes this program the bare engine: the Automation API with nothing of devctl around it.
const bareEngine = "bare-engine"

// barePreview runs this program again, as the bare engine.
func (b *bench) barePreview(stack string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bin, err := filepath.Abs("bin")
	if err != nil {
		return err
	}
	_, err = b.command(self, bareEngine, bin, stack)
	return err
}

// runBareEngine previews a stack of the project in this folder as any program that embeds Pulumi would: one on this machine against
// its state and what Docker has, where nothing must be found to change; one on a cloud from nothing, with stand-ins.
func runBareEngine(ctx context.Context, bin, stack string) (err error) {
	project, err := stacks.FindProject(".")
	if err != nil {
		return err
	}
	spec, err := project.Load(stack)
	if err != nil {
		return err
	}
	set, err := images.Load(os.DirFS(bin))
	if err != nil {
		return err
	}
	home, err := os.MkdirTemp("", "devctl-bench-engine-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	local := spec.Provider == stacks.ProviderLocal
	env := map[string]string{
		"PULUMI_SKIP_UPDATE_CHECK":                    "true",
		"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
		"PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK":    "true",
		"PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER":    "true",
	}
	serve, options := servePaper, []optpreview.Option(nil)
	if local {
		serve, options = serveDocker, []optpreview.Option{optpreview.Refresh()}
		env["PULUMI_CONFIG_PASSPHRASE_FILE"] = filepath.Join(os.Getenv("DEVCTL_HOME"), "passphrase")
		if err := os.CopyFS(home, os.DirFS(filepath.Join(os.Getenv("DEVCTL_HOME"), "state"))); err != nil {
			return err
		}
	} else {
		env["PULUMI_CONFIG_PASSPHRASE"] = "bench"
	}
	if env["PULUMI_DEBUG_PROVIDERS"], err = serve(ctx, set); err != nil {
		return err
	}
	// The Automation API looks for the CLI in a folder named bin.
	pulumi, err := auto.NewPulumiCommand(&auto.PulumiCommandOptions{Root: filepath.Dir(bin)})
	if err != nil {
		return err
	}
	s, err := auto.UpsertStackInlineSource(ctx, stack, project.Name, stacks.Program(spec, clouds.Of(spec, set, bin, nil), set.Etcd(), nil),
		auto.Pulumi(pulumi), auto.WorkDir(home), auto.PulumiHome(home), auto.SecretsProvider("passphrase"), auto.EnvVars(env),
		auto.Project(workspace.Project{
			Name: tokens.PackageName(project.Name), Runtime: workspace.NewProjectRuntimeInfo("go", nil), Backend: &workspace.ProjectBackend{URL: "file://" + home},
		}))
	if err != nil {
		return err
	}
	result, err := s.Preview(ctx, options...)
	if err != nil {
		return err
	}
	delete(result.ChangeSummary, apitype.OpSame)
	if local && len(result.ChangeSummary) > 0 {
		return fmt.Errorf("there is something to change: %v", result.ChangeSummary)
	}
	return nil
}

// servePaper serves what stands for AWS and for Docker, and returns where, as PULUMI_DEBUG_PROVIDERS has it.
func servePaper(ctx context.Context, set *images.Set) (string, error) {
	served, err := standin.Serve(ctx, standin.Options{Packages: []string{"aws"}})
	if err != nil {
		return "", err
	}
	port, _, err := provider.Serve(ctx, provider.Options{Cloud: provider.Paper{}, Images: set, Bundles: provider.Paper{}})
	return fmt.Sprintf("%s:%d,aws:%d", provider.Name, port, served.Ports["aws"]), err
}

// serveDocker serves the provider of local stacks.
func serveDocker(ctx context.Context, set *images.Set) (string, error) {
	cloud, err := localcloud.Connect()
	if err != nil {
		return "", err
	}
	port, _, err := provider.Serve(ctx, provider.Options{Cloud: cloud, Images: set})
	return fmt.Sprintf("%s:%d", provider.Name, port), err
}
