package localcloud

import (
	"regexp"
	"slices"
	"strings"
)

// boot is what a node's console has said of its boot. Executing something in every node to ask would cost more than
// the boot itself.
type boot struct {
	up     []string // units that were started, and targets that were reached
	failed bool     // something was not
	gaveUp bool     // the node image's first process found no way to start systemd
}

// bootFailure is how the node image's first process says that it gives up.
const bootFailure = "devctl-boot: "

// systemd's report of a job, with StatusUnitFormat=name (man systemd-system.conf), but for what is meant for a terminal:
//
//	[  OK  ] Started devctl-agent.service
//	[  OK  ] Reached target multi-user.target
//	[FAILED] Failed to start etcd.service
var (
	escape = regexp.MustCompile(`\x1b(?:\[[0-9;?]*)?[A-Za-z]|\r`)
	report = regexp.MustCompile(`^\[ {0,2}([A-Z]+) {0,2}\] (?:Started|Reached target) (\S+?)\.?$`)
)

// read takes in one line of the console.
func (b *boot) read(line string) {
	line = escape.ReplaceAllString(line, "")
	if match := report.FindStringSubmatch(line); match != nil && match[1] == "OK" {
		b.up = append(b.up, match[2])
	}
	b.failed = b.failed || strings.HasPrefix(line, "[FAILED]") || strings.HasPrefix(line, "[DEPEND]")
	b.gaveUp = b.gaveUp || strings.HasPrefix(line, bootFailure)
}

func (b *boot) reached(target string) bool { return slices.Contains(b.up, target) }

// started tells whether all the units were started and nothing failed. Where it is not so the console cannot tell why,
// nor whether a unit that failed was started again since.
func (b *boot) started(units []string) bool {
	return !b.failed && !slices.ContainsFunc(units, func(unit string) bool { return !slices.Contains(b.up, unit) })
}
