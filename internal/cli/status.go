package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"devctl/internal/api"
	"devctl/internal/cli/output"
	"devctl/internal/plan"
)

// statusTimeout is how long the controllers are asked before that counts as no answer.
const statusTimeout = 10 * time.Second

type statusOptions struct {
	format output.Format
	watch  bool
}

func newStatusCommand(d *deps) *cobra.Command {
	var opts statusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the stack is: nodes, units, etcd, Redis, endpoint",
		Long: `Shows the stack as its controllers see it: its nodes with their units, etcd, the shards of the Redis cluster, and who
holds the endpoint. A node is ready when its heartbeat is fresh and all its units work, degraded when a unit does not,
and missing when nothing is heard of it: it has not joined yet, hangs, or is being replaced; its line has the last
heartbeat and machine, and the JSON has it in "missing" rather than in "nodes". A unit that does not work comes with its
last log lines. A node is marked as outdated that was made from an older machine configuration than the stack's newest.
The exit code is 0 when the controllers answered, healthy or not; the JSON has the field "healthy".

With --watch it goes on: a terminal is redrawn every 2 seconds, elsewhere what changes is told line by line (with
-o json, as one document for every change).`,
		Example: `  devctl status
  devctl status --watch
  devctl status -o json | jq -r '.nodes + .missing | .[] | select(.state != "ready") | .name'
  devctl status -o json | jq -r '.nodes[] | select(.outdated) | .name'`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runStatus(cmd.Context(), d, opts) },
	}
	addFormat(cmd, &opts.format)
	cmd.Flags().BoolVarP(&opts.watch, "watch", "w", false, "go on until interrupted")
	return cmd
}

func runStatus(ctx context.Context, d *deps, opts statusOptions) error {
	c, err := d.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if opts.watch {
		return watchStatus(ctx, d, c, opts)
	}
	st, err := askStatus(ctx, d, c)
	if err != nil {
		return err
	}
	return writeStatus(d.streams.Out, d, opts.format, st)
}

// askStatus asks once and says what to do when nobody answers.
func askStatus(ctx context.Context, d *deps, c cluster) (api.Status, error) {
	asked, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	st, err := c.Status(asked)
	if err == nil || ctx.Err() != nil {
		return st, err
	}
	return st, withNext(fmt.Errorf("reach stack %q: %w", d.global.stack, err),
		d.command("logs main-1 devctl-controller")+" shows what the controller says, "+d.command("up")+" repairs the stack")
}

func writeStatus(w io.Writer, d *deps, format output.Format, st api.Status) error {
	return output.Write(w, format, st, func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Join(statusLines(st, d.now(), d.outStyle()), "\n")+"\n")
		return err
	})
}

// statusLines is the status for people.
func statusLines(st api.Status, now time.Time, s output.Style) []string {
	health := s.Good("healthy")
	if !st.Healthy {
		health = s.Bad("not healthy")
	}
	deployed := "nothing deployed yet"
	if st.Deployed != "" {
		deployed = "deployment " + st.Deployed + " runs"
		if !st.Settled {
			deployed = "deployment " + st.Deployed + " in progress"
		}
	}
	lines := []string{fmt.Sprintf("Stack %s: %s, %s", s.Bold(st.Stack), health, deployed), ""}
	expected := slices.SortedFunc(slices.Values(slices.Concat(st.Nodes, st.Missing)), plan.CompareNodes)
	lines = append(lines, nodeGrid(expected, now, s).Lines()...)
	if names := outdated(st.Nodes); len(names) > 0 {
		lines = append(lines, s.Warn(outdatedText(names)))
	}
	lines = append(lines, unitLines(st.Nodes, s)...)
	lines = append(lines, "")
	lines = append(lines, serviceLines(st, s)...)
	if len(st.Problems) > 0 {
		lines = append(lines, "", s.Bold("Problems"))
		for _, problem := range st.Problems {
			lines = append(lines, "  "+strings.ReplaceAll(problem, "\n", "\n    "))
		}
	}
	return lines
}

func nodeGrid(nodes []api.NodeStatus, now time.Time, s output.Style) *output.Grid {
	g := output.NewGrid("NODE", "ROLE", "ZONE", "ADDRESS", "STATE", "UNITS", "HEARTBEAT", "ID")
	for _, n := range nodes {
		heartbeat := "-"
		if !n.LastHeartbeat.IsZero() {
			heartbeat = ago(now.Sub(n.LastHeartbeat))
		}
		g.Row(n.Name, string(n.Role), n.Zone, n.Address, nodeState(n, s), unitCount(n), heartbeat, shortID(n.ID))
	}
	return g
}

func nodeState(n api.NodeStatus, s output.Style) string {
	state := s.Warn(n.State)
	switch n.State {
	case api.NodeReady:
		state = s.Good(n.State)
	case api.NodeMissing:
		state = s.Bad(n.State)
	}
	if n.Outdated {
		state += s.Warn(", outdated")
	}
	return state
}

// unitCount is how many of a node's units do their work: 3/4. Of a missing node nobody knows.
func unitCount(n api.NodeStatus) string {
	if n.State == api.NodeMissing {
		return "-"
	}
	ready := 0
	for _, u := range n.Units {
		if u.Ready() {
			ready++
		}
	}
	return fmt.Sprintf("%d/%d", ready, len(n.Units))
}

// unitLines tells of every unit that does not do its work, with what it says itself.
func unitLines(nodes []api.NodeStatus, s output.Style) []string {
	var lines []string
	for _, n := range nodes {
		for _, u := range n.Units {
			if u.Ready() {
				continue
			}
			lines = append(lines, "  "+s.Bad(u.On(n.Name)))
			for line := range strings.Lines(strings.TrimSpace(u.Message)) {
				lines = append(lines, s.Faint("    "+strings.TrimRight(line, "\n")))
			}
		}
	}
	if len(lines) > 0 {
		lines = append([]string{""}, lines...)
	}
	return lines
}

// serviceLines tells of etcd, Redis and the endpoint.
func serviceLines(st api.Status, s output.Style) []string {
	endpoint := "none yet"
	if st.Endpoint.Address != "" {
		endpoint = fmt.Sprintf("%s:%d, held by %s, stats %s", st.Endpoint.Address, st.Endpoint.Port, orNobody(st.Endpoint.Holder), st.Endpoint.StatsURL)
	}
	lines := []string{
		fmt.Sprintf("etcd      %s of %d members healthy, leader %s", strengthen(st.Etcd.Healthy, st.Etcd.Members, s), st.Etcd.Members, orNobody(st.Etcd.Leader)),
		"endpoint  " + endpoint,
		"redis     " + redisText(st.Redis, redisState(st.Redis.State, s)),
	}
	if len(st.Redis.Shards) == 0 {
		return lines
	}
	g := output.NewGrid("  SLOTS", "PRIMARY", "REPLICAS")
	for _, shard := range st.Redis.Shards {
		var replicas []string
		for _, r := range shard.Replicas {
			text := member(r)
			if !r.InSync {
				text += s.Warn(" (not in sync)")
			}
			replicas = append(replicas, text)
		}
		g.Row("  "+shard.Slots, member(shard.Primary), strings.Join(replicas, ", "))
	}
	return append(lines, g.Lines()...)
}

// redisText is the Redis cluster in one line; state is how its state is shown.
func redisText(r api.RedisStatus, state string) string {
	return fmt.Sprintf("%s, %d of 16384 slots, %s, %s in sync", state, r.SlotsAssigned,
		count(r.Primaries, "primary", "primaries"), count(r.Replicas, "replica", "replicas"))
}

func strengthen(healthy, of int, s output.Style) string {
	text := fmt.Sprint(healthy)
	if healthy < of {
		return s.Warn(text)
	}
	return text
}

func redisState(state string, s output.Style) string {
	if state == "ok" {
		return s.Good(state)
	}
	return s.Bad(state)
}

func member(m api.ShardMember) string {
	if m.Node == "" {
		return "none"
	}
	return fmt.Sprintf("%s/%s %s", m.Node, m.Zone, m.Address)
}

func orNobody(name string) string {
	if name == "" {
		return "nobody"
	}
	return name
}

func ago(d time.Duration) string {
	return fmt.Sprintf("%ds ago", max(0, int(d.Round(time.Second).Seconds())))
}

// shortID is an ID as Docker shows it.
func shortID(id string) string { return id[:min(12, len(id))] }
