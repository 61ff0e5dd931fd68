// Package clouds runs whole stacks on clouds that are in memory: the real program with the specs that are shipped, the
// real engine, and stand-ins for the providers.
package clouds

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/components"
	"devctl/internal/api"
	"devctl/internal/bundle"
	"devctl/internal/engine"
	"devctl/internal/provider"
	"devctl/internal/standin"
	"devctl/stacks"
)

// setting is all that a stack is made from.
type setting struct {
	spec   string            // text of the spec
	images map[string]string // tags of the services' images
}

// withImage returns the setting with another image of a service.
func (s setting) withImage(service, tag string) setting {
	s.images = maps.Clone(s.images)
	s.images[service] = tag
	return s
}

// refs are the references of all images, sorted.
func (s setting) refs() []string {
	var all []string
	for _, service := range slices.Sorted(maps.Keys(s.images)) {
		all = append(all, "localhost/devctl/"+service+":"+s.images[service])
	}
	return all
}

// edit returns the setting with old replaced by new in the spec, where it has to be.
func (s setting) edit(t *testing.T, oldnew ...string) setting {
	t.Helper()
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(s.spec, oldnew[i]) {
			t.Fatalf("the spec has no %q:\n%s", oldnew[i], s.spec)
		}
		s.spec = strings.ReplaceAll(s.spec, oldnew[i], oldnew[i+1])
	}
	return s
}

// stack is one stack in a world of its own.
type stack struct {
	t       *testing.T
	cloud   func(*testing.T, *stacks.Spec, []string) components.Cloud
	world   *standin.World
	bundles *shelf
	served  *standin.Served
	options engine.Options
}

// newStack makes an empty world and a stack without a state. known are answers to lookups.
func newStack(t *testing.T, pkg string, known map[string]string, cloud func(*testing.T, *stacks.Spec, []string) components.Cloud) *stack {
	t.Helper()
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{t: t, cloud: cloud, world: standin.NewWorld(), bundles: &shelf{held: map[bundle.Location]bool{}}}
	ctx, cancel := context.WithCancel(context.Background())
	port, done, err := provider.Serve(ctx, provider.Options{Bundles: s.bundles})
	if err != nil {
		t.Fatal(err)
	}
	s.served, err = standin.Serve(ctx, standin.Options{Packages: []string{pkg}, World: s.world, Known: known})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		s.served.Wait()
		<-done
	})
	s.options = engine.Options{Project: "test", Stack: pkg, Home: t.TempDir(), BinDir: bin,
		Providers: map[string]int{provider.Name: port, pkg: s.served.Ports[pkg]}}
	return s
}

// shipped is the spec of that name in the repository.
func shipped(t *testing.T, name string) setting {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../stacks", "Pulumi."+name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return setting{spec: string(data), images: map[string]string{"etcd": "one", "haproxy": "one", "keepalived": "one", "redis": "one"}}
}

// method is what is done with a stack.
type method func(*engine.Stack, context.Context, func(engine.Event)) (engine.Summary, error)

var (
	preview method = (*engine.Stack).Preview
	up      method = (*engine.Stack).Up
	refresh method = (*engine.Stack).Refresh
	destroy method = (*engine.Stack).Destroy
)

func (s *stack) open(v setting) *engine.Stack {
	s.t.Helper()
	spec, err := stacks.Parse("Pulumi."+s.options.Stack+".yaml", []byte(v.spec), s.options.Stack)
	if err != nil {
		s.t.Fatal(err)
	}
	o := s.options
	o.Program = stacks.Program(spec, s.cloud(s.t, spec, v.refs()), v.refs()[0], nil)
	opened, err := engine.Open(s.t.Context(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	return opened
}

// run does one thing with the stack. It returns the operations, sorted, each with the inputs that differ:
// "update Firewall main: inboundRules[].portRange". What stays the same is left out,
// and so are hashes in names; a replacement is one operation.
func (s *stack) run(do method, v setting) ([]string, engine.Summary, error) {
	s.t.Helper()
	var ops []string
	differ := map[string]string{} // by operation
	begun := time.Now()
	summary, err := do(s.open(v), s.t.Context(), func(e engine.Event) {
		line := string(e.Op) + " " + shortType(e.Type) + " " + hash.ReplaceAllString(e.Name, "")
		switch e.Kind {
		case engine.KindDiagnostic:
			if e.Severity == engine.SeverityWarning {
				s.t.Errorf("warning: %s", e.Message)
			}
			return
		case engine.KindPlanned, engine.KindStarted:
			differ[line] = paths(e.Diff)
		}
		done := e.Kind == engine.KindPlanned || e.Kind == engine.KindFinished
		switch e.Op {
		case engine.OpSame, engine.OpRefresh, engine.OpDeleteReplaced:
			return
		case engine.OpUpdate, engine.OpReplace:
			line += ": " + differ[line]
		}
		if done {
			ops = append(ops, line)
		}
	})
	s.t.Logf("%s took %v: %d operations", summary.Op, time.Since(begun).Round(time.Millisecond), len(ops))
	slices.Sort(ops)
	return ops, summary, err
}

// does does one thing, which must be exactly these operations.
func (s *stack) does(what string, do method, v setting, want ...string) {
	s.t.Helper()
	got, _, err := s.run(do, v)
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// plans previews, and wants exactly these operations.
func (s *stack) plans(what string, v setting, want ...string) {
	s.t.Helper()
	s.does("preview of "+what, preview, v, want...)
}

// createsInTwoGoes brings the stack up: the cloud refuses the second creation of a type the first time. It wants so many
// things of each type in the end, each made once.
func (s *stack) createsInTwoGoes(v setting, token, refusal string, want map[string]int) {
	s.t.Helper()
	s.world.Fail("create", token, 2, refusal)
	if _, _, err := s.run(up, v); err == nil || !strings.Contains(err.Error(), refusal) {
		s.t.Fatalf("up that is refused a %s: %v", token, err)
	}
	half := len(s.world.Things())
	if _, _, err := s.run(up, v); err != nil {
		s.t.Fatal(err)
	}
	if diff := cmp.Diff(want, s.counts()); diff != "" {
		s.t.Errorf("what there is (-want +got):\n%s", diff)
	}
	calls := s.world.Calls()
	slices.Sort(calls)
	if all := len(s.world.Things()); half == 0 || half == all || len(slices.Compact(calls)) != all {
		s.t.Errorf("%d of %d things were made in the first go, with all these calls:\n%s", half, all, strings.Join(calls, "\n"))
	}
}

// knowsNothingElse wants the stand-in to know no type of resource that the stack has none of.
func (s *stack) knowsNothingElse(pkg string) {
	s.t.Helper()
	known, err := standin.Types(pkg)
	if err != nil {
		s.t.Fatal(err)
	}
	var used []string
	for _, t := range s.world.Things() {
		used = append(used, t.Type)
	}
	if diff := cmp.Diff(slices.Compact(used), known); diff != "" {
		s.t.Errorf("types (-used +known):\n%s", diff)
	}
}

// changesPassword imports a password: no machine is made of it.
func (s *stack) changesPassword(v setting) {
	s.t.Helper()
	const password = "a-password-of-my-own"
	if err := s.open(v).SetSecret(s.t.Context(), stacks.SecretNamespace+":"+api.SecretRedisApp, password, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	s.does("up with another password", up, v, "update Password "+api.SecretRedisApp+": value")
	outputs, err := s.open(v).Outputs(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	if got := outputs["secrets"].Value.(map[string]any)[api.SecretRedisApp]; got != password {
		s.t.Errorf("the password is %v", got)
	}
}

// changesImages brings up another image of each service: the archive in the bucket is another, and the old one stays for what
// is deployed. Only etcd's is part of machines, with the operations that are wanted.
func (s *stack) changesImages(v setting, etcd ...string) {
	s.t.Helper()
	for _, service := range []string{"redis", "haproxy", "keepalived"} {
		s.plans("another image of "+service, v.withImage(service, "two"), "replace Bundle "+service+": image key")
	}
	s.plans("another image of etcd", v.withImage("etcd", "two"), append(etcd, "replace Bundle etcd: image key")...)
	s.does("up with another image of redis", up, v.withImage("redis", "two"), "replace Bundle redis: image key")
	s.does("up with the image before", up, v, "replace Bundle redis: image key")
	var held []string
	for at := range s.bundles.held {
		held = append(held, at.Key)
	}
	slices.Sort(held)
	if want := []string{"images/etcd-one.tar.gz", "images/haproxy-one.tar.gz", "images/keepalived-one.tar.gz", "images/redis-one.tar.gz", "images/redis-two.tar.gz"}; !slices.Equal(held, want) {
		s.t.Errorf("the bucket has %v, want %v", held, want)
	}
}

// destroys destroys, and wants nothing to be left. Bundles go with their bucket, which is there no more.
func (s *stack) destroys(v setting) {
	s.t.Helper()
	if _, _, err := s.run(destroy, v); err != nil {
		s.t.Fatal(err)
	}
	if left := s.counts(); len(left) > 0 {
		s.t.Errorf("destroy left %v", left)
	}
}

// paths are the inputs that differ. Which elements of a list do is left out.
func paths(diff []engine.PropertyChange) string {
	var all []string
	for _, d := range diff {
		all = append(all, number.ReplaceAllString(d.Path, "[]"))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

// hash is a hash at the end of a name.
var hash = regexp.MustCompile(`-[0-9a-f]{12}$`)

var number = regexp.MustCompile(`\[[0-9]+\]`)

// perType counts operations by what is done to which type.
func perType(ops []string) map[string]int {
	n := map[string]int{}
	for _, op := range ops {
		words := strings.Fields(op)
		n[words[0]+" "+words[1]]++
	}
	return n
}

// each makes a line for each name: "%" in the format stands for it.
func each(format string, names ...string) []string {
	var lines []string
	for _, name := range names {
		lines = append(lines, strings.ReplaceAll(format, "%", name))
	}
	return lines
}

// counts are how many things of each type there are.
func (s *stack) counts() map[string]int {
	n := map[string]int{}
	for _, t := range s.world.Things() {
		n[shortType(t.Type)]++
	}
	return n
}

// ids are the ids of all things of a type, by name.
func (s *stack) ids(typ string) map[string]string {
	ids := map[string]string{}
	for _, t := range s.world.Things() {
		if shortType(t.Type) == typ {
			ids[t.Name] = t.ID
		}
	}
	return ids
}

// shortType is the part of a type token that people call the type by: Vpc.
func shortType(token string) string { return token[strings.LastIndex(token, ":")+1:] }

// shelf is where image bundles are, instead of in the clouds' buckets.
type shelf struct {
	mu   sync.Mutex
	held map[bundle.Location]bool
}

// Upload makes none: it notes that it is there.
func (s *shelf) Upload(_ context.Context, at bundle.Location, _ string, _ func(string)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[at] = true
	return nil
}

// Exists tells whether it is there.
func (s *shelf) Exists(_ context.Context, at bundle.Location) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[at], nil
}
