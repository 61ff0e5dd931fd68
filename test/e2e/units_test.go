package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"devctl/internal/api"
)

// TestUnitThatCannotStartDoesNotHide takes away from a deployed unit, and from one that came with the machine, what they need to start:
// status, deploy and up all show what they say, systemd tries on, later and later, and nobody has to do more than give that back.
func TestUnitThatCannotStartDoesNotHide(t *testing.T) {
	t.Parallel()
	s := newStack(t, "e2eunit", "198.18.89.0/24")
	s.must(t, 15*time.Minute, "up", "--yes")
	st := s.status(t)
	checkStatus(t, st, 8)
	follower := "main-1" // without it, etcd and the API go on at once
	if st.Etcd.Leader == follower {
		follower = "main-2"
	}
	for _, fault := range []struct {
		node, unit    string
		broken, whole []string // what is done on the node
		last          string   // of what the unit then says
	}{
		{
			"data-1", "redis-1",
			[]string{"chmod", "0000", api.DataDir + "/redis-1"}, []string{"chmod", "0755", api.DataDir + "/redis-1"},
			"Permission denied",
		},
		{
			follower, "etcd",
			[]string{"mv", api.NodePKIDir + "/etcd.crt", api.NodePKIDir + "/away"}, []string{"mv", api.NodePKIDir + "/away", api.NodePKIDir + "/etcd.crt"},
			"no such file or directory",
		},
	} {
		t.Run(fault.unit, func(t *testing.T) {
			id := node(t, st, fault.node).ID
			waitFor(t, "the unit has run for a while", 30*time.Second, func() error { return ranFor(t, id, fault.unit, 10*time.Second) })
			docker(t, "exec", id, "systemctl", "kill", "--signal=KILL", fault.unit)
			waitFor(t, "it starts again", 10*time.Second, func() error { return restarted(t, id, fault.unit, 1) })
			first := logged(t, id, fault.unit, restart)[0].Sub(logged(t, id, fault.unit, "Main process exited")[0])
			t.Logf("%s starts again %v after its first crash", fault.unit, first.Round(time.Millisecond))
			if first > time.Second {
				t.Errorf("that is more than 1s")
			}
			docker(t, append([]string{"exec", id}, fault.broken...)...)
			docker(t, "exec", id, "systemctl", "kill", "--signal=KILL", fault.unit)
			checkShown(t, s, fault.node, fault.unit, fault.last)
			checkDelays(t, id, fault.unit)
			docker(t, append([]string{"exec", id}, fault.whole...)...)
			begun := time.Now()
			s.waitStatus(t, "healthy when it can start again", time.Minute, func(st api.Status) bool { return st.Healthy && st.Settled })
			t.Logf("healthy again %v after the unit could start", time.Since(begun).Round(100*time.Millisecond))
			checkStatus(t, s.status(t), 8)
		})
	}
}

// checkShown wants status, deploy and up to say which unit on which node cannot start, and what it says itself.
func checkShown(t *testing.T, s *stack, name, unit, last string) {
	t.Helper()
	broken := s.waitStatus(t, "status shows the last lines of "+unit, 20*time.Second, func(st api.Status) bool {
		return !st.Healthy && slices.ContainsFunc(node(t, st, name).Units, func(u api.UnitStatus) bool {
			return u.Name == unit+".service" && !u.Ready() && strings.Contains(u.Message, last)
		})
	})
	if all := strings.Join(broken.Problems, "\n"); !strings.Contains(all, unit+".service on "+name) {
		t.Errorf("problems do not name the unit:\n%s", all)
	}
	for _, c := range []struct {
		args []string
		code int
	}{{[]string{"status"}, 0}, {[]string{"deploy", "--timeout", "5s"}, 1}, {[]string{"up", "--yes", "--timeout", "5s"}, 1}} {
		r := s.run(t, time.Minute, c.args...)
		text := r.stdout + r.stderr
		if r.code != c.code {
			t.Errorf("%v: exit %d, want %d", c.args, r.code, c.code)
		}
		for _, want := range []string{unit + ".service on " + name, last} {
			if !strings.Contains(text, want) {
				t.Errorf("%v does not say %q:\n%s", c.args, want, text)
			}
		}
		if want := "logs " + name + " " + unit; c.code != 0 && !strings.Contains(text, want) {
			t.Errorf("%v does not say what to run next, %q:\n%s", c.args, want, text)
		}
	}
}

// checkDelays wants systemd to have waited about twice as long each time.
func checkDelays(t *testing.T, id, unit string) {
	t.Helper()
	waitFor(t, "systemd goes on trying", time.Minute, func() error { return restarted(t, id, unit, 5) })
	var delays []time.Duration
	times := logged(t, id, unit, restart)[1:] // the first was of a unit that could start
	for i := range times[1:] {
		delays = append(delays, times[i+1].Sub(times[i]).Round(10*time.Millisecond))
	}
	t.Logf("%s tried again after %v", unit, delays)
	for i, delay := range delays {
		if least := min(2*time.Second<<i, 30*time.Second); delay < least {
			t.Errorf("systemd started %s again after %v, want growing delays: at least %v this time", unit, delay, least)
		}
	}
}

// restarted is an error until systemd has started the unit so many times by itself.
func restarted(t *testing.T, id, unit string, times int) error {
	t.Helper()
	if n := len(logged(t, id, unit, restart)); n < times {
		return fmt.Errorf("%d restarts", n)
	}
	return nil
}

// restart is what systemd says when it starts a unit by itself.
const restart = "Scheduled restart job"

// logged is when systemd has said such a thing of the unit.
func logged(t *testing.T, id, unit, text string) []time.Time {
	t.Helper()
	var times []time.Time
	out := docker(t, "exec", id, "journalctl", "--unit="+unit, "--identifier=systemd", "--output=json", "--output-fields=MESSAGE", "--no-pager", "--quiet")
	for line := range strings.Lines(out) {
		var entry struct {
			Message string `json:"MESSAGE"`
			Time    string `json:"__REALTIME_TIMESTAMP"` // µs
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if strings.Contains(entry.Message, text) {
			us, err := strconv.ParseInt(entry.Time, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			times = append(times, time.UnixMicro(us))
		}
	}
	return times
}

// ranFor is an error until the unit has been active for so long.
func ranFor(t *testing.T, id, unit string, long time.Duration) error {
	t.Helper()
	since, err := time.Parse("Mon 2006-01-02 15:04:05 MST", docker(t, "exec", id, "systemctl", "show", "--property=ActiveEnterTimestamp", "--value", unit))
	if err != nil {
		t.Fatal(err)
	}
	if ran := time.Since(since); ran < long {
		return fmt.Errorf("it has been active for %v", ran)
	}
	return nil
}
