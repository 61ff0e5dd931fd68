package redis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"devctl/internal/api"
)

// password is what the tests use for a secret.
func password(secret string) string { return "pw" + strings.ReplaceAll(secret, "-", "") }

func credentials(user, secret string) Credentials { return Credentials{user, password(secret)} }

var adminCreds = credentials(api.RedisUserAdmin, api.SecretRedisAdmin)

var placeholder = regexp.MustCompile(`\$\{secret(-sha256)?:([a-z-]+)\}`)

// fill puts secrets in, as the agent does.
func fill(content string) string {
	return placeholder.ReplaceAllStringFunc(content, func(text string) string {
		groups := placeholder.FindStringSubmatch(text)
		value := password(groups[2])
		if groups[1] != "" {
			sum := sha256.Sum256([]byte(value))
			value = hex.EncodeToString(sum[:])
		}
		return value
	})
}

// server is a real redis-server that runs on rendered files, below a folder of the test instead of the node's.
type server struct {
	t       *testing.T
	conf    string
	data    string
	address string
	log     string
	process *exec.Cmd
}

// loopback is the test's own network of the loopback: its first three numbers. Ports are given, so that two runs of
// the tests at the same time need two networks: they differ by process.
func loopback(test int) string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d", 100+pid%100, 1+pid/100%40*6+test)
}

// newServer writes the files of a member. Nodes are addresses of the loopback network; several of them share
// 127.0.0.1, so members listen on their node's address only.
func newServer(t *testing.T, root string, spec api.RedisSpec, shard int, node, address string) *server {
	t.Helper()
	base := filepath.Join(root, node)
	files, dirs := Files(spec, shard, api.Identity{Name: node, Address: address})
	place := strings.NewReplacer(api.ServicesDir, filepath.Join(base, "services"), api.DataDir, filepath.Join(base, "data"),
		"bind "+address+" 127.0.0.1", "bind "+address)
	s := &server{t: t, address: fmt.Sprintf("%s:%d", address, api.RedisPort(shard)), data: place.Replace(dirs[0].Path)}
	s.log = filepath.Join(base, fmt.Sprintf("redis-%d.log", shard))
	for _, f := range files {
		path := place.Replace(f.Path)
		if strings.HasSuffix(path, ".conf") {
			s.conf = path
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(place.Replace(fill(f.Content))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// start runs the server until the test ends, and returns once it answers.
func (s *server) start() {
	s.t.Helper()
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		s.t.Fatal(err)
	}
	program, err := exec.LookPath("redis-server")
	if err != nil {
		s.t.Fatalf("install the Debian package redis-server: %v", err)
	}
	s.process = exec.Command(program, s.conf, "--logfile", s.log)
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	process := s.process
	s.t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	eventually(s.t, s.address+" answers", func() error {
		_, err := Inspect(s.t.Context(), s.address, adminCreds)
		if err != nil {
			log, _ := os.ReadFile(s.log)
			return fmt.Errorf("%w\n%s", err, log)
		}
		return nil
	})
}

// kill ends the server as the end of its container does: with the children that it writes files with, which have its
// port open too.
func (s *server) kill() {
	s.t.Helper()
	group := -s.process.Process.Pid
	if err := syscall.Kill(group, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	_ = s.process.Wait() // "signal: killed"
	eventually(s.t, s.address+" and its children are gone", func() error {
		if err := syscall.Kill(group, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("some are there: %v", err)
		}
		return nil
	})
}

// running tells whether the server was started and not killed since.
func (s *server) running() bool { return s.process.ProcessState == nil }

// wipe deletes what the server kept.
func (s *server) wipe() {
	s.t.Helper()
	if err := os.RemoveAll(s.data); err != nil {
		s.t.Fatal(err)
	}
}

// as connects to the server as a user, with a client that is not ours.
func (s *server) as(creds Credentials) *goredis.Client {
	client := goredis.NewClient(&goredis.Options{
		Addr: s.address, Username: creds.User, Password: creds.Password, Protocol: 2, DisableIdentity: true,
	})
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// pause stops the server without ending it, until the test ends.
func pause(t *testing.T, s *server) {
	t.Helper()
	process := s.process.Process
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Signal(syscall.SIGCONT) })
}
