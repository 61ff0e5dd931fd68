package localcloud

import (
	"strings"
	"testing"
)

func TestBoot(t *testing.T) {
	t.Parallel()
	const (
		ok     = "[\x1b[0;32m  OK  \x1b[0m] "
		failed = "[\x1b[0;1;31mFAILED\x1b[0m] "
		agent  = ok + "Started \x1b[0;1;39mdevctl-agent.service\x1b[0m.\r\r\n"
		basic  = ok + "Reached target \x1b[0;1;39mbasic.target\x1b[0m.\r\n"
		target = ok + "Reached target \x1b[0;1;39mmulti-user.target\x1b[0m.\r\n"
	)
	units := []string{"devctl-agent.service"}
	tests := []struct {
		name, console           string
		reached, started, ended bool
	}{
		{"nothing yet", "Welcome to Debian GNU/Linux 12!\n         Starting \x1b[0;1;39mdevctl-agent.service\x1b[0m...\n", false, false, false},
		{"on its way", basic + agent, false, true, false},
		{"up", basic + agent + target, true, true, false},
		{"up without the agent", basic + target, true, false, false},
		{"the agent failed", failed + "Failed to start \x1b[0;1;39mdevctl-agent.service\x1b[0m.\n" + target, true, false, false},
		{"the agent failed and was started again", failed + "Failed to start devctl-agent.service.\n" + agent + target, true, false, false},
		{"what it needs failed", "[\x1b[0;1;38;5;185mDEPEND\x1b[0m] Dependency failed for x.service\n" + agent + target, true, false, false},
		{"no config", "devctl-boot: no Ignition config\n", false, false, true},
		{"waited for", "[\x1b[0;31m*     \x1b[0m] Job devctl-agent.service/start running (3s / no limit)\r\x1bM\r\r\n\x1b[K" + agent + target, true, true, false},
		{"while others were waited for", "\x1b[K" + agent + "\x1bM\r\r\x1b[K" + target, true, true, false},
		{"without colours", "[  OK  ] Started devctl-agent.service\n[  OK  ] Reached target multi-user.target\n", true, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b boot
			for line := range strings.Lines(tt.console) {
				b.read(strings.TrimSuffix(line, "\n"))
			}
			if b.reached("multi-user.target") != tt.reached || b.started(units) != tt.started || b.gaveUp != tt.ended {
				t.Errorf("reached %t, started %t, gave up %t; want %t, %t, %t (%+v)",
					b.reached("multi-user.target"), b.started(units), b.gaveUp, tt.reached, tt.started, tt.ended, b)
			}
		})
	}
}
