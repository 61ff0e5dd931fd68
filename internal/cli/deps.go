package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"devctl/images"
	"devctl/internal/api"
	"devctl/internal/cli/progress"
	"devctl/internal/engine"
	"devctl/internal/localcloud"
	"devctl/internal/snapshot"
	"devctl/stacks"
)

// deps is what commands work with: the streams, the global flags, and the world behind functions that tests
// replace. wire.go has the real ones.
type deps struct {
	streams Streams
	global  globalOptions
	shown   *progress.Display // the last one, nil before the first
	program string            // how devctl was called, for commands to paste
	hard    context.Context   // ends when a person wants devctl to stop at once, see interruptible

	getenv func(string) string
	now    func() time.Time
	after  func(time.Duration) <-chan time.Time

	images func() (*images.Set, error)
	// hold lets nobody else work on a stack until release is called. Commands that change one do so before they look at it, so
	// that what they do and what they were told to do cannot differ.
	hold func(stack, command string) (release func(), err error)
	// open makes a stack ready to be changed; without a spec, only to be destroyed. allowed are the names given with
	// --allow-replace: where machines would be replaced all at once, the others stay as they are.
	open func(ctx context.Context, stack string, spec *stacks.Spec, allowed []string) (environment, error)
	// revive makes a stack ready to get all of its main nodes anew, and nothing else: data is a compressed archive with the folder
	// etcd, for the disk of one of them.
	revive    func(ctx context.Context, spec *stacks.Spec, data etcdData) (environment, error)
	snapshots snapshots
	// bucketSnapshots lists the snapshots in the bucket of a stack on AWS.
	bucketSnapshots func(ctx context.Context, spec *stacks.Spec) ([]snapshot.Info, error)
	// read returns the outputs of a stack: engine.ErrNoStack when there is none, empty when it has no resources.
	read   func(ctx context.Context, stack string) (map[string]engine.Output, error)
	exists func(stack string) bool // in the state
	// state opens what is kept of a stack. moved: also when its state is in another backend than its spec says.
	state     func(ctx context.Context, stack string, moved bool) (stateStore, error)
	list      func(ctx context.Context) ([]engine.StackInfo, error)
	dial      func(*stacks.Outputs) (cluster, error)
	slots     func(ctx context.Context, spec *stacks.Spec) (slots, error)
	exec      func(ctx context.Context, stack, node string, o localcloud.ExecOptions) (exit int, err error)
	preflight func(ctx context.Context, args localcloud.PreflightArgs) []error
	// credentials is nil when the cloud of the stack takes this machine's.
	credentials func(ctx context.Context, spec *stacks.Spec) error
	leftovers   func(ctx context.Context, stack string) ([]string, error) // on this machine
	sweep       func(ctx context.Context, stack string) error             // removes the leftovers
	purge       func(ctx context.Context) error
	// supervised is nil when a stack's groups keep their size by themselves.
	supervised func(ctx context.Context, stack string) error
	checks     func() []check
}

// environment is one stack as the engine sees it.
type environment interface {
	Exists() bool
	previewer
	Up(ctx context.Context, each func(engine.Event)) (engine.Summary, error)
	// Made gets the outputs of an update while it still runs, as soon as they are known.
	Made() <-chan *stacks.Outputs
	// Supervise lets groups of machines that are up keep their size by themselves, where devctl sees to that: on local. It is
	// localcloud.ErrNoSocket where that cannot be.
	Supervise(ctx context.Context) error
	Refresh(ctx context.Context, each func(engine.Event)) (engine.Summary, error)
	Destroy(ctx context.Context, each func(engine.Event)) (engine.Summary, error)
	Remove(ctx context.Context) error
	Close()
}

// cluster is the controllers' API as the commands use it.
type cluster interface {
	Deploy(ctx context.Context, req api.DeployRequest) (api.DeployResponse, error)
	Workers(ctx context.Context, req api.WorkersRequest) (api.WorkersResponse, error)
	Status(ctx context.Context) (api.Status, error)
	Assignments(ctx context.Context) (api.Assigned, error)
	Events(ctx context.Context, after int64, f func(api.Event) error) error
	Health(ctx context.Context) (api.Health, error)
	Snapshot(ctx context.Context, w io.Writer) (revision int64, err error)
	Close()
}

// spec loads the spec of the stack that was asked for.
func (d *deps) spec() (*stacks.Spec, error) {
	_, spec, err := d.project()
	return spec, err
}

// project loads the spec of the stack that was asked for, with the project it is in.
func (d *deps) project() (*stacks.Project, *stacks.Spec, error) {
	project, err := stacks.FindProject(d.global.dir)
	if err != nil {
		return nil, nil, err
	}
	spec, err := project.Load(d.global.stack)
	var missing *stacks.NotFoundError
	if errors.As(err, &missing) && d.global.selected != defaultStack && d.global.stack == d.global.selected {
		err = withNext(err, "the stack was selected with `devctl stack select`; `devctl stack select NAME` selects another one")
	}
	return project, spec, err
}

// outputs reads the outputs of a stack that is up.
func (d *deps) outputs(ctx context.Context, stack string) (*stacks.Outputs, error) {
	values, err := d.read(ctx, stack)
	if errors.Is(err, engine.ErrNoStack) || err == nil && len(values) == 0 {
		return nil, withNext(fmt.Errorf("stack %q is not up", stack), d.command("up"))
	}
	if err != nil {
		return nil, err
	}
	out, err := decodeOutputs(values)
	return out, withNext(err, d.command("up")+" goes on where it stopped")
}

func decodeOutputs(values map[string]engine.Output) (*stacks.Outputs, error) {
	plain := map[string]any{}
	for name, output := range values {
		plain[name] = output.Value
	}
	return stacks.DecodeOutputs(plain)
}

// standing is the spec and the outputs of the stack that was asked for, which has to be up.
func (d *deps) standing(ctx context.Context) (*stacks.Spec, *stacks.Outputs, error) {
	spec, err := d.spec()
	if err != nil {
		return nil, nil, err
	}
	out, err := d.outputs(ctx, spec.Stack)
	if err != nil {
		return nil, nil, err
	}
	return spec, out, nil
}

// reach is the way to the controllers of a stack that is up, and the outputs that say where they are.
func (d *deps) reach(ctx context.Context, stack string) (cluster, *stacks.Outputs, error) {
	out, err := d.outputs(ctx, stack)
	if err != nil {
		return nil, nil, err
	}
	c, err := d.dial(out)
	return c, out, err
}

// connect reaches the controllers of the stack that was asked for. Their status says which nodes are outdated.
func (d *deps) connect(ctx context.Context) (cluster, error) {
	spec, err := d.spec()
	if err != nil {
		return nil, err
	}
	c, out, err := d.reach(ctx, spec.Stack)
	if err != nil {
		return nil, err
	}
	return &configWatch{cluster: c, d: d, stack: spec.Stack, configs: out.Configs, read: d.now()}, nil
}

// command is a devctl command to paste, on the same stack and project.
func (d *deps) command(rest string) string {
	words := []string{d.program}
	if d.global.stack != "" && d.global.stack != cmp.Or(d.global.selected, defaultStack) {
		words = append(words, "-s", quoted(d.global.stack))
	}
	if d.global.dir != "" && d.global.dir != "." {
		words = append(words, "-C", quoted(d.global.dir))
	}
	return strings.Join(append(words, rest), " ")
}

// quoted is a word for a shell.
func quoted(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+=:@", r)
	}
	if strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// say tells a person on stderr, unless they want quiet; while progress is shown, in its midst.
func (d *deps) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if d.global.quiet || d.shown != nil && d.shown.Print(progress.Info, text) {
		return
	}
	fmt.Fprintln(d.streams.Err, text)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
