package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"

	"devctl/images"
	"devctl/internal/clouds"
	"devctl/internal/provider"
	"devctl/internal/standin"
	"devctl/stacks"
)

const (
	previewRuns = 7
	manyStacks  = 30
	fewSlots    = 30
	manySlots   = 300
)

// previews measures `preview --offline` of stacks on AWS that are not there yet, against the bare engine on the same program
// and stand-ins: the Automation API with nothing of devctl around it. Each run of either is a process of its own.
func (b bench) previews() error {
	spec, err := os.ReadFile("stacks/Pulumi.aws.yaml")
	if err != nil {
		return err
	}
	write := func(stack string, data int) error {
		before, after, found := strings.Cut(string(spec), "\n    data:\n      count: 3")
		if !found {
			return errors.New("stacks/Pulumi.aws.yaml has no data count of 3 any more: look at how this benchmark changes it")
		}
		text := fmt.Sprintf("%s\n    data:\n      count: %d%s", before, data, after)
		return os.WriteFile(filepath.Join(b.dir, "stacks", "Pulumi."+stack+".yaml"), []byte(text), 0o644)
	}
	var many []string
	for i := range manyStacks {
		many = append(many, fmt.Sprintf("aws%d", i+1))
		if err := write(many[i], 3); err != nil {
			return err
		}
	}
	if err := errors.Join(write("few", fewSlots), write("many", manySlots)); err != nil {
		return err
	}

	if err := b.previewRatio("preview --offline of the AWS stack", previewRuns, many[:1]); err != nil {
		return err
	}
	if err := b.previewRatio(fmt.Sprintf("the same for %d stacks in one go", manyStacks), 3, many); err != nil {
		return err
	}
	var growths []float64
	for range 3 {
		few, err := b.preview("few")
		if err != nil {
			return err
		}
		much, err := b.preview("many")
		if err != nil {
			return err
		}
		growths = append(growths, much.Seconds()/few.Seconds())
		fmt.Printf("preview --offline with %d data nodes %.2f s, with %d %.2f s\n", fewSlots, few.Seconds(), manySlots, much.Seconds())
	}
	fmt.Printf("%d times the nodes take a preview %.1f times as long (wanted: at most %[1]d)\n", manySlots/fewSlots, median(growths))
	return nil
}

// previewRatio takes turns, as upAgainstBare does.
func (b bench) previewRatio(what string, runs int, names []string) error {
	var ours, bare, ratios []float64
	for range runs {
		a, err := b.time(func() error { return b.each(names, b.preview) })
		if err != nil {
			return err
		}
		c, err := b.time(func() error { return b.each(names, b.barePreview) })
		if err != nil {
			return err
		}
		ours, bare, ratios = append(ours, a.Seconds()), append(bare, c.Seconds()), append(ratios, a.Seconds()/c.Seconds())
	}
	fmt.Printf("%s against the bare engine: %.2f s / %.2f s, median ratio %.2f of %.2f (wanted: at most 1.1)\n",
		what, median(ours), median(bare), median(ratios), slices.Sorted(slices.Values(ratios)))
	return nil
}

func (b bench) each(names []string, run func(string) (time.Duration, error)) error {
	for _, name := range names {
		if _, err := run(name); err != nil {
			return err
		}
	}
	return nil
}

func (b bench) preview(stack string) (time.Duration, error) {
	return b.devctl("preview", "--offline", "--stack", stack)
}

// barePreview runs this program again, as the bare engine.
func (b bench) barePreview(stack string) (time.Duration, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	return b.time(func() error {
		_, err := b.command(self, bareEngine, b.dir, stack)
		return err
	})
}

// bareEngine is the argument that makes this program the bare engine.
const bareEngine = "bare-engine"

// runBareEngine previews a stack as any program that embeds Pulumi would.
func runBareEngine(ctx context.Context, dir, stack string) (err error) {
	project, err := stacks.FindProject(dir)
	if err != nil {
		return err
	}
	spec, err := project.Load(stack)
	if err != nil {
		return err
	}
	bin, err := filepath.Abs("bin")
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
	served, err := standin.Serve(ctx, standin.Options{Packages: []string{"aws"}})
	if err != nil {
		return err
	}
	port, _, err := provider.Serve(ctx, provider.Options{Cloud: provider.Paper{}, Images: set, Bundles: provider.Paper{}})
	if err != nil {
		return err
	}
	// The Automation API looks for the CLI in a folder named bin.
	pulumi, err := auto.NewPulumiCommand(&auto.PulumiCommandOptions{Root: filepath.Dir(bin)})
	if err != nil {
		return err
	}
	s, err := auto.UpsertStackInlineSource(ctx, stack, project.Name, stacks.Program(spec, clouds.Of(spec, set, bin, nil), set.Etcd(), nil),
		auto.Pulumi(pulumi), auto.WorkDir(home), auto.PulumiHome(home), auto.SecretsProvider("passphrase"),
		auto.Project(workspace.Project{
			Name: "bench", Runtime: workspace.NewProjectRuntimeInfo("go", nil), Backend: &workspace.ProjectBackend{URL: "file://" + home},
		}),
		auto.EnvVars(map[string]string{
			"PULUMI_CONFIG_PASSPHRASE":                    "bench",
			"PULUMI_DEBUG_PROVIDERS":                      fmt.Sprintf("%s:%d,aws:%d", provider.Name, port, served.Ports["aws"]),
			"PULUMI_SKIP_UPDATE_CHECK":                    "true",
			"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
			"PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK":    "true",
		}))
	if err != nil {
		return err
	}
	_, err = s.Preview(ctx)
	return err
}
