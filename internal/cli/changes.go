package cli

import (
	"fmt"
	"slices"
	"strings"

	"devctl/internal/api"
)

// statusChanges says in words what is different in the second status, heartbeats aside.
func statusChanges(a, b api.Status) []string {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }

	if a.Healthy != b.Healthy {
		if b.Healthy {
			say("the stack is healthy")
		} else {
			say("the stack is not healthy: %s", strings.Join(b.Problems, "; "))
		}
	}
	switch {
	case a.Deployed != b.Deployed:
		say("deployment %s replaces %s", b.Deployed, orNone(a.Deployed))
	case a.Settled != b.Settled && b.Settled:
		say("deployment %s runs", b.Deployed)
	case a.Settled != b.Settled:
		say("deployment %s is in progress", b.Deployed)
	}
	lines = append(lines, nodeChanges(a, b)...)
	if a.Etcd != b.Etcd {
		say("etcd: %d of %d members healthy, leader %s", b.Etcd.Healthy, b.Etcd.Members, orNobody(b.Etcd.Leader))
	}
	if a.Redis.State != b.Redis.State || a.Redis.SlotsAssigned != b.Redis.SlotsAssigned ||
		a.Redis.Primaries != b.Redis.Primaries || a.Redis.Replicas != b.Redis.Replicas {
		say("redis: %s", redisText(b.Redis, b.Redis.State))
	}
	primaries := map[string]string{}
	for _, shard := range a.Redis.Shards {
		primaries[shard.Slots] = shard.Primary.Node
	}
	for _, shard := range b.Redis.Shards {
		if was, known := primaries[shard.Slots]; known && was != shard.Primary.Node {
			say("redis: the primary of slots %s is on %s, was on %s", shard.Slots, orNobody(shard.Primary.Node), orNobody(was))
		}
	}
	if a.Endpoint.Holder != b.Endpoint.Holder {
		say("endpoint: %s holds %s, was %s", orNobody(b.Endpoint.Holder), b.Endpoint.Address, orNobody(a.Endpoint.Holder))
	}
	return lines
}

func nodeChanges(a, b api.Status) []string {
	var lines []string
	before := map[string]api.NodeStatus{}
	for _, n := range a.Nodes {
		before[n.Name] = n
	}
	after := map[string]bool{}
	for _, n := range b.Nodes {
		after[n.Name] = true
		was, known := before[n.Name]
		switch {
		case !known:
			lines = append(lines, fmt.Sprintf("%s is there: %s, units %s", n.Name, n.State, unitCount(n)))
			continue
		case was.ID != n.ID:
			lines = append(lines, fmt.Sprintf("%s was replaced: %s, units %s", n.Name, n.State, unitCount(n)))
		case was.State != n.State:
			lines = append(lines, fmt.Sprintf("%s is %s, units %s", n.Name, n.State, unitCount(n)))
		}
		lines = append(lines, unitChanges(n.Name, was.Units, n.Units)...)
	}
	for _, n := range a.Nodes {
		switch missing := slices.ContainsFunc(b.Missing, func(m api.NodeStatus) bool { return m.Name == n.Name }); {
		case after[n.Name]:
		case missing:
			lines = append(lines, n.Name+" is missing: nothing is heard of it")
		default:
			lines = append(lines, n.Name+" is gone: it is no part of the stack any more")
		}
	}
	return lines
}

func unitChanges(node string, a, b []api.UnitStatus) []string {
	var lines []string
	before := map[string]api.UnitStatus{}
	for _, u := range a {
		before[u.Name] = u
	}
	after := map[string]bool{}
	for _, u := range b {
		after[u.Name] = true
		if was, known := before[u.Name]; !known || was.Active != u.Active || was.Sub != u.Sub {
			lines = append(lines, fmt.Sprintf("%s: %s is %s (%s)", node, u.Name, u.Active, u.Sub))
		}
	}
	for _, u := range a {
		if !after[u.Name] {
			lines = append(lines, fmt.Sprintf("%s: %s was removed", node, u.Name))
		}
	}
	return lines
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
