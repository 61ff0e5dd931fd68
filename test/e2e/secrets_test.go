package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"devctl/internal/api"
	"devctl/internal/discovery"
)

// allowed is every place that secrets are meant for: files that nobody but their owner can read. Each has to be found in
// use, or the search would find nothing anywhere.
var allowed = []struct {
	on      string // nodes of a role, all "nodes", or the "laptop"
	file    string // a regular expression
	secrets string // which: a regular expression
}{
	{"main", `/etc/devctl/pki/ca\.key`, `caKey`},
	{"nodes", `/etc/devctl/pki/bootstrap\.key`, `bootstrapKeys\.ROLE`},
	{"nodes", `/var/lib/devctl/pki/node\.key`, `NODE node\.key`},
	{"main", `/var/lib/devctl/pki/(etcd|controller)\.key`, `NODE (etcd|controller)\.key`},
	{"main", `/var/lib/devctl/etcd/.*`, `redis-.*|haproxy-stats`},                 // keys below secrets/, see below
	{"main", `/var/lib/devctl/snapshots/[0-9TZ.]+\.db`, `redis-.*|haproxy-stats`}, // the same, in a volume that all mains have
	{"worker", `/etc/devctl/services/haproxy\.service/haproxy\.cfg`, `redis-check|haproxy-stats`},
	{"data", `/etc/devctl/services/redis-[0-9]+\.service/redis\.conf`, `redis-replication`},
	{"laptop", `passphrase`, `passphrase`},
	{"laptop", `outputs --show-secrets`, `redis-app|haproxy-stats`}, // who asks for them gets these two
}

// TestSecretsStaySecret searches everything that a stack's life leaves behind for what was generated or imported for it.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	s := newStack(t, "e2esec", "198.18.77.0/24")
	temporary := t.TempDir()
	s.env = append(s.env, "TMPDIR="+temporary)
	said := map[string]string{} // what commands printed, by command
	hear := func(code int, args ...string) {
		t.Helper()
		r := s.run(t, 3*time.Minute, args...)
		if r.code != code {
			t.Errorf("devctl %s: exit %d, want %d\n%s", strings.Join(args, " "), r.code, code, r.stderr)
		}
		said["devctl "+strings.Join(args, " ")] += r.stdout + r.stderr
	}

	set := s.command(t.Context(), "secrets", "set", api.SecretRedisApp)
	set.Stdin = strings.NewReader("imported.by~a-person_0123456789")
	if out, err := set.CombinedOutput(); err != nil {
		t.Fatalf("secrets set: %v\n%s", err, out)
	}
	begun := time.Now()
	processes := watchProcesses(t)
	hear(0, "preview")
	hear(0, "up", "--yes")
	for _, args := range [][]string{
		{"outputs", "-o", "json"}, {"outputs", "-o", "yaml"}, {"outputs"}, {"status", "-o", "json"}, {"secrets", "ls", "-o", "json"},
		{"deploy", "--preview", "-o", "json"}, {"render", "butane"}, {"render", "ignition"}, {"render", "units"}, {"doctor"},
		{"stack", "export"}, {"logs", "main-1", "-n", "2000"}, {"logs", "data-1", "-n", "2000"}, {"logs", "worker-1", "-n", "2000"},
		{"redis", "ACL", "WHOAMI"},
	} {
		hear(0, args...)
	}
	s.editSpec(t, "maxmemory: 64MiB", "maxmemory: 65MiB")
	for _, format := range []string{"text", "json", "yaml", "markdown"} {
		hear(0, "preview", "-o", format)
	}
	hear(0, "preview", "--offline", "-o", "json")
	hear(0, "preview", "--save-plan", filepath.Join(s.dir, "plan.json"))
	hear(1, "redis", "ACL", "LIST")
	brokenRedis(t, s, func() { hear(1, "deploy", "--timeout", "6s") })
	hear(0, "up", "--yes")
	hear(0, "refresh", "--yes")
	processes.stop()

	secrets := s.secrets(t)
	look := func(where, what string, data []byte) {
		for _, name := range secrets.in(data) {
			t.Errorf("%s of %s: %s is in it", what, where, name)
		}
	}
	used := map[string]bool{}
	found := func(where, role, file, mode, name string) {
		for _, a := range allowed {
			of := strings.NewReplacer("ROLE", role, "NODE", where).Replace(a.secrets)
			if (a.on == role || a.on == "nodes" && role != "laptop") && whole(a.file, file) && whole(of, name) && (mode == "600" || mode == "400") {
				used[a.on+" "+a.file] = true
				return
			}
		}
		t.Errorf("%s has %s in %s, mode %s", where, name, file, mode)
	}

	for _, n := range s.status(t).Nodes {
		s.searchNode(t, n, begun, secrets, func(file, mode, name string) { found(n.Name, string(n.Role), file, mode, name) })
		for what, command := range map[string]string{
			"processes":   "ps -efww || true; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true",
			"journal":     "journalctl --no-pager --all -o export",
			"environment": "systemctl show-environment; systemctl show --all '*'",
		} {
			out, err := exec.Command("docker", "exec", n.ID, "sh", "-c", command).CombinedOutput()
			if err != nil || len(out) < 1000 {
				t.Errorf("%s of %s: %v: only %q", what, n.Name, err, out)
			}
			look(n.Name, what, out)
		}
		look(n.Name, "console", []byte(docker(t, "logs", n.ID)))
	}
	for what, data := range s.dockerKnows(t, begun) {
		look("Docker", what, data)
	}
	for what, text := range said {
		look("the command", what, []byte(text))
	}
	look("this machine", "the processes while devctl ran", processes.seen())
	for _, dir := range []string{s.home, s.dir, temporary} {
		files(t, dir, func(path string, mode fs.FileMode, data []byte) {
			rel, _ := filepath.Rel(s.home, path)
			for _, name := range secrets.in(data) {
				found("the laptop", "laptop", rel, fmt.Sprintf("%o", mode.Perm()), name)
			}
		})
	}
	for _, name := range secrets.in([]byte(s.must(t, time.Minute, "outputs", "--show-secrets", "-o", "json").stdout)) {
		found("the laptop", "laptop", "outputs --show-secrets", "600", name)
	}
	for _, a := range allowed {
		if !used[a.on+" "+a.file] {
			t.Errorf("%s on %s has no secret in it: is the search right?", a.file, a.on)
		}
	}
	etcd := s.etcd(t, s.pair(t, "main-1", "controller"))
	all, err := discovery.List(t.Context(), etcd, "/devctl/")
	if err != nil || len(all.Values) < 20 {
		t.Fatalf("list etcd's keys: %v: %d", err, len(all.Values))
	}
	for key, value := range all.Values {
		if !strings.HasPrefix("/devctl/"+key, discovery.SecretsPrefix) {
			look("etcd", key, value)
		}
	}

	destroyed := s.must(t, 3*time.Minute, "destroy", "--yes")
	look("the command", "destroy", []byte(destroyed.stdout+destroyed.stderr))
	files(t, s.home, func(path string, _ fs.FileMode, data []byte) {
		if filepath.Base(path) != "passphrase" {
			look("the laptop after destroy", path, data)
		}
	})
}

// brokenRedis runs f while a Redis instance cannot start.
func brokenRedis(t *testing.T, s *stack, f func()) {
	t.Helper()
	id := node(t, s.status(t), "data-1").ID
	const data = "/var/lib/devctl/data/redis-1"
	docker(t, "exec", id, "sh", "-c", "systemctl stop redis-1 && mv "+data+" "+data+".kept && touch "+data+" && systemctl start --no-block redis-1")
	f()
	docker(t, "exec", id, "sh", "-c", "systemctl stop redis-1; rm -rf "+data+" && mv "+data+".kept "+data+" && systemctl start --no-block redis-1")
}

func whole(expression, text string) bool {
	return regexp.MustCompile("^(?:" + expression + ")$").MatchString(text)
}

// searchNode tells of every file on a node, written since then, with a secret in it.
func (s *stack) searchNode(t *testing.T, n api.NodeStatus, since time.Time, secrets *needles, each func(file, mode, name string)) {
	t.Helper()
	// Every file that is not just as it was in the image. What is searched for comes on stdin: it would be in the list of
	// processes else.
	const search = `cat >/dev/shm/needles
find / '(' -path /proc -o -path /sys -o -path /dev ')' -prune -o -type f -newerct "$0" -print0 |
	LC_ALL=C xargs -0 grep --only-matching --text --with-filename --null --fixed-strings --no-messages --file=/dev/shm/needles |
	tr '\0' '\t' | sort -u
rm /dev/shm/needles`
	cmd := exec.Command("docker", "exec", "--interactive", n.ID, "sh", "-c", search, "@"+strconv.FormatInt(since.Unix(), 10))
	cmd.Stdin = strings.NewReader(secrets.patterns())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("search %s: %v", n.Name, err)
	}
	told := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		file, match, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			t.Fatalf("search %s: %q is no file and match", n.Name, line)
		}
		for _, name := range secrets.in([]byte(match)) {
			if !told[file+name] {
				each(file, docker(t, "exec", n.ID, "stat", "--format=%a", file), name)
			}
			told[file+name] = true
		}
	}
}

// dockerKnows is all that Docker tells of the stack: how its objects are made, of what, and what happened to them since.
func (s *stack) dockerKnows(t *testing.T, since time.Time) map[string][]byte {
	t.Helper()
	filter := "label=devctl.stack=" + s.name
	known := map[string][]byte{
		"events": []byte(docker(t, "events", "--since", since.Format(time.RFC3339), "--until", time.Now().Format(time.RFC3339Nano),
			"--filter", filter, "--format", "{{json .}}")),
	}
	images := strings.Fields(docker(t, "image", "ls", "--quiet", "--filter", "reference=devctl/*"))
	volumes := strings.Fields(docker(t, "volume", "ls", "--quiet", "--filter", "name=devctl-"))
	objects := slices.Concat(s.containers(t), images, volumes,
		strings.Fields(docker(t, "network", "ls", "--quiet", "--filter", filter)), strings.Fields(docker(t, "volume", "ls", "--quiet", "--filter", filter)))
	known["inspect"] = []byte(docker(t, append([]string{"inspect"}, objects...)...))
	for _, image := range images {
		known["history of "+image] = []byte(docker(t, "history", "--no-trunc", image))
	}
	for what, data := range known {
		if len(data) < 100 {
			t.Errorf("%s of Docker is only %q", what, data)
		}
	}
	return known
}

func files(t *testing.T, dir string, each func(path string, mode fs.FileMode, data []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil {
			each(path, info.Mode(), data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// processList collects the arguments and environments of every process on this machine, those on nodes too.
type processList struct {
	stop func()
	mu   sync.Mutex
	text map[string]bool
}

func watchProcesses(t *testing.T) *processList {
	l := &processList{text: map[string]bool{}}
	end, ended := make(chan struct{}), make(chan struct{})
	l.stop = sync.OnceFunc(func() { close(end); <-ended })
	t.Cleanup(l.stop)
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, file := range []string{"cmdline", "environ"} {
				paths, _ := filepath.Glob("/proc/[0-9]*/" + file)
				for _, path := range paths {
					if data, err := os.ReadFile(path); err == nil { // else the process is gone
						l.mu.Lock()
						l.text[string(data)] = true
						l.mu.Unlock()
					}
				}
			}
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return l
}

func (l *processList) seen() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all bytes.Buffer
	for text := range l.text {
		all.WriteString(text + "\n")
	}
	return all.Bytes()
}

// secrets are all that a stack has: what its state keeps, what its nodes made, and the state's own passphrase.
func (s *stack) secrets(t *testing.T) *needles {
	t.Helper()
	n := &needles{}
	for name, text := range s.stateSecrets(t) {
		n.add(t, name, text)
	}
	for _, machine := range s.status(t).Nodes {
		for _, key := range strings.Fields(docker(t, "exec", machine.ID, "sh", "-c", "ls /var/lib/devctl/pki/*.key")) {
			n.add(t, machine.Name+" "+filepath.Base(key), docker(t, "exec", machine.ID, "cat", key))
		}
	}
	passphrase, err := os.ReadFile(filepath.Join(s.home, "passphrase"))
	if err != nil {
		t.Fatal(err)
	}
	n.add(t, "passphrase", strings.TrimSpace(string(passphrase)))
	if len(n.names) < 5+5+3*3+5+1 { // passwords; keys of the authority, the person and each role; of mains, of others; the passphrase
		t.Fatalf("only %d secrets are known: %v", len(n.names), n.names)
	}
	return n
}

// stateSecrets asks the engine for what it keeps encrypted.
func (s *stack) stateSecrets(t *testing.T) map[string]string {
	t.Helper()
	cmd := exec.Command(filepath.Join(filepath.Dir(s.binary), "pulumi"), "stack", "export", "--show-secrets", "--stack", s.name)
	cmd.Dir = filepath.Join(s.home, "stacks", "devctl", s.name)
	cmd.Env = append(os.Environ(), "PULUMI_HOME="+t.TempDir(), "PULUMI_BACKEND_URL=file://"+filepath.Join(s.home, "state")+"?metadata=skip",
		"PULUMI_CONFIG_PASSPHRASE_FILE="+filepath.Join(s.home, "passphrase"), "PULUMI_SKIP_UPDATE_CHECK=true")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("export the state: %v", err)
	}
	var state struct {
		Deployment struct {
			Resources []struct {
				Type    string
				Outputs map[string]any
			}
		}
	}
	if err := json.Unmarshal(out, &state); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	var walk func(name string, value any)
	walk = func(name string, value any) {
		switch v := value.(type) {
		case string:
			found[strings.TrimPrefix(name, "secrets.")] = v
		case map[string]any:
			for key, inner := range v {
				walk(name+"."+key, inner)
			}
		}
	}
	for _, r := range state.Deployment.Resources {
		for name, output := range r.Outputs {
			wrapped, _ := output.(map[string]any)
			text, secret := wrapped["plaintext"].(string)
			if secret && (r.Type == "pulumi:pulumi:Stack" || r.Type == "devctl:pki:Authority") {
				var value any
				if err := json.Unmarshal([]byte(text), &value); err != nil {
					t.Fatal(err)
				}
				walk(name, value)
			}
		}
	}
	return found
}
