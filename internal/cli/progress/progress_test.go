package progress

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clock is a clock that moves only when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// never ticks, so that tests tick themselves.
func never(time.Duration) Stopper { return Stopper{C: make(chan time.Time), Stop: func() {}} }

func TestPlain(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	c := newClock()
	d := New(&b, Options{Now: c.Now, Every: never})
	d.Start("Creating stack local")
	d.Rows(nil, []Row{{Key: "network", Line: "creating network"}, {Key: "image"}})
	c.add(time.Second)
	d.Rows(nil, []Row{{Key: "network", Line: "creating network"}, {Key: "image", Line: "building image"}})
	d.Wait("main-1 to boot")
	c.add(2 * time.Second)
	d.tick() // not long enough to be told
	c.add(time.Second)
	d.tick()
	c.add(time.Second)
	d.tick() // told just now
	c.add(15 * time.Second)
	d.tick()
	d.Print(Warn, "two\nlines")
	d.Print(Bad, "main-1 is gone")
	d.Done("Created stack local")
	d.Close()
	d.Close()
	want := `15:04:05 Creating stack local
15:04:05 creating network
15:04:06 building image
15:04:09 still waiting for main-1 to boot (3.0s)
15:04:25 still waiting for main-1 to boot (19s)
15:04:25 warning: two
         lines
15:04:25 error: main-1 is gone
15:04:25 Created stack local in 20s
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestQuietKeepsWarnings(t *testing.T) {
	t.Parallel()
	for _, live := range []bool{false, true} {
		var b bytes.Buffer
		d := New(&b, Options{Now: newClock().Now, Every: never, Quiet: true, Live: live})
		d.Start("Creating stack local")
		d.Rows(nil, []Row{{Key: "a", Cells: []string{"a"}, Line: "a is there"}})
		d.Print(Warn, "the disk is nearly full")
		d.Done("Created stack local")
		d.Close()
		if got := b.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "the disk is nearly full") {
			t.Errorf("live %v: quiet printed %q", live, got)
		}
	}
}

func TestLive(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newScreen(40, 10)
	d := New(s, Options{Live: true, Now: c.Now, Every: never, Size: s.size})
	d.Start("Deploying")
	d.Rows([]string{"NODE", "STATE"}, []Row{{Key: "a", Cells: []string{"main-1", "ready"}}, {Key: "b", Cells: []string{"data-1", "joining"}, Since: c.Now()}})
	c.add(4 * time.Second)
	d.Wait("data-1 to join")
	s.want(t, "Deploying", "  NODE    STATE", "  main-1  ready", "  data-1  joining  4.0s", "⠋ Deploying: waiting for data-1 to joi…")
	d.Print(Info, "data-1 joined")
	d.Wait("")
	s.want(t, "Deploying", "data-1 joined", "  NODE    STATE", "  main-1  ready", "  data-1  joining  4.0s", "⠋ Deploying 4.0s")
	d.tick()
	s.want(t, "Deploying", "data-1 joined", "  NODE    STATE", "  main-1  ready", "  data-1  joining  4.0s", "⠙ Deploying 4.0s")
	d.Done("Deployed")
	d.Close()
	s.want(t, "Deploying", "data-1 joined", "✓ Deployed in 4.0s")
}

func TestLiveFitsTheTerminal(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newScreen(60, 8)
	d := New(s, Options{Live: true, Now: c.Now, Every: never, Size: s.size})
	d.Start("Deploying")
	var rows []Row
	for _, name := range []string{"main-1", "main-2", "main-3", "worker-1", "worker-2", "data-1", "data-2"} {
		rows = append(rows, Row{Key: name, Cells: []string{name, "ready"}})
	}
	d.Rows(nil, rows)
	s.want(t, "Deploying", "  main-1    ready", "  main-2    ready", "  main-3    ready", "  worker-1  ready", "  … and 3 more", "⠋ Deploying 0.0s")
}

func TestLiveSurvivesResize(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newScreen(60, 20)
	d := New(s, Options{Live: true, Now: c.Now, Every: never, Size: s.size})
	d.Start("Deploying")
	d.Rows(nil, []Row{{Key: "a", Cells: []string{"main-1", "a state that takes quite some room"}}})
	s.resize(30)
	d.tick()
	s.want(t, "Deploying", "  main-1  a state that takes…", "⠙ Deploying 0.0s")
	s.resize(80)
	d.tick()
	s.want(t, "Deploying", "  main-1  a state that takes quite some room", "⠹ Deploying 0.0s")
	d.Close()
	s.want(t, "Deploying")
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	s := newScreen(80, 24)
	d := New(s, Options{Live: true, Now: time.Now, Size: s.size, Every: func(time.Duration) Stopper { return realTicker(time.Millisecond) }})
	d.Start("Deploying")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				d.Rows(nil, []Row{{Key: "a", Cells: []string{"a"}, Since: time.Now()}})
				d.Wait("a")
				d.Wait("")
			}
		})
	}
	wg.Wait()
	d.Done("Deployed")
	d.Close()
	if got := s.text(); len(got) != 2 || !strings.HasPrefix(got[1], "✓ Deployed in ") {
		t.Errorf("screen %q", got)
	}
}

func TestElapsed(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		420 * time.Millisecond:    "0.4s",
		12_900 * time.Millisecond: "12s",
		59 * time.Second:          "59s",
		185 * time.Second:         "3m05s",
		75 * time.Minute:          "75m00s",
	} {
		if got := Elapsed(d); got != want {
			t.Errorf("Elapsed(%v) = %q, want %q", d, got, want)
		}
	}
}
