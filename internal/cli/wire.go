package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"devctl/images"
	"devctl/internal/api"
	"devctl/internal/bundle"
	"devctl/internal/clouds"
	"devctl/internal/engine"
	"devctl/internal/localcloud"
	"devctl/internal/pki"
	"devctl/internal/provider"
	"devctl/stacks"
)

// realDeps is devctl as people run it.
func realDeps(s Streams) *deps {
	d := &deps{
		streams: s, program: programName(os.Args), getenv: os.Getenv, now: time.Now, after: time.After,
		dial: dialControllers, slots: openSlots, exec: localcloud.Exec, preflight: localcloud.Preflight, credentials: clouds.CheckCredentials,
		leftovers: localcloud.Leftovers, sweep: localcloud.RemoveStack, purge: localcloud.PurgeCache, supervised: localcloud.Supervised,
	}
	d.images = sync.OnceValues(func() (*images.Set, error) {
		dir := binDir(d.getenv)
		set, err := images.Load(os.DirFS(dir))
		if err != nil {
			return nil, fmt.Errorf("look in %s for what nodes run: %w", dir, err)
		}
		return set, nil
	})
	d.open = func(ctx context.Context, stack string, spec *stacks.Spec, allowed []string) (environment, error) {
		return d.openStack(ctx, stack, spec, allowed, nil)
	}
	d.revive = func(ctx context.Context, spec *stacks.Spec, data etcdData) (environment, error) {
		return d.openStack(ctx, spec.Stack, spec, nil, data)
	}
	d.hold = func(stack, command string) (func(), error) {
		o, err := d.engineOptions(engine.Options{Stack: stack})
		if err != nil {
			return nil, err
		}
		return engine.Hold(o, "devctl "+command)
	}
	d.snapshots = localSnapshots{}
	d.bucketSnapshots = clouds.Snapshots
	d.read = func(ctx context.Context, stack string) (map[string]engine.Output, error) {
		s, err := d.engine(ctx, engine.Options{Stack: stack})
		if err != nil {
			return nil, err
		}
		return s.Outputs(ctx)
	}
	d.exists = func(stack string) bool {
		s, err := d.engine(context.Background(), engine.Options{Stack: stack})
		return err == nil && s.Exists()
	}
	d.list, d.state = d.listStacks, d.openState
	d.checks = func() []check { return allChecks(d) }
	return d
}

// programName is how devctl was called, so that commands in messages can be pasted.
func programName(args []string) string {
	if len(args) > 0 && strings.ContainsRune(args[0], filepath.Separator) {
		return quoted(args[0])
	}
	return "devctl"
}

// binDir is where the programs are that devctl starts or puts on nodes: beside devctl itself.
func binDir(getenv func(string) string) string {
	if dir := getenv("DEVCTL_BIN_DIR"); dir != "" {
		return dir
	}
	self, err := os.Executable()
	if err != nil {
		return "bin"
	}
	if target, err := filepath.EvalSymlinks(self); err == nil {
		self = target
	}
	return filepath.Dir(self)
}

// dataDir is devctl's data folder.
func dataDir(getenv func(string) string) (string, error) {
	if dir := getenv("DEVCTL_HOME"); dir != "" {
		return dir, nil
	}
	if dir := getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "devctl"), nil
	}
	home := getenv("HOME")
	if home == "" { // a job of CI, a timer: the account has one all the same
		account, err := user.Current()
		if err != nil || account.HomeDir == "" {
			return "", errors.New("find the data folder: this user has no home; set DEVCTL_HOME")
		}
		home = account.HomeDir
	}
	return filepath.Join(home, ".local", "share", "devctl"), nil
}

// engineOptions completes options with what is the same for all stacks.
func (d *deps) engineOptions(o engine.Options) (engine.Options, error) {
	project, err := stacks.FindProject(d.global.dir)
	if err != nil {
		return o, err
	}
	home, err := dataDir(d.getenv)
	if err != nil {
		return o, err
	}
	if found := checkHome(home); found.Verdict == verdictFail {
		return o, withNext(fmt.Errorf("use the data folder: %s", found.Detail), found.Fix)
	}
	o.Project, o.Description, o.Home, o.BinDir = project.Name, project.Description, home, binDir(d.getenv)
	return backendOf(project, o)
}

func (d *deps) engine(ctx context.Context, o engine.Options) (*engine.Stack, error) {
	o, err := d.engineOptions(o)
	if err != nil {
		return nil, err
	}
	return engine.Open(ctx, o)
}

// openedStack is a stack with the provider that its resources need.
type openedStack struct {
	*engine.Stack
	made      chan *stacks.Outputs
	supervise func(ctx context.Context) error
	close     func()
}

// Made gets the outputs of an update as soon as its program knows them.
func (s *openedStack) Made() <-chan *stacks.Outputs { return s.made }

// Supervise lets the machines that the provider was asked for keep their number.
func (s *openedStack) Supervise(ctx context.Context) error { return s.supervise(ctx) }

// Close ends the provider.
func (s *openedStack) Close() { s.close() }

// closeGrace is how long what was stopped at once may take to clean up after itself.
const closeGrace = 10 * time.Second

// etcdData is what deps.revive wants of a main node.
type etcdData = func(context.Context, api.Identity) (io.ReadCloser, error)

// openStack is deps.open, and with data deps.revive.
func (d *deps) openStack(ctx context.Context, stack string, spec *stacks.Spec, allowed []string, data etcdData) (_ environment, err error) {
	cloud, err := localcloud.Connect()
	if err != nil {
		return nil, err
	}
	// At the first Ctrl-C (ctx) what the provider works on is finished, and nothing further is begun; the second ends it.
	cloud.Stop = ctx.Done()
	serving, stopServing := context.WithCancel(d.hard)
	var served <-chan struct{}
	stop := func() {
		stopServing()
		if served != nil {
			select {
			case <-served:
			case <-d.after(closeGrace):
			}
		}
		_ = cloud.Close()
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	if spec != nil && spec.Provider == stacks.ProviderLocal {
		if cloud.Supervisor, err = os.ReadFile(filepath.Join(binDir(d.getenv), localcloud.SupervisorBinary)); err != nil {
			return nil, withNext(fmt.Errorf("read the supervisor of local machines: %w", err), "build it with `make build`, or set DEVCTL_BIN_DIR to its folder")
		}
	}
	o := engine.Options{
		Stack: stack, Refresh: spec != nil, Kill: d.hard.Done(), Download: true,
		PassphraseCreated: d.tellPassphrase,
	}
	if data != nil {
		cloud.EtcdData = data
		o.Only = "**NodeGroup::" + string(api.RoleMain)
	}
	home, err := dataDir(d.getenv)
	if err != nil {
		return nil, err
	}
	var opened *engine.Stack
	bundles := &bundle.Store{
		Dir:        filepath.Join(home, "bundles"),
		SpacesKeys: func(ctx context.Context) (string, string, error) { return d.spacesKeys(ctx, opened) },
	}
	work := provider.Options{Cloud: cloud, Bundles: bundles}
	made := make(chan *stacks.Outputs, 1)
	if spec != nil {
		if work.Images, err = d.images(); err != nil {
			return nil, err
		}
		bundles.Images = work.Images.Refs()
		bundles.Save = func(ctx context.Context, image string, w io.Writer, log func(string)) error {
			return cloud.SaveService(ctx, work.Images, image, w, log)
		}
		o.Program = stacks.Program(spec, d.cloudOf(spec, work.Images, allowed), work.Images.Etcd(), func(out *stacks.Outputs) {
			select {
			case made <- out:
			default: // a preview of what exists knows them too
			}
		})
	}
	port, done, err := provider.Serve(serving, work)
	if err != nil {
		return nil, err
	}
	served = done
	o.Providers = map[string]int{provider.Name: port}
	if opened, err = d.engine(ctx, o); err != nil {
		return nil, err
	}
	if spec != nil && opened.Exists() {
		// Read when a machine is about to be replaced: most runs replace none, and each look into the state is a process.
		before := sync.OnceValues(func() (*stacks.Outputs, error) { return readOutputs(serving, d, stack) })
		cloud.Spare = gate(d, before, sparing)
		cloud.Healthy = gate(d, before, healing)
	}
	supervise := func(ctx context.Context) error { return cloud.Supervise(ctx, stack) }
	return &openedStack{Stack: opened, made: made, supervise: supervise, close: stop}, nil
}

// dialControllers connects as the stack's admin.
func dialControllers(o *stacks.Outputs) (cluster, error) {
	config, err := pki.ClientTLS(o.CACert, pki.Pair{Cert: o.AdminCert, Key: o.AdminKey})
	if err != nil {
		return nil, fmt.Errorf("read the stack's admin certificate: %w", err)
	}
	return api.NewClient(o.Controllers, config), nil
}
