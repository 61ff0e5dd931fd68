// Package units holds the systemd units of a node as typed values and writes them as text: the units that come
// with a machine (Node) and those that are deployed onto it (Redis, HAProxy, Keepalived).
//
// It is pure: the same arguments give the same bytes, on every platform. The text works with systemd 252 and
// podman 4.3 (Debian 12, local nodes) and with the newer ones of Fedora CoreOS.
package units

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/unit"

	"devctl/internal/api"
)

// Unit is a systemd unit file.
type Unit struct {
	Name string // file name, for example redis-1.service
	Text string // content; ends with a newline
}

// service is a unit of type .service before it is text: the keys that units of devctl use, in the order in
// which they are written. Keys without a value are left out.
type service struct {
	description   string
	documentation string   // where to read about what runs in it
	wants         []string // units that it starts after, and that are started with it
	after         []string // units that it starts after, if they are started
	before        []string // units that start after it

	kind             string   // Type=
	notifyAccess     string   // who may say READY=1
	delegate         bool     // the service manages its own cgroup subtree
	killMode         string   //
	environment      []string // KEY=VALUE
	environmentFiles []string // a leading - means: may be missing
	startPre         command
	start            command
	reload           command
	yield            command // before stop; may fail
	stop             command
	stopPost         command
	remainAfterExit  bool
	restart          string
	startTimeout     string
	stopTimeout      string
	directory        string // below /run, made for it and kept when it stops
	hardening        []setting
}

// setting is one line of a section.
type setting struct{ name, value string }

// command is an argument list. systemd expands %N and ${VARIABLE} in it.
type command []string

// String returns the command as systemd reads it: a long one with one option a line, so that a diff of two
// units shows what really changed.
func (c command) String() string {
	if len(c) <= 5 {
		return strings.Join(c, " ")
	}
	var b strings.Builder
	for i, arg := range c {
		switch {
		case i == 0:
		case strings.HasPrefix(arg, "-"), strings.Contains(c[i-1], "="): // the latter: no option, but not a value either
			b.WriteString(" \\\n    ")
		default:
			b.WriteByte(' ')
		}
		b.WriteString(arg)
	}
	return b.String()
}

// FirstRestart is how long systemd waits before it starts a unit again that ended by itself, the first time. `devctld ended` lets the
// next ones wait longer: a process that crashed once must be back before anybody has to take over from it.
const FirstRestart = 100 * time.Millisecond

// setupUnit is what nearly every other unit waits for.
const setupUnit = "devctl-setup.service"

// unit writes the service as a unit file with the given name.
func (s service) unit(name string) Unit {
	after := slices.Concat(s.wants, s.after)
	head := []setting{
		{"Description", s.description},
		{"Documentation", s.documentation},
		// Wants, not Requires: systemd 252 does not retry a unit whose requirement failed once. A unit that
		// starts too early finds no environment file and is restarted until there is one.
		{"Wants", strings.Join(s.wants, " ")},
		{"After", strings.Join(after, " ")},
		{"Before", strings.Join(s.before, " ")},
		// Never give up: the default stops after 5 starts in 10 s, and nobody is there to start the unit again.
		{"StartLimitIntervalSec", "0"},
	}
	body := []setting{
		{"Type", s.kind},
		{"NotifyAccess", s.notifyAccess},
		{"Delegate", yes(s.delegate)},
		{"KillMode", s.killMode},
	}
	for _, e := range s.environment {
		body = append(body, setting{"Environment", e})
	}
	for _, f := range s.environmentFiles {
		body = append(body, setting{"EnvironmentFile", f})
	}
	body = append(body,
		setting{"ExecStartPre", s.startPre.String()},
		setting{"ExecStart", s.start.String()},
		setting{"ExecReload", s.reload.String()},
		setting{"ExecStop", tolerant(s.yield)},
		setting{"ExecStop", s.stop.String()},
		// With all rights (+), and whatever becomes of it (-), or what follows would not be run.
		setting{"ExecStopPost", command{"-+" + api.Daemon, "ended", "%n"}.String()},
		setting{"ExecStopPost", s.stopPost.String()},
		setting{"RemainAfterExit", yes(s.remainAfterExit)},
		setting{"Restart", s.restart},
		setting{"RestartSec", fmt.Sprintf("%dms", FirstRestart.Milliseconds())},
		setting{"TimeoutStartSec", s.startTimeout},
		setting{"TimeoutStopSec", s.stopTimeout},
		// Containers log under the unit's name too: their output is passed through.
		setting{"SyslogIdentifier", "%N"},
	)
	if s.directory != "" {
		body = append(body, setting{"RuntimeDirectory", s.directory}, setting{"RuntimeDirectoryPreserve", "yes"})
	}

	var options []*unit.UnitOption
	section := func(name string, settings []setting) {
		for _, o := range settings {
			if o.value != "" {
				options = append(options, unit.NewUnitOption(name, o.name, o.value))
			}
		}
	}
	section("Unit", head)
	section("Service", body)
	for _, o := range s.hardening { // as it is: an empty list says more than none
		options = append(options, unit.NewUnitOption("Service", o.name, o.value))
	}
	section("Install", []setting{{"WantedBy", "multi-user.target"}})
	var text strings.Builder
	// Neither side can fail: the reader is a buffer, the writer a string.
	_, _ = io.Copy(&text, unit.Serialize(options))
	return Unit{Name: name, Text: text.String()}
}

// tolerant is a command whose failure changes nothing.
func tolerant(c command) string {
	if len(c) == 0 {
		return ""
	}
	return "-" + c.String()
}

// yes is a systemd boolean, or nothing where false is the default.
func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}
