package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// A unit's evidence is so many lines, of so many in the journal: systemd says a lot about a unit that fails.
const evidenceLines, journalLines = 10, 60

// journal returns the last lines about a unit that say why it fails.
func journal(ctx context.Context, unit string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, systemdTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "journalctl", "--unit="+unit, fmt.Sprintf("--lines=%d", journalLines),
		"--output=json", "--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER", "--no-pager", "--quiet").Output()
	if err != nil {
		if e := (*exec.ExitError)(nil); errors.As(err, &e) && len(e.Stderr) > 0 {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(e.Stderr)))
		}
		return "", fmt.Errorf("journalctl --unit=%s: %w", unit, err)
	}
	return telling(out, strings.TrimSuffix(unit, ".service")), nil
}

// telling returns, of journal entries as JSON, what the unit itself has said, what systemd has found remarkable, and errors. That
// leaves out the start and the end of each try, which are most of what the journal has, and never the reason.
func telling(entries []byte, identifier string) string {
	var lines []string
	for entry := range bytes.Lines(entries) {
		var e struct {
			Message    string `json:"MESSAGE"`
			Priority   string `json:"PRIORITY"` // of syslog: 3 is an error, 5 a notice
			Identifier string `json:"SYSLOG_IDENTIFIER"`
		}
		// What is no text comes as numbers: nothing to show.
		if json.Unmarshal(entry, &e) != nil || e.Message == "" {
			continue
		}
		if e.Identifier == identifier || e.Identifier == "systemd" && e.Priority <= "5" || e.Priority <= "3" {
			lines = append(lines, e.Message)
		}
	}
	return strings.Join(lines[max(0, len(lines)-evidenceLines):], "\n")
}
