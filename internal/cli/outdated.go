package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"devctl/internal/api"
	"devctl/stacks"
)

// configWatch is a cluster whose status says which nodes were made from an older machine configuration than the stack's.
type configWatch struct {
	cluster
	d       *deps
	stack   string
	configs map[api.Role]string // hashes, of the outputs
	read    time.Time           // when the outputs were
}

// configsAge is how old the outputs may get that a node is judged outdated by: somebody may run up meanwhile.
const configsAge = 10 * time.Second

// Status is the controllers' answer, with the outdated nodes marked.
func (c *configWatch) Status(ctx context.Context) (api.Status, error) {
	st, err := c.cluster.Status(ctx)
	if err != nil {
		return st, err
	}
	markOutdated(&st, c.configs)
	if len(outdated(st.Nodes)) == 0 || c.d.now().Sub(c.read) < configsAge {
		return st, nil
	}
	c.read = c.d.now()
	if out, err := c.d.outputs(ctx, c.stack); err == nil { // without an answer the old one stays
		c.configs = out.Configs
		markOutdated(&st, c.configs)
	}
	return st, nil
}

// markOutdated marks the nodes that report another configuration than the outputs have for their role. Where one of the
// two is not known nothing is said.
func markOutdated(st *api.Status, configs map[api.Role]string) {
	for i := range st.Nodes {
		n := &st.Nodes[i]
		n.Outdated = n.Config != "" && configs[n.Role] != "" && n.Config != configs[n.Role]
	}
}

// outdated are the names of the nodes that are marked so.
func outdated(nodes []api.NodeStatus) []string {
	var names []string
	for _, n := range nodes {
		if n.Outdated {
			names = append(names, n.Name)
		}
	}
	return names
}

func outdatedText(names []string) string {
	verb := "run"
	if len(names) == 1 {
		verb = "runs"
	}
	return fmt.Sprintf("%s %s an older machine configuration than the stack's: %s", count(len(names), "node", "nodes"), verb, strings.Join(names, ", "))
}

// renewal says what replaces outdated nodes, one line for each way.
func renewal(d *deps, provider string, nodes []api.NodeStatus) []string {
	var workers, slots []string
	for _, n := range nodes {
		switch {
		case !n.Outdated:
		case n.Role == api.RoleWorker:
			workers = append(workers, n.Name)
		default:
			slots = append(slots, n.Name)
		}
	}
	var lines []string
	switch provider {
	case stacks.ProviderAWS:
		if len(workers) > 0 {
			lines = append(lines, strings.Join(workers, ", ")+": AWS's instance refresh replaces them now, new ones first")
		}
		if len(slots) > 0 {
			lines = append(lines, strings.Join(slots, ", ")+": "+d.command("roll")+" replaces them one by one; AWS never does by itself")
		}
	case stacks.ProviderDigitalOcean:
		if len(workers) > 0 {
			lines = append(lines, strings.Join(workers, ", ")+": DigitalOcean's pool replaces them now")
		}
		if len(slots) > 0 {
			lines = append(lines, strings.Join(slots, ", ")+": "+d.command("up --allow-replace "+slots[0])+" replaces one; go on with the next when "+d.command("status")+" says healthy")
		}
	default:
		if all := append(slots, workers...); len(all) > 0 {
			lines = append(lines, d.command("up")+" replaces them one by one")
		}
	}
	return lines
}
