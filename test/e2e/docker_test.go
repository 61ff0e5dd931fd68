package e2e

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// front is a Docker socket that can die: what comes in goes to the real one until it is shut.
type front struct {
	t      *testing.T
	socket string

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	serving  sync.WaitGroup
}

// newFront opens a socket that answers as Docker's does.
func newFront(t *testing.T) *front {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2edocker") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	f := &front{t: t, socket: filepath.Join(dir, "docker.sock"), conns: map[net.Conn]bool{}}
	f.open()
	t.Cleanup(func() {
		f.shut()
		_ = os.RemoveAll(dir)
	})
	return f
}

func (f *front) open() {
	f.t.Helper()
	listener, err := net.Listen("unix", f.socket)
	if err != nil {
		f.t.Fatal(err)
	}
	f.mu.Lock()
	f.listener = listener
	f.mu.Unlock()
	f.serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			f.serving.Go(func() { f.serve(c) })
		}
	})
}

// overTCP lets the front be reached at an address on this machine, too, until the test ends, and returns it as DOCKER_HOST.
func (f *front) overTCP() string {
	f.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			f.serving.Go(func() { f.serve(c) })
		}
	}()
	return "tcp://" + listener.Addr().String()
}

// serve carries bytes both ways until one side, or shut, ends it.
func (f *front) serve(client net.Conn) {
	docker, err := net.Dial("unix", "/var/run/docker.sock")
	if err != nil {
		client.Close()
		return
	}
	f.mu.Lock()
	open := f.listener != nil
	f.conns[client], f.conns[docker] = true, true
	f.mu.Unlock()
	end := func() { client.Close(); docker.Close() }
	if !open {
		end()
	}
	var both sync.WaitGroup
	carry := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		// The end of one direction is not that of the other: attached streams are closed one by one.
		if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
			_ = half.CloseWrite()
			return
		}
		end()
	}
	both.Go(func() { carry(docker, client) })
	both.Go(func() { carry(client, docker) })
	both.Wait()
	end()
	f.mu.Lock()
	delete(f.conns, client)
	delete(f.conns, docker)
	f.mu.Unlock()
}

// shut is the death of Docker: every connection breaks off, and nobody listens any more.
func (f *front) shut() {
	f.mu.Lock()
	if f.listener != nil {
		f.listener.Close() // which removes the socket
	}
	f.listener = nil
	for c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	f.serving.Wait()
}

func TestNoDocker(t *testing.T) {
	t.Parallel()
	s := newStack(t, "e2enodocker", "198.18.97.0/24")
	with := s.env
	s.env = append(s.env, "DOCKER_HOST=unix:///nonexistent/docker.sock")
	defer func() { s.env = with }()

	for command, want := range map[string][]string{
		"up":      {`this machine is not ready for stack "e2enodocker", nothing was touched:`, "Docker", "unix:///nonexistent/docker.sock", "systemctl start docker", "next: "},
		"destroy": {"Docker stopped answering", "unix:///nonexistent/docker.sock", "systemctl start docker", "next: "},
	} {
		r := s.run(t, time.Minute, command, "--yes")
		if r.code != 1 {
			t.Errorf("%s without Docker: exit %d, want 1", command, r.code)
		}
		for _, text := range want {
			if !strings.Contains(r.stderr, text) {
				t.Errorf("%s without Docker does not say %q:\n%s", command, text, r.stderr)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(s.home, "state")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a state was made without Docker: %v", err)
	}
}

// TestDockerDiesHalfWay takes Docker away at two moments of `up`, and gives it back.
func TestDockerDiesHalfWay(t *testing.T) {
	t.Parallel()
	f := newFront(t) // before the stack, which is destroyed through it when the test ends
	s := newStack(t, "e2edocker", "198.18.83.0/24")
	s.env = append(s.env, "DOCKER_HOST=unix://"+f.socket)

	for _, m := range moments(t, s)[1:4] {
		t.Run("when "+m.name, func(t *testing.T) {
			p := s.start(t, "up", "--yes")
			p.until(m.name, 2*time.Minute, func() bool { return m.reached(p) })
			f.shut()
			p.end(time.Minute, 1, "up failed:", "Docker stopped answering", "systemctl start docker", "next: ", "up goes on where it stopped")
			r := s.run(t, time.Minute, "destroy", "--yes")
			if r.code != 1 || !strings.Contains(r.stderr, "Docker stopped answering") || !strings.Contains(r.stderr, "nothing was touched") {
				t.Errorf("destroy without Docker: exit %d:\n%s", r.code, r.stderr)
			}
			f.open()
			if m.name != "all nodes exist" {
				s.must(t, 2*time.Minute, "destroy", "--yes")
				if left := s.labelled(t); len(left) > 0 {
					t.Errorf("destroy left %v", left)
				}
			}
		})
	}
	s.must(t, 2*time.Minute, "up", "--yes")
	checkStatus(t, s.status(t), 8)
}
