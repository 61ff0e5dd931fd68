// Package etcdmember decides how the etcd of a main node starts: again with its own data, as a founder of a new
// cluster, or as a learner of the cluster that is there. It never forms a second cluster, and never votes with an
// empty disk under the name of a member that had one.
package etcdmember

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/atomicfile"
	"devctl/internal/backoff"
	"devctl/internal/discovery"
)

// askTimeout bounds one question to other members.
const askTimeout = 2 * time.Second

// knockTimeout bounds the wait for somebody to take a connection at all. On the first start of all mains nobody is
// there yet, and every one of them would wait for the whole askTimeout to learn that.
const knockTimeout = 300 * time.Millisecond

// aheadTimeout is how long founders let the first of them go ahead. An etcd that begins takes connections before it answers them, and asks
// the others in between, one second each: of founders that begin at the same time, all wait for one another (etcd v3.7,
// getClusterFromRemotePeers). Once one serves its peers, which takes no quorum, nobody waits.
const aheadTimeout = 3 * time.Second

// Member is a main node's etcd as the others reach it.
type Member struct {
	Name   string
	Client string // URL
	Peer   string // URL
}

// Members are the etcd members of the main nodes.
func Members(mains []api.Peer) []Member {
	clients := discovery.Endpoints(mains)
	out := make([]Member, len(mains))
	for i, m := range mains {
		peer := "https://" + net.JoinHostPort(m.Address, strconv.Itoa(api.EtcdPeerPort))
		out[i] = Member{Name: m.Name, Client: clients[i], Peer: peer}
	}
	return out
}

// Config describes the member of this machine and its surroundings.
type Config struct {
	Name    string   // one of Members
	Members []Member // all main nodes
	// Found allows to form a new cluster with all Members. It is set on the machines that a stack begins with and
	// on no machine that replaces one.
	Found   bool
	DataDir string
	EnvFile string // where Prepare leaves etcd's environment
	// TLS identifies this machine as etcd's root user: with authentication on, nobody else may change members.
	TLS *tls.Config
	// PeerTLS identifies it as a member, to other members.
	PeerTLS *tls.Config
	Log     *slog.Logger
}

func (c Config) self() (Member, []Member, error) {
	i := slices.IndexFunc(c.Members, func(m Member) bool { return m.Name == c.Name })
	if i < 0 {
		return Member{}, nil, fmt.Errorf("%q is not among the main nodes %v", c.Name, c.Members)
	}
	return c.Members[i], slices.Delete(slices.Clone(c.Members), i, i+1), nil
}

// Prepare gets the data directory ready and writes etcd's environment: ETCD_INITIAL_CLUSTER and
// ETCD_INITIAL_CLUSTER_STATE, or nothing where the data says it all. When it has to join it waits until a quorum
// of the others has let it in, for as long as ctx allows.
func Prepare(ctx context.Context, c Config) error {
	self, others, err := c.self()
	if err != nil {
		return err
	}
	has, err := HasData(c.DataDir)
	if err != nil {
		return err
	}
	if has {
		removed, err := c.wasRemoved(ctx, self, others)
		if err != nil {
			c.Log.Info("no quorum of the other members answers, starting with the data that is here", "error", err)
		}
		if !removed {
			return c.writeEnv("", "")
		}
		c.Log.Warn("the cluster has removed this member, its data is of no use any more")
	}
	// Without a write-ahead log whatever is left comes from a start that failed.
	if err := os.RemoveAll(filepath.Join(c.DataDir, "member")); err != nil {
		return fmt.Errorf("clear etcd's data: %w", err)
	}
	if c.Found && !has {
		if !c.clusterExists(ctx, self, others) {
			return c.writeEnv(foundersOf(c.Members), "new")
		}
		c.Log.Info("the cluster exists already, joining it")
	}
	members, err := c.join(ctx, self, others)
	if err != nil {
		return err
	}
	return c.writeEnv(c.clusterOf(self, members), "existing")
}

// HasData tells whether a member has run on the data directory. Only the write-ahead log counts, as for etcd
// itself: a start that failed leaves a database without one.
func HasData(dataDir string) (bool, error) {
	entries, err := os.ReadDir(filepath.Join(dataDir, "member", "wal"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for etcd's data: %w", err)
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return filepath.Ext(e.Name()) == ".wal" }), nil
}

// wasRemoved asks a quorum, once, whether this member still belongs to the cluster. No answer is no reason to
// throw data away.
func (c Config) wasRemoved(ctx context.Context, self Member, others []Member) (bool, error) {
	if len(others) == 0 {
		return false, nil
	}
	cli, err := c.dial(others)
	if err != nil {
		return false, err
	}
	defer func() { _ = cli.Close() }()
	members, err := list(ctx, cli)
	if err != nil {
		return false, err
	}
	return find(members, self) == nil, nil
}

// clusterExists asks the other founders whether they know more than a first start of this member to come. Nobody's answer
// is an answer when they have had the time to go ahead.
func (c Config) clusterExists(ctx context.Context, self Member, others []Member) bool {
	waiting, cancel := context.WithTimeout(ctx, aheadTimeout)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: c.PeerTLS, DialContext: (&net.Dialer{Timeout: knockTimeout}).DialContext}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: askTimeout}
	retry := backoff.Backoff{Min: 20 * time.Millisecond, Max: 100 * time.Millisecond}
	for {
		if exists, answered := c.askPeers(ctx, client, self, others); answered {
			return exists
		}
		if self == c.Members[0] || retry.Wait(waiting) != nil {
			return false
		}
	}
}

// askPeers asks every other main node by itself whether its etcd knows this member otherwise than as a founder that has not started.
// It asks where members talk to one another: there they answer without a quorum, too.
func (c Config) askPeers(ctx context.Context, client *http.Client, self Member, others []Member) (exists, answered bool) {
	answers := make(chan []*pb.Member, len(others))
	for _, other := range others {
		go func() {
			members, err := peerMembers(ctx, client, other)
			if err != nil {
				c.Log.Debug("no answer", "member", other.Name, "error", err)
			}
			answers <- members
		}()
	}
	for range others {
		members := <-answers
		if len(members) == 0 {
			continue // not there yet
		}
		m := find(members, self)
		exists = exists || m == nil || m.IsLearner || len(m.ClientURLs) > 0
		answered = true
	}
	return exists, answered
}

// peerMembers asks a member for what it knows of the cluster, as etcd itself does when it begins.
func peerMembers(ctx context.Context, client *http.Client, m Member) ([]*pb.Member, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Peer+"/members", nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", request.URL, response.Status)
	}
	var members []*pb.Member // the fields that it has are called the same
	if err := json.NewDecoder(io.LimitReader(response.Body, maxMembers)).Decode(&members); err != nil {
		return nil, fmt.Errorf("GET %s: %w", request.URL, err)
	}
	return members, nil
}

// maxMembers bounds what is read of an answer, in bytes.
const maxMembers = 1 << 20

// join gets this member into the cluster of the others, and returns the cluster's members.
func (c Config) join(ctx context.Context, self Member, others []Member) ([]*pb.Member, error) {
	cli, err := c.dial(others)
	if err != nil {
		return nil, err
	}
	defer func() { _ = cli.Close() }()
	retry := backoff.Backoff{Min: 200 * time.Millisecond, Max: 5 * time.Second}
	for {
		members, err := c.enter(ctx, cli, self)
		if err == nil {
			return members, nil
		}
		// Whatever it is (no quorum yet, another learner first, a member being replaced at the same time), the
		// next attempt begins with what the cluster then says.
		c.Log.Warn("cannot join the etcd cluster yet, trying on", "error", err)
		if err := retry.Wait(ctx); err != nil {
			return nil, fmt.Errorf("join the etcd cluster: %w", err)
		}
	}
}

// enter makes one attempt: the member that had this machine's place is removed, and a learner takes it.
func (c Config) enter(ctx context.Context, cli *clientv3.Client, self Member) ([]*pb.Member, error) {
	members, err := list(ctx, cli)
	if err != nil {
		return nil, err
	}
	if m := find(members, self); m != nil {
		if len(m.ClientURLs) == 0 && slices.Equal(m.PeerURLs, []string{self.Peer}) {
			return members, nil // let in earlier, and never started
		}
		// It ran, and its data is gone: its vote must not come from an empty disk. Remove first, add then;
		// adding first would raise the quorum while one is missing.
		c.Log.Info("removing the member that had this place", "member", m.Name, "id", strconv.FormatUint(m.ID, 16))
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		if _, err := cli.MemberRemove(ctx, m.ID); err != nil {
			return nil, fmt.Errorf("remove stale member %q: %w", m.Name, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	resp, err := cli.MemberAddAsLearner(ctx, []string{self.Peer})
	if err != nil {
		return nil, fmt.Errorf("add learner %s: %w", self.Peer, err)
	}
	c.Log.Info("joined as learner", "id", strconv.FormatUint(resp.Member.ID, 16))
	return resp.Members, nil
}

func (c Config) dial(members []Member) (*clientv3.Client, error) {
	urls := make([]string, len(members))
	for i, m := range members {
		urls[i] = m.Client
	}
	return discovery.Dial(urls, c.TLS)
}

// list asks a quorum for the members.
func list(ctx context.Context, cli *clientv3.Client) ([]*pb.Member, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	resp, err := cli.MemberList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list etcd members: %w", err)
	}
	return resp.Members, nil
}

// find returns the member with self's address or name. A learner that has not started yet has no name.
func find(members []*pb.Member, self Member) *pb.Member {
	for _, m := range members {
		if m.Name == self.Name || slices.Contains(m.PeerURLs, self.Peer) {
			return m
		}
	}
	return nil
}

// foundersOf is ETCD_INITIAL_CLUSTER for a new cluster.
func foundersOf(members []Member) string {
	parts := make([]string, len(members))
	for i, m := range members {
		parts[i] = m.Name + "=" + m.Peer
	}
	return strings.Join(parts, ",")
}

// clusterOf is ETCD_INITIAL_CLUSTER for a member that joins: etcd compares it with what the others say.
func (c Config) clusterOf(self Member, members []*pb.Member) string {
	var parts []string
	for _, m := range members {
		name := m.Name
		for _, known := range c.Members {
			if slices.Contains(m.PeerURLs, known.Peer) {
				name = known.Name
			}
		}
		if slices.Contains(m.PeerURLs, self.Peer) {
			name = self.Name
		}
		for _, u := range m.PeerURLs {
			parts = append(parts, name+"="+u)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

func (c Config) writeEnv(cluster, state string) error {
	var text string
	if state != "" {
		text = "ETCD_INITIAL_CLUSTER=" + cluster + "\nETCD_INITIAL_CLUSTER_STATE=" + state + "\n"
	}
	return atomicfile.Write(c.EnvFile, []byte(text), 0o644)
}
