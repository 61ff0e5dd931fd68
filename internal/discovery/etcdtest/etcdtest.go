// Package etcdtest runs real etcd members on loopback for tests.
package etcdtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Member is one etcd process. It can be stopped and started again; its ports and data stay.
type Member struct {
	Name    string
	Client  string // URL
	Peer    string // URL
	DataDir string
	// Env is added to the process's environment, for example ETCD_INITIAL_CLUSTER.
	Env []string
	// Args are added to the command line.
	Args []string

	t    testing.TB
	bin  string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	log  *buffer
}

// Start runs a cluster of one member and returns when it serves.
func Start(t testing.TB) *Member {
	t.Helper()
	m := New(t, "main-1")
	m.Env = []string{"ETCD_INITIAL_CLUSTER=" + m.Name + "=" + m.Peer, "ETCD_INITIAL_CLUSTER_STATE=new"}
	m.Start()
	m.WaitHealthy()
	return m
}

// New prepares a member without starting it. The test's end stops it.
func New(t testing.TB, name string) *Member {
	t.Helper()
	m := &Member{
		Name:    name,
		Client:  "http://" + freeAddress(t),
		Peer:    "http://" + freeAddress(t),
		DataDir: filepath.Join(t.TempDir(), name),
		t:       t,
		bin:     binary(t),
	}
	t.Cleanup(m.Stop)
	return m
}

// Start starts the process. It does not wait.
func (m *Member) Start() {
	m.t.Helper()
	args := append([]string{
		"--name=" + m.Name, "--data-dir=" + m.DataDir, "--log-level=warn",
		"--listen-client-urls=" + m.Client, "--advertise-client-urls=" + m.Client,
		"--listen-peer-urls=" + m.Peer, "--initial-advertise-peer-urls=" + m.Peer,
	}, m.Args...)
	m.log = &buffer{}
	m.cmd = exec.Command(m.bin, args...)
	m.cmd.Env = append(os.Environ(), m.Env...)
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		m.t.Fatalf("start etcd %s: %v", m.Name, err)
	}
	m.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(m.cmd, m.done)
}

// Stop kills the process, as a machine that dies would, and waits for its end.
func (m *Member) Stop() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill()
	<-m.done
	m.cmd = nil
}

// Exited is closed when the process has ended by itself or by Stop.
func (m *Member) Exited() <-chan struct{} { return m.done }

// Log is what the process has written.
func (m *Member) Log() string { return m.log.String() }

// WaitHealthy waits until the member serves with a quorum.
func (m *Member) WaitHealthy() {
	m.t.Helper()
	cli := Dial(m.t, m)
	Eventually(m.t, 20*time.Second, func() error {
		select {
		case <-m.done:
			m.t.Fatalf("etcd %s ended:\n%s", m.Name, m.Log())
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := cli.Get(ctx, "health")
		return err
	})
}

// Dial makes a client that the test's end closes.
func Dial(t testing.TB, members ...*Member) *clientv3.Client {
	t.Helper()
	var endpoints []string
	for _, m := range members {
		endpoints = append(endpoints, m.Client)
	}
	cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 2 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cli.Close() })
	return cli
}

// Eventually asks check until it returns nil. It fails the test with the last error after limit.
func Eventually(t testing.TB, limit time.Duration, check func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", limit, err)
		}
		<-tick.C
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// binary finds bin/etcd of this repository.
func binary(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
	path := filepath.Join(dir, "bin", "etcd")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	return path
}

// buffer keeps the last part of what a process writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// InitialCluster is the value of ETCD_INITIAL_CLUSTER for a static bootstrap of members.
func InitialCluster(members ...*Member) string {
	var parts []string
	for _, m := range members {
		parts = append(parts, fmt.Sprintf("%s=%s", m.Name, m.Peer))
	}
	return strings.Join(parts, ",")
}
