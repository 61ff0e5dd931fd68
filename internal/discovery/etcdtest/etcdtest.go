// Package etcdtest runs real etcd members on loopback for tests.
package etcdtest

import (
	"bytes"
	"context"
	"crypto/tls"
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

	"devctl/internal/pki"
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
	// TLS is for clients, PeerTLS for other members; nil where the member talks plain HTTP.
	TLS, PeerTLS *tls.Config

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
		bin:     Binary(t, "etcd"),
	}
	t.Cleanup(m.Stop)
	return m
}

// Authority is a certificate authority for members and their clients.
type Authority struct {
	t    testing.TB
	pair pki.Pair
	dir  string
}

// NewAuthority makes one.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	pair, err := pki.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{t: t, pair: pair, dir: t.TempDir()}
	if err := pair.Store(a.dir, "ca"); err != nil {
		t.Fatal(err)
	}
	member := pki.Profile{CommonName: "etcd", Organization: "devctl:etcd", Addresses: []string{"127.0.0.1"}, Server: true, Client: true}
	own, err := pair.Issue(member, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := own.Store(a.dir, "etcd"); err != nil {
		t.Fatal(err)
	}
	return a
}

// Client makes the TLS configuration of a client with the given common name, which is etcd's user.
func (a *Authority) Client(commonName string) *tls.Config {
	a.t.Helper()
	pair, err := a.pair.Issue(pki.Profile{CommonName: commonName, Client: true}, time.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	config, err := pki.ClientTLS(a.pair.Cert, pair)
	if err != nil {
		a.t.Fatal(err)
	}
	return config
}

// Secure makes a member that has not been started demand certificates of the authority, from clients and peers.
func (m *Member) Secure(a *Authority) {
	m.Client = strings.Replace(m.Client, "http://", "https://", 1)
	m.Peer = strings.Replace(m.Peer, "http://", "https://", 1)
	ca, cert, key := filepath.Join(a.dir, "ca.crt"), filepath.Join(a.dir, "etcd.crt"), filepath.Join(a.dir, "etcd.key")
	m.Args = append(m.Args,
		"--client-cert-auth", "--trusted-ca-file="+ca, "--cert-file="+cert, "--key-file="+key,
		"--peer-client-cert-auth", "--peer-trusted-ca-file="+ca, "--peer-cert-file="+cert, "--peer-key-file="+key,
		"--peer-cert-allowed-cn=etcd")
	m.TLS, m.PeerTLS = a.Client("root"), a.Client("etcd")
}

// EnableAuth switches etcd's authentication on, with the user root.
func EnableAuth(t testing.TB, cli *clientv3.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := cli.UserAddWithOptions(ctx, "root", "", &clientv3.UserAddOptions{NoPassword: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := cli.RoleAdd(ctx, "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := cli.UserGrantRole(ctx, "root", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := cli.AuthEnable(ctx); err != nil {
		t.Fatal(err)
	}
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
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, TLS: members[0].TLS, DialTimeout: 2 * time.Second, Logger: zap.NewNop(),
	})
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

// ports hands out ports below the range that the kernel takes for outgoing connections (32768 and up): a member that
// is restarted must find its port free. Processes begin at different places.
var ports = struct {
	sync.Mutex
	next int
}{next: os.Getpid() * 61 % portSpan}

const firstPort, portSpan = 20000, 12000

func freeAddress(t testing.TB) string {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	for range portSpan {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+ports.next)
		ports.next = (ports.next + 1) % portSpan
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// Binary finds one of etcd's programs in bin of this repository.
func Binary(t testing.TB, name string) string {
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
	path := filepath.Join(dir, "bin", name)
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
