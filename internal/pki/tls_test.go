package pki_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"devctl/internal/pki"
)

// handshake connects client to server over loopback and returns what each side said.
func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = conn.Close() }()
		s := tls.Server(conn, server)
		if err := s.HandshakeContext(ctx); err != nil {
			done <- err
			return
		}
		_, err = s.Write([]byte("ok"))
		done <- err
	}()
	conn, err := (&tls.Dialer{Config: client}).DialContext(ctx, "tcp", l.Addr().String())
	if err == nil {
		// In TLS 1.3 a client learns only from its first read that its certificate was refused.
		_, err = io.ReadFull(conn, make([]byte, 2))
		_ = conn.Close()
	}
	return <-done, err
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca, strange := authority(t, "alpha"), authority(t, "beta")
	issue := func(ca pki.Pair, p pki.Profile, now time.Time) pki.Pair {
		pair, err := ca.Issue(p, now)
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	loopback := pki.Profile{CommonName: "root", Addresses: []string{"127.0.0.1"}, Server: true}
	elsewhere := pki.Profile{CommonName: "root", Addresses: []string{"198.18.0.11"}, Server: true}
	admin := pki.Profile{CommonName: "admin", Client: true}
	noClient := pki.Profile{CommonName: "admin", Server: true}

	good, goodClient := issue(ca, loopback, now), issue(ca, admin, now)
	for _, tc := range []struct {
		name           string
		server, client pki.Pair
		trusts         pki.Pair // the authority the client believes in
		wantServer     string
		wantClient     string
	}{
		{name: "both known", server: good, client: goodClient, trusts: ca},
		{name: "client of another stack", server: good, client: issue(strange, admin, now), trusts: ca,
			// The server names the authority it accepts, and Go's client does not even offer another's certificate.
			wantServer: "client didn't provide a certificate", wantClient: "certificate required"},
		{name: "server of another stack", server: issue(strange, loopback, now), client: goodClient, trusts: ca,
			wantClient: "certificate signed by unknown authority", wantServer: "bad certificate"},
		{name: "server at another address", server: issue(ca, elsewhere, now), client: goodClient, trusts: ca,
			wantClient: "certificate is valid for 198.18.0.11, not 127.0.0.1", wantServer: "bad certificate"},
		{name: "certificate that is for servers only", server: good, client: issue(ca, noClient, now), trusts: ca,
			wantServer: "incompatible key usage", wantClient: "bad certificate"},
		{name: "expired client", server: good, client: issue(ca, admin, now.AddDate(-1, 0, -1)), trusts: ca,
			wantServer: "certificate has expired", wantClient: "expired certificate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server, err := pki.ServerTLS(ca.Cert, tc.server)
			if err != nil {
				t.Fatal(err)
			}
			client, err := pki.ClientTLS(tc.trusts.Cert, tc.client)
			if err != nil {
				t.Fatal(err)
			}
			serverErr, clientErr := handshake(t, server, client)
			expect(t, "server", serverErr, tc.wantServer)
			expect(t, "client", clientErr, tc.wantClient)
		})
	}

	t.Run("no certificate", func(t *testing.T) {
		t.Parallel()
		server, err := pki.ServerTLS(ca.Cert, good)
		if err != nil {
			t.Fatal(err)
		}
		client, err := pki.ClientTLS(ca.Cert, goodClient)
		if err != nil {
			t.Fatal(err)
		}
		client.Certificates = nil
		serverErr, clientErr := handshake(t, server, client)
		expect(t, "server", serverErr, "client didn't provide a certificate")
		expect(t, "client", clientErr, "certificate required")
	})

	t.Run("old protocol", func(t *testing.T) {
		t.Parallel()
		server, err := pki.ServerTLS(ca.Cert, good)
		if err != nil {
			t.Fatal(err)
		}
		client, err := pki.ClientTLS(ca.Cert, goodClient)
		if err != nil {
			t.Fatal(err)
		}
		client.MinVersion, client.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		serverErr, clientErr := handshake(t, server, client)
		expect(t, "server", serverErr, "client offered only unsupported versions")
		expect(t, "client", clientErr, "protocol version not supported")
	})
}

func expect(t *testing.T, side string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", side, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: got error %v, want %s", side, err, want)
	}
}

// insist sends its certificate whether or not the server says that it accepts the issuer.
func insist(c *tls.Config) {
	cert := c.Certificates[0]
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
}

func TestServerRefusesForeignCertificate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca, strange := authority(t, "alpha"), authority(t, "beta")
	pair, err := ca.Issue(pki.Profile{CommonName: "root", Addresses: []string{"127.0.0.1"}, Server: true}, now)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := strange.Issue(pki.Profile{CommonName: "admin", Client: true}, now)
	if err != nil {
		t.Fatal(err)
	}
	server, err := pki.ServerTLS(ca.Cert, pair)
	if err != nil {
		t.Fatal(err)
	}
	client, err := pki.ClientTLS(ca.Cert, foreign)
	if err != nil {
		t.Fatal(err)
	}
	insist(client)
	serverErr, clientErr := handshake(t, server, client)
	expect(t, "server", serverErr, "certificate signed by unknown authority")
	expect(t, "client", clientErr, "unknown certificate authority")
}

func TestTLSNeedsMaterial(t *testing.T) {
	t.Parallel()
	ca := authority(t, "local")
	pair, err := ca.Issue(pki.Profile{CommonName: "x"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.ServerTLS("", pair); err == nil || err.Error() != "load authority: no certificate in it" {
		t.Errorf("no authority: %v", err)
	}
	if _, err := pki.ClientTLS(ca.Cert, pki.Pair{}); err == nil || !strings.HasPrefix(err.Error(), "load certificate: tls: ") {
		t.Errorf("no certificate: %v", err)
	}
}
