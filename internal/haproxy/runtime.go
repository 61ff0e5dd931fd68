package haproxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"devctl/internal/api"
)

// Server is a Redis as the backend should see it.
type Server struct {
	Name    string // for people: data-1:7101
	Addr    string // IPv4
	Port    int
	Primary bool // takes part; others wait in maintenance
}

// Reconcile makes the backend of the HAProxy behind the runtime socket what is wanted: a slot for every server, ready
// if it is a primary, else in maintenance. It sends only what is needed: a slot that is right is not touched, a server
// keeps its slot, and after a restart of HAProxy all slots are filled again. Nothing is ever reloaded.
//
// It returns what the backend is afterwards, as far as HAProxy has checked it.
func Reconcile(ctx context.Context, sock string, want []Server) (api.LoadBalancer, error) {
	have, err := show(ctx, sock)
	if err != nil {
		return api.LoadBalancer{}, err
	}
	changes, err := plan(have, want)
	if err != nil {
		return api.LoadBalancer{}, err
	}
	for _, c := range changes {
		if err := set(ctx, sock, c); err != nil {
			return api.LoadBalancer{}, err
		}
	}
	if len(changes) > 0 {
		if have, err = show(ctx, sock); err != nil {
			return api.LoadBalancer{}, err
		}
	}
	return count(have, want), nil
}

// slot is one server of the backend, as HAProxy has it.
type slot struct {
	name  string // redis1 …
	addr  string
	port  int
	ready bool // not in maintenance and not draining
	up    bool // passes its check
}

// free tells whether no Redis is in the slot.
func (s slot) free() bool { return s.addr == nowhere && s.port == nowherePort }

// change is what has to be sent for one slot.
type change struct {
	slot    string
	words   string // after "set server BACKEND/SLOT "
	expects string // what HAProxy says when it did it; "" for nothing
}

// plan compares slots and servers, in the order in which they are given.
func plan(have []slot, want []Server) ([]change, error) {
	type place struct {
		addr string
		port int
	}
	wanted := map[place]Server{}
	for _, s := range want {
		wanted[place{s.Addr, s.Port}] = s
	}
	if len(wanted) > len(have) {
		return nil, fmt.Errorf("fill HAProxy backend %q: %d servers for %d slots", backend, len(wanted), len(have))
	}
	var (
		changes []change
		empty   []string
	)
	state := func(name string, ready bool) {
		word := map[bool]string{true: "ready", false: "maint"}[ready]
		changes = append(changes, change{slot: name, words: "state " + word})
	}
	move := func(name, addr string, port int) {
		changes = append(changes, change{slot: name, words: fmt.Sprintf("addr %s port %d", addr, port), expects: "changed"})
	}
	for _, s := range have {
		server, ok := wanted[place{s.addr, s.port}]
		if ok {
			delete(wanted, place{s.addr, s.port}) // a second slot with this address is emptied
			if s.ready != server.Primary {
				state(s.name, server.Primary)
			}
			continue
		}
		if s.ready {
			state(s.name, false)
		}
		if !s.free() {
			move(s.name, nowhere, nowherePort)
		}
		empty = append(empty, s.name)
	}
	for _, server := range want {
		if _, missing := wanted[place{server.Addr, server.Port}]; !missing {
			continue
		}
		delete(wanted, place{server.Addr, server.Port})
		name := empty[0]
		empty = empty[1:]
		move(name, server.Addr, server.Port)
		if server.Primary {
			state(name, true)
		}
	}
	return changes, nil
}

// count says how many wanted primaries there are, and how many of them pass their check.
func count(have []slot, want []Server) api.LoadBalancer {
	var out api.LoadBalancer
	for _, s := range want {
		if !s.Primary {
			continue
		}
		out.Backends++
		if slices.ContainsFunc(have, func(h slot) bool { return h.addr == s.Addr && h.port == s.Port && h.ready && h.up }) {
			out.Up++
		}
	}
	return out
}

// show asks for the slots, in the order of the configuration.
func show(ctx context.Context, sock string) ([]slot, error) {
	text, err := ask(ctx, sock, "show servers state "+backend)
	if err != nil {
		return nil, err
	}
	slots, err := parseSlots(text)
	if err != nil {
		return nil, fmt.Errorf("show servers of HAProxy: %w", err)
	}
	return slots, nil
}

// parseSlots reads the answer to "show servers state": the format's version, a line that names the columns after a
// #, and one line a server.
func parseSlots(text string) ([]slot, error) {
	version, rest, _ := strings.Cut(strings.TrimSpace(text), "\n")
	header, rest, _ := strings.Cut(rest, "\n")
	columns := strings.Fields(strings.TrimPrefix(header, "#"))
	if strings.TrimSpace(version) != "1" || len(columns) == 0 {
		return nil, fmt.Errorf("unexpected answer %.100q", text)
	}
	var slots []slot
	for line := range strings.Lines(rest) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		column := func(name string) string {
			if i := slices.Index(columns, name); i >= 0 && i < len(fields) {
				return fields[i]
			}
			return ""
		}
		port, err1 := strconv.Atoi(column("srv_port"))
		admin, err2 := strconv.Atoi(column("srv_admin_state"))
		operational, err3 := strconv.Atoi(column("srv_op_state"))
		if err1 != nil || err2 != nil || err3 != nil || column("srv_name") == "" || column("srv_addr") == "" {
			return nil, fmt.Errorf("unexpected line %.100q", line)
		}
		const (
			configured = 0x04 // "disabled" in the configuration: says nothing about now
			running    = 2
		)
		slots = append(slots, slot{
			name: column("srv_name"), addr: column("srv_addr"), port: port,
			ready: admin&^configured == 0, up: operational == running,
		})
	}
	return slots, nil
}

// set sends one change and checks what HAProxy says to it.
func set(ctx context.Context, sock string, c change) error {
	line := fmt.Sprintf("set server %s/%s %s", backend, c.slot, c.words)
	answer, err := ask(ctx, sock, line)
	if err != nil {
		return err
	}
	answer = strings.TrimSpace(answer)
	if c.expects == "" && answer != "" || !strings.Contains(answer, c.expects) {
		return fmt.Errorf("ask HAProxy to %s: it says %q", line, answer)
	}
	return nil
}

// ask sends one line and returns the answer. HAProxy closes the connection after it.
func ask(ctx context.Context, sock, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", sock)
	if err != nil {
		return "", fmt.Errorf("connect to HAProxy's runtime API: %w", err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", fmt.Errorf("ask HAProxy to %s: %w", line, err)
	}
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return "", fmt.Errorf("ask HAProxy to %s: %w", line, err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		return "", fmt.Errorf("ask HAProxy to %s: %w", line, err)
	}
	return string(answer), nil
}
