package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"devctl/internal/api"
)

// TestPreviewsOfARunningStack compares a spec with what runs now, has a saved plan carried out, and has one refused when something
// has moved on since. Then it changes what all machines of a role are made from: the number of main nodes.
func TestPreviewsOfARunningStack(t *testing.T) {
	t.Parallel()
	s := newStack(t, "e2eprev", "198.18.76.0/24")
	s.must(t, 5*time.Minute, "up", "--yes")
	before, secrets := s.status(t), s.secrets(t)

	t.Run("inside of what runs", func(t *testing.T) {
		s.editSpec(t, "maxmemory: 64MiB", "maxmemory: 65MiB")
		s.editSpec(t, "statsPort: 7020", "statsPort: 7021")
		previewed(t, s, secrets, "- maxmemory 67108864", "+ maxmemory 68157440",
			"-     bind :7020", "+     bind :7021", // HAProxy
			`-     script "/usr/local/bin/check-haproxy 7020"`, `+     script "/usr/local/bin/check-haproxy 7021"`, // keepalived
			"people notice a short pause", "only the deployment changes")
	})
	t.Run("what was approved is what runs", func(t *testing.T) {
		plan := filepath.Join(s.dir, "plan.json")
		s.must(t, 3*time.Minute, "preview", "--save-plan", plan)
		s.must(t, 5*time.Minute, "up", "--plan", plan)
		after := s.status(t)
		checkStatus(t, after, 8)
		sameMachines(t, before, after)
		if r := s.run(t, 3*time.Minute, "preview", "--detailed-exitcode"); r.code != 0 {
			t.Errorf("preview --detailed-exitcode: exit %d after the plan was carried out\n%s", r.code, r.stdout)
		}
		// It was for what was there before it.
		r := s.run(t, 3*time.Minute, "up", "--plan", plan)
		if want := "the plan would put haproxy.service on worker-1, and there is nothing to do there now"; r.code != 1 || !strings.Contains(r.stderr, want) {
			t.Errorf("the same plan again: exit %d, want %q:\n%s", r.code, want, r.stderr)
		}
	})
	t.Run("what has moved on", func(t *testing.T) { movedOn(t, s, secrets) })
	t.Run("more main nodes, then fewer", func(t *testing.T) { moreMains(t, s, secrets) })
}

// previewed wants these texts in the preview of a change, and no secret in any form of it.
func previewed(t *testing.T, s *stack, secrets *needles, texts ...string) {
	t.Helper()
	for _, format := range []string{"text", "markdown", "json"} {
		r := s.run(t, 3*time.Minute, "preview", "--detailed-exitcode", "-o", format)
		if r.code != 2 {
			t.Errorf("preview -o %s: exit %d, want 2\n%s", format, r.code, r.stderr)
		}
		if format == "json" && !json.Valid([]byte(r.stdout)) {
			t.Errorf("preview -o json is no JSON:\n%s", r.stdout)
		}
		for _, text := range texts {
			if format == "text" && !strings.Contains(r.stdout, text) {
				t.Errorf("the preview does not say %q:\n%s", text, r.stdout)
			}
		}
		if found := secrets.in([]byte(r.stdout + r.stderr)); len(found) > 0 {
			t.Errorf("preview -o %s shows %q", format, found)
		}
	}
}

// movedOn saves a plan, and moves the spec, the program, the state, the file itself on.
func movedOn(t *testing.T, s *stack, secrets *needles) {
	plan := filepath.Join(s.dir, "plan.json")
	refused := func(t *testing.T, file string, wants ...string) {
		t.Helper()
		r := s.run(t, 3*time.Minute, "up", "--plan", file)
		if r.code != 1 {
			t.Errorf("exit %d, want 1:\n%s", r.code, r.stderr)
		}
		for _, want := range append(wants, "next: ") {
			if !strings.Contains(r.stderr, want) {
				t.Errorf("it does not say %q:\n%s", want, r.stderr)
			}
		}
		if found := secrets.in([]byte(r.stdout + r.stderr)); len(found) > 0 {
			t.Errorf("it shows %q", found)
		}
	}
	now := s.status(t)
	spec := s.read(t, s.specFile())
	s.editSpec(t, "maxmemory: 65MiB", "maxmemory: 66MiB")
	approved := s.read(t, s.specFile())
	s.must(t, 3*time.Minute, "preview", "--save-plan", plan)
	text, err := os.ReadFile(plan)
	if err != nil {
		t.Fatal(err)
	}
	if found := secrets.in(text); len(found) > 0 {
		t.Errorf("the plan holds %q", found)
	}

	t.Run("spec", func(t *testing.T) {
		s.editSpec(t, "maxmemory: 66MiB", "maxmemory: 67MiB")
		refused(t, plan, `spec: devctl:redis.maxmemory was "66MiB" in the plan, is "67MiB"`)
		s.write(t, s.specFile(), approved)
	})
	t.Run("program", func(t *testing.T) {
		// The same programs, but for a daemon that is another by one byte.
		bin := t.TempDir()
		programs, err := os.ReadDir(filepath.Dir(s.binary))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range programs {
			data, err := os.ReadFile(filepath.Join(filepath.Dir(s.binary), p.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if p.Name() == "devctld" {
				data = append(data, 0)
			}
			if err := os.WriteFile(filepath.Join(bin, p.Name()), data, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		s.env = append(s.env, "DEVCTL_BIN_DIR="+bin)
		refused(t, plan, "program: artifacts was devctl-artifacts-")
		s.env = s.env[:len(s.env)-1]
	})
	t.Run("the plan itself", func(t *testing.T) {
		broken := filepath.Join(s.dir, "broken.json")
		for name, tc := range map[string]struct{ from, to, want string }{
			"cut off":       {string(text[len(text)/2:]), "", "nothing was touched: "},
			"another stack": {`"stack": "e2eprev"`, `"stack": "prod"`, "is damaged or was edited"},
		} {
			if changed := strings.Replace(string(text), tc.from, tc.to, 1); changed == string(text) {
				t.Fatalf("%s: the plan has no %s", name, tc.from)
			} else if err := os.WriteFile(broken, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, broken, tc.want)
		}
	})
	t.Run("state", func(t *testing.T) {
		s.write(t, s.specFile(), strings.Replace(spec, "count: 3                 # Redis", "count: 4                 # Redis", 1))
		s.must(t, 5*time.Minute, "up", "--yes")
		s.write(t, s.specFile(), approved)
		refused(t, plan, "state: ", "data nodes")
		s.write(t, s.specFile(), spec)
		if r := s.run(t, 3*time.Minute, "up", "--yes"); r.code != 1 || !strings.Contains(r.stderr, "data-4 is deleted") {
			t.Errorf("up takes a data node away: exit %d\n%s", r.code, r.stderr)
		}
		s.must(t, 5*time.Minute, "up", "--yes", "--allow-replace", "data-4")
	})
	after := s.waitStatus(t, "the stack is as it was", time.Minute, func(st api.Status) bool { return st.Healthy && len(st.Nodes) == 8 })
	sameMachines(t, now, after)
}

// moreMains gives the stack five main nodes, is interrupted on the way, and goes back to three.
func moreMains(t *testing.T, s *stack, secrets *needles) {
	spec := s.read(t, s.specFile())
	before := s.status(t)
	s.editSpec(t, "count: 3                 # odd", "count: 5                 # odd")
	previewed(t, s, secrets, "+ main-4, main-5 are created", "± main-1, main-2, main-3 are replaced one by one by devctl: configuration",
		"+ DEVCTL_MAINS=main-1=198.18.76.11,main-2=198.18.76.12,main-3=198.18.76.13,main-4=198.18.76.14,main-5=198.18.76.15")

	p := s.start(t, "up", "--yes")
	p.until("main-4 is there", 2*time.Minute, func() bool { return strings.Contains(p.said.String(), "main-4: ready") })
	p.signal(syscall.SIGINT)
	p.end(2*time.Minute, 130, "next: ")
	half := s.waitStatus(t, "main-4 is part of the stack", 30*time.Second, func(st api.Status) bool { return st.Etcd.Healthy >= 4 })
	if n := node(t, half, "main-3"); !n.Outdated {
		t.Error("status does not mark main-3, which runs an older configuration")
	}
	if r := s.must(t, time.Minute, "status"); !strings.Contains(r.stdout, "run an older machine configuration than the stack's: ") {
		t.Errorf("status does not say that nodes are outdated:\n%s", r.stdout)
	}

	s.must(t, 5*time.Minute, "up", "--yes")
	five := s.status(t)
	if !five.Healthy || five.Etcd.Members != 5 || five.Etcd.Healthy != 5 {
		t.Errorf("five main nodes: healthy %v, etcd %+v", five.Healthy, five.Etcd)
	}
	for _, n := range before.Nodes { // what every quorum has one of is all that they know
		if n.Role != api.RoleMain && node(t, five, n.Name).ID != n.ID {
			t.Errorf("%s was replaced for a main node more", n.Name)
		}
	}

	s.write(t, s.specFile(), spec)
	if r := s.run(t, 3*time.Minute, "up", "--yes"); r.code != 1 || !strings.Contains(r.stderr, "main-4 is deleted\n  main-5 is deleted") {
		t.Errorf("up takes main nodes away: exit %d\n%s", r.code, r.stderr)
	}
	s.must(t, 5*time.Minute, "up", "--yes", "--allow-replace", "main-4,main-5")
	checkStatus(t, s.status(t), 8)
}
