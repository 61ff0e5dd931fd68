package provider_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/internal/engine"
	"devctl/internal/localcloud"
)

// interruptedUp brings the stack up and calls interrupt, once, at the first event that is the moment for it. It returns the
// error of the run.
func (l *life) interruptedUp(program pulumi.RunFunc, kill <-chan struct{}, moment func(engine.Event) bool, interrupt func(cancel func())) error {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.t.Context())
	defer cancel()
	o := l.options
	o.Program, o.Kill = program, kill
	s, err := engine.Open(ctx, o)
	if err != nil {
		l.t.Fatal(err)
	}
	l.cloud.Stop = ctx.Done()
	defer func() { l.cloud.Stop = nil }()
	reached := false
	_, err = s.Up(ctx, func(e engine.Event) {
		if !reached && moment(e) {
			reached = true
			interrupt(cancel)
		}
	})
	if !reached {
		l.t.Fatalf("the run ended before it could be interrupted: %v", err)
	}
	return err
}

// creatingNodes is the moment when the engine has begun to make the node group.
func creatingNodes(e engine.Event) bool {
	return e.Kind == engine.KindStarted && e.Type == "devctl:local:NodeGroup"
}

func TestInterruptLetsNodesFinish(t *testing.T) {
	l, set := begin(t)
	two := program(set, "198.18.242", config, 2)
	// Whether the engine still calls that cancelled depends on what is left to do after the nodes: nothing, here.
	err := l.interruptedUp(two, nil, creatingNodes, func(cancel func()) {
		l.waitForNodes(2)
		cancel()
	})
	if err != nil && !errors.Is(err, engine.ErrCancelled) {
		t.Errorf("got error %v, want it cancelled", err)
	}
	made := l.ready()
	if len(made) != 2 {
		t.Errorf("the interrupted run left the nodes %v ready, want both", made)
	}
	l.up(two, map[engine.Op]int{engine.OpSame: 5})
	for name, id := range made {
		if l.ids()[name] != id {
			t.Errorf("the next up made %s again", name)
		}
	}

	// In the middle of a roll.
	before := l.ids()
	changed := program(set, "198.18.242", strings.Replace(config, "RemainAfterExit=yes", `Environment=NEW=1\nRemainAfterExit=yes`, 1), 2)
	err = l.interruptedUp(changed, nil, func(e engine.Event) bool { return strings.Contains(e.Message, "data-1: replacing") }, func(cancel func()) { cancel() })
	var failed *engine.FailedError
	if !errors.Is(err, engine.ErrCancelled) || !errors.As(err, &failed) || len(failed.Failures) != 1 ||
		failed.Failures[0].Message != "interrupted; not begun: data-2" {
		t.Errorf("got error %v, want it cancelled with data-2 left", err)
	}
	rolled := l.ready()
	if len(rolled) != 2 || rolled["data-1"] == before["data-1"] || rolled["data-2"] != before["data-2"] {
		t.Errorf("of %v the interrupted roll made %v, want data-1 new and ready", before, rolled)
	}
	l.up(changed, map[engine.Op]int{engine.OpSame: 4, engine.OpUpdate: 1})
	after := l.ready()
	if after["data-1"] != rolled["data-1"] || after["data-2"] == rolled["data-2"] {
		t.Errorf("going on made %v of %v, want data-2 new only", after, rolled)
	}
}

// TestStoppedAtOnce stops while a node boots that never gets ready.
func TestStoppedAtOnce(t *testing.T) {
	l, set := begin(t)
	endless := strings.Replace(config, "ExecStart=/usr/local/bin/devctld", "ExecStart=/usr/bin/tail -f /dev/null", 1)
	kill := make(chan struct{})
	serving, stop := context.WithCancel(t.Context())
	done := l.serve(serving, set)
	err := l.interruptedUp(program(set, "198.18.242", endless, 2), kill, creatingNodes, func(cancel func()) {
		l.waitForNodes(2)
		cancel()
		close(kill)
		stop()
	})
	if !errors.Is(err, engine.ErrCancelled) {
		t.Errorf("got error %v, want it cancelled", err)
	}
	<-done // from here on nobody works on the stack
	if got := l.ready(); len(got) > 0 {
		t.Errorf("nodes %v are ready, and cannot be", got)
	}

	l.serve(t.Context(), set)
	good := program(set, "198.18.242", config, 2)
	l.up(good, nil)
	if got := l.ready(); len(got) != 2 {
		t.Errorf("the next up made %v", got)
	}
	l.run(nil, func(s *engine.Stack) func(context.Context, func(engine.Event)) (engine.Summary, error) {
		return s.Destroy
	})
	if left, err := localcloud.Leftovers(t.Context(), stack); err != nil || len(left) > 0 {
		t.Errorf("destroy left %v, %v", left, err)
	}
}

// waitForNodes waits until so many of the stack's nodes exist.
func (l *life) waitForNodes(n int) {
	l.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); len(l.ids()) < n; {
		select {
		case <-tick.C:
		case <-deadline:
			l.t.Fatalf("there are only %v", l.ids())
		}
	}
}

// ready are the containers of the stack's nodes that run and have been ready, by name.
func (l *life) ready() map[string]string {
	l.t.Helper()
	nodes, err := l.cloud.Nodes(l.t.Context(), stack, "")
	if err != nil {
		l.t.Fatal(err)
	}
	nodes = slices.DeleteFunc(nodes, func(n localcloud.Node) bool { return !n.Running || !n.Ready })
	m := map[string]string{}
	for _, n := range nodes {
		m[n.Name] = n.ID
	}
	return m
}
