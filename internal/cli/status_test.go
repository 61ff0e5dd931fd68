package cli

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
	"devctl/internal/cli/output"
)

func TestStatusLines(t *testing.T) {
	t.Parallel()
	for name, st := range map[string]api.Status{
		"healthy": testStatus(),
		"broken":  brokenStatus(),
		"empty":   {Stack: "local", Problems: []string{"Nothing is deployed."}, Redis: api.RedisStatus{State: "none"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, "status/"+name+".txt", strings.Join(statusLines(st, testTime, output.Style{}), "\n")+"\n")
		})
	}
}

func TestStatusJSONIsTheAPIsShape(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.statuses = []api.Status{brokenStatus()}
	r := w.run("status", "-o", "json").want(t, 0)
	var got api.Status
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(brokenStatus(), got); d != "" {
		t.Error(d)
	}
	if r.err != "" {
		t.Errorf("stderr %q", r.err)
	}
}

func TestStatusWithoutAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.run("status", "-o", "json").want(t, 1, `error: reach stack "local": no controller answered`, "next: devctl logs main-1 devctl-controller")
	if r.out != "" {
		t.Errorf("stdout %q", r.out)
	}
}

func TestStatusOfAStackThatIsNotUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env.outputs = nil
	w.run("status").want(t, 1, `stack "local" is not up`, "next: devctl up")
}

func TestStatusWatchTellsChangesLineByLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.cluster.statuses = []api.Status{testStatus(), testStatus(), brokenStatus(), testStatus()}
	w.cluster.onStatus = func(asked int) {
		if asked == 6 {
			cancel()
		}
	}
	r := w.runContext(ctx, "status", "--watch").want(t, 0)
	_, changes, found := strings.Cut(r.out, "10923-16383")
	if !found {
		t.Fatalf("the first status is missing:\n%s", r.out)
	}
	golden(t, "status/watch.txt", changes)
}

func TestStatusWatchSaysOnceThatNobodyAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	gone := errors.New("no controller answered")
	w.cluster.failures = []error{gone, gone, gone}
	w.cluster.statuses = []api.Status{testStatus()}
	w.cluster.onStatus = func(asked int) {
		if asked == 6 {
			cancel()
		}
	}
	r := w.runContext(ctx, "status", "--watch", "-o", "json").want(t, 0)
	if n := strings.Count(r.err, "no controller answered"); n != 1 {
		t.Errorf("said %d times that nobody answers:\n%s", n, r.err)
	}
	var got api.Status
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Errorf("stdout is not one document: %v\n%s", err, r.out)
	}
}

func TestStatusWatchRedrawsATerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t).terminal()
	ctx, cancel := context.WithCancel(t.Context())
	w.cluster.statuses = []api.Status{testStatus()}
	w.deps.after = func(time.Duration) <-chan time.Time {
		if w.cluster.asked == 2 {
			cancel()
		}
		c := make(chan time.Time, 1)
		c <- testTime
		return c
	}
	r := w.runContext(ctx, "status", "-w").want(t, 0)
	if n := strings.Count(r.out, "\x1b[H"); n != 2 {
		t.Errorf("%d frames, want 2", n)
	}
	for _, frame := range strings.Split(r.out, "\x1b[H")[1:] {
		lines := strings.Split(frame, "\n")
		if last := lines[len(lines)-1]; last != "\x1b[J" {
			t.Errorf("a frame ends in %q", last)
		}
		for _, line := range lines[:len(lines)-1] {
			if !strings.HasSuffix(line, "\x1b[K") || output.Width(line) > 100+len("[K") {
				t.Errorf("line %q", line)
			}
		}
	}
}
