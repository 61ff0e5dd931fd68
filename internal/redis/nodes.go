package redis

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// node is one line of CLUSTER NODES: a member as another member, or itself, sees it.
type node struct {
	id        string
	address   string // host:port; empty when the viewer knows none any more
	self      bool   // the viewer itself
	primary   bool
	primaryID string // of a replica
	handshake bool   // just met; the ID is not its own yet
	failing   bool   // some or most members cannot reach it: fail? or fail
	failed    bool   // the majority of primaries agreed: fail
	unlinked  bool   // the viewer has no connection to it at the moment
	epoch     uint64 // config epoch: of two primaries that claim a slot the higher one is right
	slots     []slotRange
}

// parseNodes reads the answer to CLUSTER NODES.
func parseNodes(text string) ([]node, error) {
	var nodes []node
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		n, err := parseNode(line)
		if err != nil {
			return nil, fmt.Errorf("parse CLUSTER NODES line %q: %w", line, err)
		}
		nodes = append(nodes, n)
	}
	if !slices.ContainsFunc(nodes, func(n node) bool { return n.self }) {
		return nil, fmt.Errorf("parse CLUSTER NODES: no line of %d is the member's own", len(nodes))
	}
	return nodes, nil
}

// parseNode reads one line:
//
//	ID IP:PORT@BUSPORT[,HOSTNAME] FLAG,FLAG PRIMARY-ID|- PING PONG CONFIG-EPOCH LINK [SLOT|FIRST-LAST|[MIGRATION]]...
func parseNode(line string) (node, error) {
	fields := strings.Fields(line)
	if len(fields) < 8 {
		return node{}, fmt.Errorf("%d fields, want at least 8", len(fields))
	}
	n := node{id: fields[0], unlinked: fields[7] == "disconnected"}
	address, _, _ := strings.Cut(fields[1], "@")
	if a, err := netip.ParseAddrPort(address); err == nil && a.Port() != 0 {
		n.address = a.String()
	}
	for flag := range strings.SplitSeq(fields[2], ",") {
		switch flag {
		case "myself":
			n.self = true
		case "master":
			n.primary = true
		case "handshake":
			n.handshake = true
		case "noaddr":
			n.address = ""
		case "fail?":
			n.failing = true
		case "fail":
			n.failing, n.failed = true, true
		}
	}
	if fields[3] != "-" {
		n.primaryID = fields[3]
	}
	var err error
	if n.epoch, err = strconv.ParseUint(fields[6], 10, 64); err != nil {
		return node{}, fmt.Errorf("config epoch %q is no number", fields[6])
	}
	for _, field := range fields[8:] {
		if strings.HasPrefix(field, "[") {
			continue // a slot on its way to or from another primary: counted where it is owned
		}
		r, err := parseRange(field)
		if err != nil {
			return node{}, err
		}
		n.slots = append(n.slots, r)
	}
	return n, nil
}

func parseRange(field string) (slotRange, error) {
	from, to, isRange := strings.Cut(field, "-")
	if !isRange {
		to = from
	}
	first, err1 := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	if err1 != nil || err2 != nil || first < 0 || first > last || last >= slotCount {
		return slotRange{}, fmt.Errorf("%q is no slot or range of slots", field)
	}
	return slotRange{first, last}, nil
}

// parseInfo reads the answer to INFO or CLUSTER INFO: key:value lines between comments.
func parseInfo(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(key, "#") {
			out[key] = value
		}
	}
	return out
}
