package localcloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/volume"
	"golang.org/x/sync/errgroup"

	"devctl/internal/api"
)

// parallelRemovals is how many nodes are removed at the same time.
const parallelRemovals = 8

// Group is the desired state of the machines of one role. The supervisor has it as JSON.
type Group struct {
	Stack   string
	Role    api.Role
	Nodes   []api.Identity // one per machine, in slot order
	Network string         // name of the Docker network
	Image   string         // node image
	Store   string         // artifacts volume
	Config  string         // the role's public Ignition config
	Secrets string         // the role's secret Ignition config
	Units   []string       // must be active before a node counts as ready
}

// Fingerprint is a hash over everything the machine is made from, except whether its etcd starts or joins a cluster:
// a machine with another fingerprint has to be replaced.
func (g Group) Fingerprint(node api.Identity) string {
	// Marshalling these types cannot fail.
	parts, _ := json.Marshal([]any{node, g.Network, g.Image, g.Store, g.Config, g.Secrets})
	sum := sha256.Sum256(parts)
	return hex.EncodeToString(sum[:])[:12]
}

// kind is what to do with a node.
type kind string

const (
	create  kind = "create"  // it does not exist
	start   kind = "start"   // it exists and is stopped or paused
	await   kind = "await"   // it runs and has not been seen ready
	replace kind = "replace" // it was made from something else
	remove  kind = "remove"  // nobody wants it any more
)

// step is one thing to do to bring a group to its desired state.
type step struct {
	kind kind
	node api.Identity // of remove only the name
	id   string       // of the container, "" for create
}

// plan lists what has to be done to have, in order.
func plan(g Group, have []Node) []step {
	existing := map[string]Node{}
	for _, n := range have {
		existing[n.Name] = n
	}
	var steps []step
	for _, node := range g.Nodes {
		n, exists := existing[node.Name]
		delete(existing, node.Name)
		s := step{node: node, id: n.ID}
		switch {
		case !exists:
			s.kind = create
		case n.Fingerprint != g.Fingerprint(node):
			s.kind = replace
		case !n.Running && !n.Ready:
			// It may have been interrupted before it got its config.
			s.kind = replace
		case !n.Running:
			s.kind = start
		case !n.Ready:
			s.kind = await
		default:
			continue
		}
		steps = append(steps, s)
	}
	for _, n := range have {
		if _, surplus := existing[n.Name]; surplus {
			steps = append(steps, step{kind: remove, node: api.Identity{Stack: g.Stack, Name: n.Name, Role: g.Role}, id: n.ID})
		}
	}
	order := []kind{start, await, create, replace, remove}
	slices.SortStableFunc(steps, func(a, b step) int { return slices.Index(order, a.kind) - slices.Index(order, b.kind) })
	return steps
}

// Converge brings the machines of a group to their desired state and returns, also with an error, those that exist then.
//
// What is missing boots at the same time, what is made from something else is replaced one by one, and what is right
// is not touched. After Stop the nodes in work are finished, health included, and the others left are an error; first nodes are given
// up after a while, for they may wait for some that are not begun any more. formed says that the group was complete once: main nodes
// that are made from then on join the etcd cluster that exists.
func (c *Cloud) Converge(ctx context.Context, g Group, formed bool, log func(string)) ([]Node, error) {
	release, err := c.hold(ctx, g.Stack)
	if err != nil {
		return nil, err
	}
	defer release()
	have, err := c.Nodes(ctx, g.Stack, g.Role)
	if err != nil {
		return nil, err
	}
	// A main that was ready had a quorum around it: the cluster exists, whatever the state of the last run says.
	formed = formed || anyReady(have)
	restoring := g.Role == api.RoleMain && len(have) == 0 && c.EtcdData != nil
	if formed && !restoring {
		if err := lost(g, have); err != nil {
			return have, err
		}
	}
	if formed {
		if err := c.tell(ctx, g); err != nil {
			return have, err
		}
	}
	if restoring {
		err = c.restoreMains(ctx, g, log)
	} else {
		err = c.converge(ctx, g, plan(g, have), formed, log)
	}
	if err == nil {
		err = c.removeVolumes(ctx, g.Stack, g.Role)
	}
	have, listErr := c.Nodes(context.WithoutCancel(ctx), g.Stack, g.Role)
	return have, errors.Join(err, listErr)
}

// tell hands over what a group is to be before it is made so: should this process die on the way, the supervisor brings back a node that
// is missing then.
func (c *Cloud) tell(ctx context.Context, g Group) error {
	s, err := c.findSupervisor(ctx, g.Stack)
	if err != nil || s == nil {
		return err
	}
	return c.handOver(ctx, s, g)
}

// schedule parts steps into those that are done at the same time and those that follow one by one.
func schedule(role api.Role, steps []step, formed bool) (together, oneByOne []step) {
	for _, s := range steps {
		switch {
		// Nothing runs on the first nodes that could be lost, and the first mains wait for each other: also for one that
		// an interrupted run left without its config.
		case !formed && s.kind != remove:
			together = append(together, s)
		// A member at a time: etcd takes one learner, and a roll must stop at the first node that does not come back.
		case s.kind == replace || s.kind == remove || s.kind == create && role == api.RoleMain:
			oneByOne = append(oneByOne, s)
		default:
			together = append(together, s)
		}
	}
	return together, oneByOne
}

func (c *Cloud) converge(ctx context.Context, g Group, steps []step, formed bool, log func(string)) (err error) {
	waits, end := c.rolls.begin(ctx)
	defer func() {
		if err != nil {
			end(fmt.Errorf("stopped, because the %s nodes have failed", g.Role))
			return
		}
		end(nil)
	}()
	together, oneByOne := schedule(g.Role, steps, formed)
	if err := c.applyTogether(ctx, g, together, formed, log); err != nil {
		return err
	}
	for i, s := range oneByOne {
		if c.stopped() {
			return interrupted(oneByOne[i:], nil)
		}
		if formed && c.Spare != nil && s.kind != create {
			if err := wait(waits, c.Spare, s.node); err != nil {
				return fmt.Errorf("before node %s: %w", s.node.Name, err)
			}
		}
		if err := c.apply(ctx, g, s, formed, log, func() {}); err != nil {
			return err
		}
		if formed && c.Healthy != nil && s.kind != remove {
			if err := wait(waits, c.Healthy, s.node); err != nil {
				return fmt.Errorf("after node %s: %w", s.node.Name, err)
			}
		}
	}
	return nil
}

// wait waits for what a roll asks about a node, and says why it was given up.
func wait(ctx context.Context, until func(context.Context, api.Identity) error, node api.Identity) error {
	err := until(ctx, node)
	if reason := context.Cause(ctx); reason != nil {
		return reason
	}
	return err
}

// applyTogether does steps at the same time.
func (c *Cloud) applyTogether(ctx context.Context, g Group, steps []step, formed bool, log func(string)) error {
	var mu sync.Mutex
	var left, unready []step
	locked := func(line string) { mu.Lock(); defer mu.Unlock(); log(line) }
	leave := func(where *[]step, s step) { mu.Lock(); defer mu.Unlock(); *where = append(*where, s) }
	booting, ctx := errgroup.WithContext(ctx)
	for _, s := range steps {
		booting.Go(func() error {
			turn, err := c.boots.take(ctx, g.Role)
			if err != nil {
				return err
			}
			defer turn.done()
			if c.stopped() {
				leave(&left, s)
				return nil
			}
			err = c.apply(ctx, g, s, formed, locked, turn.done)
			if errors.Is(err, errGivenUp) {
				leave(&unready, s)
				return nil
			}
			return err
		})
	}
	if err := booting.Wait(); err != nil {
		return err
	}
	return interrupted(left, unready)
}

// interrupted is the error of steps that were not begun, and of nodes that boot on by themselves; nil when there are none.
func interrupted(left, unready []step) error {
	names := func(what string, steps []step) string {
		var names []string
		for _, s := range steps {
			names = append(names, s.node.Name)
		}
		if slices.Sort(names); len(names) == 0 {
			return ""
		}
		return "; " + what + ": " + strings.Join(names, ", ")
	}
	if text := names("not begun", left) + names("not ready yet", unready); text != "" {
		return errors.New("interrupted" + text)
	}
	return nil
}

// errGivenUp is a first node that was not waited for to the end.
var errGivenUp = errors.New("interrupted before it was ready")

// stopPatience is how long first nodes are waited for after Stop: longer than they need when all others are there.
const stopPatience = 15 * time.Second

// impatient returns a context that ends with errGivenUp when stopPatience has passed since Stop.
func (c *Cloud) impatient(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-ctx.Done():
			return
		case <-c.Stop:
		}
		select {
		case <-ctx.Done():
		case <-time.After(stopPatience):
			cancel(errGivenUp)
		}
	}()
	return ctx, func() { cancel(nil) }
}

// apply does one step. settled is called as by waitReady.
func (c *Cloud) apply(ctx context.Context, g Group, s step, formed bool, log func(string), settled func()) error {
	started := time.Now()
	name := s.node.Name
	switch s.kind {
	case remove:
		if err := c.retire(ctx, name, s.id); err != nil {
			return err
		}
		log(fmt.Sprintf("%s: removed", name))
		return nil
	case replace:
		log(fmt.Sprintf("%s: replacing", name))
	}
	id, err := c.begin(ctx, g, s, formed)
	if err != nil {
		return err
	}
	waiting := ctx
	if !formed {
		var cancel context.CancelFunc
		waiting, cancel = c.impatient(ctx)
		defer cancel()
	}
	if err := c.waitReady(waiting, name, id, g.Units, settled); err != nil {
		if context.Cause(waiting) == errGivenUp {
			return errGivenUp
		}
		return err
	}
	log(fmt.Sprintf("%s: ready in %s", name, seconds(started)))
	return nil
}

// begin does what makes a node boot, whatever of that is still to be done, and returns its container.
func (c *Cloud) begin(ctx context.Context, g Group, s step, formed bool) (id string, err error) {
	name, id := s.node.Name, s.id
	switch s.kind {
	case replace:
		if err := c.retire(ctx, name, id); err != nil {
			return "", err
		}
		fallthrough
	case create:
		etcd := ""
		if g.Role == api.RoleMain {
			etcd = "new"
			if formed {
				etcd = "join"
			}
		}
		if id, err = c.createNode(ctx, g, s.node, etcd); err != nil {
			return "", err
		}
		fallthrough
	case start:
		if err := c.startNode(ctx, name, id); err != nil {
			return "", err
		}
	}
	return id, nil
}

// retire shuts a node down and removes it.
func (c *Cloud) retire(ctx context.Context, name, id string) error {
	if err := c.stopNode(ctx, name, id); err != nil {
		return err
	}
	return c.removeContainer(ctx, id)
}

// RemoveGroup removes all machines of a role with what they kept, in whatever state they are; with an empty role, of the
// whole stack. It is no error when there are none.
func (c *Cloud) RemoveGroup(ctx context.Context, stack string, role api.Role, log func(string)) error {
	// First of all: it would make them again. With the whole stack up afterwards there is a new one.
	if err := c.dismiss(ctx, stack); err != nil {
		return err
	}
	return c.removeMachines(ctx, stack, role, log)
}

func (c *Cloud) removeMachines(ctx context.Context, stack string, role api.Role, log func(string)) error {
	nodes, err := c.Nodes(ctx, stack, role)
	if err != nil {
		return err
	}
	removing, each := errgroup.WithContext(ctx)
	removing.SetLimit(parallelRemovals)
	for _, n := range nodes {
		removing.Go(func() error { return c.removeContainer(each, n.ID) })
	}
	if err := removing.Wait(); err != nil {
		return err
	}
	for _, n := range nodes {
		log(fmt.Sprintf("%s: removed", n.Name))
	}
	return c.removeVolumes(ctx, stack, role)
}

// removeVolumes removes the volumes of machines that are gone, for example by `docker rm` without -v.
func (c *Cloud) removeVolumes(ctx context.Context, stack string, role api.Role) error {
	return c.call(ctx, "remove unused volumes of stack "+stack, func(ctx context.Context) error {
		found, err := c.docker.VolumeList(ctx, volume.ListOptions{Filters: ofRole(stack, role)})
		if err != nil {
			return err
		}
		for _, v := range found.Volumes {
			if err := c.docker.VolumeRemove(ctx, v.Name, false); err != nil && !errdefs.IsConflict(err) && !errdefs.IsNotFound(err) {
				return err
			}
		}
		return nil
	})
}

func sortNodes(nodes []Node) {
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
}
