package e2e

import (
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"devctl/internal/api"
	"devctl/internal/discovery"
	"devctl/internal/pki"
)

// pair is a certificate of a node, with its key: node, or on mains etcd or controller.
func (s *stack) pair(t *testing.T, name, of string) pki.Pair {
	t.Helper()
	id := node(t, s.status(t), name).ID
	read := func(end string) string { return docker(t, "exec", id, "cat", api.NodePKIDir+"/"+of+end) + "\n" }
	return pki.Pair{Cert: read(".crt"), Key: read(".key")}
}

// authority is the certificate of the stack's authority.
func (s *stack) authority(t *testing.T) string {
	t.Helper()
	return docker(t, "exec", node(t, s.status(t), "main-1").ID, "cat", api.PKIDir+"/ca.crt") + "\n"
}

// etcd is a client of the stack's etcd that identifies itself by the certificate.
func (s *stack) etcd(t *testing.T, p pki.Pair) *clientv3.Client {
	t.Helper()
	config, err := pki.ClientTLS(s.authority(t), p)
	if err != nil {
		t.Fatal(err)
	}
	var mains []api.Peer
	for _, n := range s.status(t).Nodes {
		if n.Role == api.RoleMain {
			mains = append(mains, api.Peer{Name: n.Name, Address: n.Address})
		}
	}
	cli, err := discovery.Dial(discovery.Endpoints(mains), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cli.Close() })
	return cli
}
