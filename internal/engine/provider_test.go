package engine_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	rpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
)

// world is a cloud of named things. It finds them by name alone, so doing a thing twice is the same as once.
type world struct {
	mu      sync.Mutex
	things  map[string]thingArgs
	broken  map[string]string        // by name: creating or changing it fails with the message
	blocked map[string]chan struct{} // by name: creating it waits for the channel to be closed
	reached chan string              // names of blocked things whose creation began
	calls   []string                 // what was done, for example "create a"
}

func newWorld() *world {
	return &world{things: map[string]thingArgs{}, broken: map[string]string{}, blocked: map[string]chan struct{}{}, reached: make(chan string, 16)}
}

func (w *world) put(verb string, args thingArgs) error {
	w.mu.Lock()
	wait := w.blocked[args.Name]
	w.mu.Unlock()
	if wait != nil {
		w.reached <- args.Name
		<-wait
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if message := w.broken[args.Name]; message != "" {
		return fmt.Errorf("%s", message)
	}
	w.calls = append(w.calls, verb+" "+args.Name)
	w.things[args.Name] = args
	return nil
}

func (w *world) remove(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, "delete "+name)
	delete(w.things, name)
}

func (w *world) find(name string) (thingArgs, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	args, found := w.things[name]
	return args, found
}

// breakThing makes creating and changing a thing fail; an empty message mends it.
func (w *world) breakThing(name, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken[name] = message
}

// block makes the creation of a thing wait until the returned function is called.
func (w *world) block(name string) (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wait := make(chan struct{})
	w.blocked[name] = wait
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.blocked, name)
		close(wait)
	})
}

func (w *world) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.things))
}

// done returns what was done since it was called last.
func (w *world) done() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.calls
	w.calls = nil
	slices.Sort(calls)
	return calls
}

// thing is the resource test:index:Thing. Another image replaces it, anything else is changed in place.
type thing struct{ world *world }

type thingArgs struct {
	Name     string `pulumi:"name"`
	Size     int    `pulumi:"size"`
	Image    string `pulumi:"image"`
	Password string `pulumi:"password" provider:"secret"`
}

type thingState struct{ thingArgs }

func (*thing) Annotate(a infer.Annotator) { a.SetToken("index", "Thing") }

func (t *thing) Create(_ context.Context, req infer.CreateRequest[thingArgs]) (infer.CreateResponse[thingState], error) {
	resp := infer.CreateResponse[thingState]{ID: req.Inputs.Name, Output: thingState{req.Inputs}}
	if req.DryRun {
		return resp, nil
	}
	return resp, t.world.put("create", req.Inputs)
}

func (t *thing) Update(_ context.Context, req infer.UpdateRequest[thingArgs, thingState]) (infer.UpdateResponse[thingState], error) {
	resp := infer.UpdateResponse[thingState]{Output: thingState{req.Inputs}}
	if req.DryRun {
		return resp, nil
	}
	return resp, t.world.put("update", req.Inputs)
}

func (t *thing) Diff(_ context.Context, req infer.DiffRequest[thingArgs, thingState]) (infer.DiffResponse, error) {
	diffs := map[string]p.PropertyDiff{}
	if req.Inputs.Size != req.State.Size {
		diffs["size"] = p.PropertyDiff{Kind: p.Update, InputDiff: true}
	}
	if req.Inputs.Image != req.State.Image {
		diffs["image"] = p.PropertyDiff{Kind: p.UpdateReplace, InputDiff: true}
	}
	if req.Inputs.Password != req.State.Password {
		diffs["password"] = p.PropertyDiff{Kind: p.Update, InputDiff: true}
	}
	return infer.DiffResponse{HasChanges: len(diffs) > 0, DetailedDiff: diffs, DeleteBeforeReplace: true}, nil
}

func (t *thing) Read(_ context.Context, req infer.ReadRequest[thingArgs, thingState]) (infer.ReadResponse[thingArgs, thingState], error) {
	args, found := t.world.find(req.State.Name)
	if !found {
		return infer.ReadResponse[thingArgs, thingState]{}, nil
	}
	return infer.ReadResponse[thingArgs, thingState]{ID: req.ID, Inputs: req.Inputs, State: thingState{args}}, nil
}

func (t *thing) Delete(_ context.Context, req infer.DeleteRequest[thingState]) (infer.DeleteResponse, error) {
	t.world.remove(req.State.Name)
	return infer.DeleteResponse{}, nil
}

// serve offers the world as the provider "test" and returns its port.
func (w *world) serve(t *testing.T) int {
	t.Helper()
	provider, err := infer.NewProviderBuilder().WithNamespace("devctl").WithResources(infer.Resource(&thing{w})).Build()
	if err != nil {
		t.Fatal(err)
	}
	// Its own Cancel ends the contexts of all operations for good, those of later runs included.
	provider.Cancel = func(context.Context) error { return nil }
	server, err := p.RawServer("test", "1.0.0", provider)(nil)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	rpc.RegisterResourceProviderServer(s, server)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Errorf("provider: %v", err)
		}
	})
	return listener.Addr().(*net.TCPAddr).Port
}

// declare is a program that has the given things, each depending on the one before it.
func declare(things ...thingArgs) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		var opts []pulumi.ResourceOption
		for _, args := range things {
			var r pulumi.CustomResourceState
			err := ctx.RegisterResource("test:index:Thing", args.Name, pulumi.Map{
				"name": pulumi.String(args.Name), "size": pulumi.Int(args.Size), "image": pulumi.String(args.Image),
				"password": pulumi.ToSecret(pulumi.String(args.Password)),
			}, &r, opts...)
			if err != nil {
				return err
			}
			opts = []pulumi.ResourceOption{pulumi.DependsOn([]pulumi.Resource{&r})}
		}
		ctx.Export("count", pulumi.Int(len(things)))
		if len(things) > 0 {
			ctx.Export("password", pulumi.ToSecret(pulumi.String(things[0].Password)))
			ctx.Export("nested", pulumi.Map{"user": pulumi.String("u"), "keys": pulumi.ToSecret(pulumi.StringArray{pulumi.String(things[0].Password)})})
		}
		return nil
	}
}
