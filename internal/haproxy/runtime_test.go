package haproxy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	empty := func(name string) slot { return slot{name: name, addr: nowhere, port: nowherePort} }
	taken := func(name, addr string, ready bool) slot {
		return slot{name: name, addr: addr, port: 7101, ready: ready}
	}
	server := func(addr string, primary bool) Server { return Server{Addr: addr, Port: 7101, Primary: primary} }
	tests := []struct {
		name string
		have []slot
		want []Server
		sent []string
	}{
		{"fill", []slot{empty("redis1"), empty("redis2"), empty("redis3")}, []Server{server("10.0.0.1", true), server("10.0.0.2", false)},
			[]string{"redis1 addr 10.0.0.1 port 7101", "redis1 state ready", "redis2 addr 10.0.0.2 port 7101"}},
		{"nothing to do", []slot{taken("redis1", "10.0.0.2", false), empty("redis2"), taken("redis3", "10.0.0.1", true)},
			[]Server{server("10.0.0.1", true), server("10.0.0.2", false)}, nil},
		{"switch", []slot{taken("redis1", "10.0.0.1", true), taken("redis2", "10.0.0.2", false)},
			[]Server{server("10.0.0.1", false), server("10.0.0.2", true)}, []string{"redis1 state maint", "redis2 state ready"}},
		{"gone", []slot{taken("redis1", "10.0.0.1", true), taken("redis2", "10.0.0.2", true)}, []Server{server("10.0.0.2", true)},
			[]string{"redis1 state maint", "redis1 addr 127.0.0.1 port 1"}},
		{"replaced in a full backend", []slot{taken("redis1", "10.0.0.1", true)}, []Server{server("10.0.0.2", true)},
			[]string{"redis1 state maint", "redis1 addr 127.0.0.1 port 1", "redis1 addr 10.0.0.2 port 7101", "redis1 state ready"}},
		{"twice", []slot{taken("redis1", "10.0.0.1", true), taken("redis2", "10.0.0.1", true)}, []Server{server("10.0.0.1", true)},
			[]string{"redis2 state maint", "redis2 addr 127.0.0.1 port 1"}},
		{"an empty slot made ready by hand", []slot{{name: "redis1", addr: nowhere, port: nowherePort, ready: true}}, nil, []string{"redis1 state maint"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			changes, err := plan(tt.have, tt.want)
			if err != nil {
				t.Fatal(err)
			}
			var sent []string
			for _, c := range changes {
				sent = append(sent, c.slot+" "+c.words)
			}
			if diff := cmp.Diff(tt.sent, sent); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanTooMany(t *testing.T) {
	t.Parallel()
	_, err := plan([]slot{{name: "redis1"}}, []Server{{Addr: "10.0.0.1", Port: 1}, {Addr: "10.0.0.2", Port: 1}})
	if want := `fill HAProxy backend "redis": 2 servers for 1 slots`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	have := []slot{{addr: "10.0.0.1", port: 1, ready: true, up: true}, {addr: "10.0.0.2", port: 1, ready: true}, {addr: "10.0.0.3", port: 1, up: true}}
	want := []Server{{Addr: "10.0.0.1", Port: 1, Primary: true}, {Addr: "10.0.0.2", Port: 1, Primary: true}, {Addr: "10.0.0.3", Port: 1}}
	if diff := cmp.Diff(api.LoadBalancer{Backends: 2, Up: 1}, count(have, want)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseSlotsErrors(t *testing.T) {
	t.Parallel()
	const header = "1\n# be_name srv_name srv_addr srv_op_state srv_admin_state srv_port\n"
	for text, want := range map[string]string{
		"Can't find backend.\n":                  `unexpected answer "Can't find backend.\n"`,
		"2\n# srv_name\n":                        `unexpected answer "2\n# srv_name\n"`,
		header + "redis redis1 10.0.0.1 2 0 x\n": `unexpected line "redis redis1 10.0.0.1 2 0 x"`,
		header + "redis redis1\n":                `unexpected line "redis redis1"`,
	} {
		if _, err := parseSlots(text); err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", text, err, want)
		}
	}
}

func FuzzParseSlots(f *testing.F) {
	f.Add("1\n# be_name srv_name srv_addr srv_op_state srv_admin_state srv_port\nredis redis1 10.0.0.1 2 4 7101\n")
	f.Fuzz(func(t *testing.T, text string) {
		slots, err := parseSlots(text)
		if err != nil {
			return
		}
		for _, s := range slots {
			if s.name == "" || strings.ContainsAny(s.name, " \n") {
				t.Errorf("%q has slot %+v", text, s)
			}
		}
		if _, err := plan(slots, nil); err != nil {
			t.Error(fmt.Errorf("empty %q: %w", text, err))
		}
	})
}
