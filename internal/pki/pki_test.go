package pki_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/pki"
)

func authority(t *testing.T, stack string) pki.Pair {
	t.Helper()
	ca, err := pki.NewAuthority(stack, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func parse(t *testing.T, certPEM string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(certPEM))
	if block == nil {
		t.Fatalf("no PEM in %q", certPEM)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestIssue(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca := authority(t, "local")
	for _, tc := range []struct {
		name    string
		profile pki.Profile
		host    string
		uses    []x509.ExtKeyUsage
		life    time.Duration
	}{
		{
			name: "etcd member",
			profile: pki.Profile{CommonName: "etcd", Organization: "devctl:etcd",
				Addresses: []string{"198.18.0.11", "127.0.0.1", "localhost"}, Server: true, Client: true},
			host: "198.18.0.11",
			uses: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			life: 365 * 24 * time.Hour,
		},
		{
			name:    "command line",
			profile: pki.Profile{CommonName: "admin", Organization: "devctl:admin", Client: true, Validity: time.Hour},
			uses:    []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			life:    time.Hour,
		},
		{
			name: "never longer than the authority",
			profile: pki.Profile{CommonName: "localhost", Addresses: []string{"localhost"}, Server: true,
				Validity: 100 * 365 * 24 * time.Hour},
			host: "localhost",
			uses: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			life: 10 * 365 * 24 * time.Hour,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			pair, err := ca.Issue(tc.profile, now)
			if err != nil {
				t.Fatal(err)
			}
			cert := parse(t, pair.Cert)
			roots := x509.NewCertPool()
			roots.AddCert(parse(t, ca.Cert))
			opts := x509.VerifyOptions{Roots: roots, DNSName: tc.host, KeyUsages: tc.uses}
			if _, err := cert.Verify(opts); err != nil {
				t.Errorf("certificate does not verify: %v", err)
			}
			if diff := cmp.Diff(tc.uses, cert.ExtKeyUsage); diff != "" {
				t.Errorf("uses (-want +got):\n%s", diff)
			}
			if cert.Subject.CommonName != tc.profile.CommonName || cert.IsCA {
				t.Errorf("subject %v, authority %v", cert.Subject, cert.IsCA)
			}
			if got := cert.NotAfter.Sub(now); got > tc.life || got < tc.life-time.Minute {
				t.Errorf("valid for %v, want %v", got, tc.life)
			}
			if !cert.NotBefore.Before(now) {
				t.Errorf("not valid before %v, want some time before %v", cert.NotBefore, now)
			}
		})
	}
}

func TestSerialsDiffer(t *testing.T) {
	t.Parallel()
	ca := authority(t, "local")
	seen := map[string]bool{}
	for range 8 {
		pair, err := ca.Issue(pki.Profile{CommonName: "x"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		serial := parse(t, pair.Cert).SerialNumber
		if seen[serial.String()] || serial.BitLen() < 64 {
			t.Errorf("serial number %v repeats or is short", serial)
		}
		seen[serial.String()] = true
	}
}

func TestSign(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca := authority(t, "local")
	csr, key, err := pki.NewRequest("data-1")
	if err != nil {
		t.Fatal(err)
	}
	profile := pki.Profile{CommonName: "data-1", Organization: "devctl:data", Addresses: []string{"198.18.0.101"}, Client: true, Server: true}
	certPEM, err := ca.Sign(csr, profile, now)
	if err != nil {
		t.Fatal(err)
	}
	cert := parse(t, certPEM)
	if cert.Subject.CommonName != "data-1" || cert.Subject.Organization[0] != "devctl:data" {
		t.Errorf("subject is %v", cert.Subject)
	}
	if err := (pki.Pair{Cert: certPEM, Key: key}).Store(t.TempDir(), "node"); err != nil {
		t.Fatal(err)
	}

	strange, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: "data-1"}}, strange)
	if err != nil {
		t.Fatal(err)
	}
	p384 := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	block, _ := pem.Decode([]byte(csr))
	block.Bytes[len(block.Bytes)-1] ^= 1
	forged := string(pem.EncodeToMemory(block))

	for _, tc := range []struct {
		name, csr, commonName, want string
	}{
		{"another's name", csr, "data-2", `certificate request is of "data-1", want "data-2"`},
		{"no PEM", "hello", "data-1", "no PEM block, want a CERTIFICATE REQUEST"},
		{"a certificate", certPEM, "data-1", "PEM block is a CERTIFICATE, want a CERTIFICATE REQUEST"},
		{"another curve", p384, "data-1", `certificate request of "data-1" has a ECDSA key, want ECDSA P-256`},
		{"forged signature", forged, "data-1", `check certificate request of "data-1": `},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := ca.Sign(tc.csr, pki.Profile{CommonName: tc.commonName}, now)
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got error %v, want %s", err, tc.want)
			}
		})
	}
}

func TestOnlyAnAuthoritySigns(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ca := authority(t, "local")
	leaf, err := ca.Issue(pki.Profile{CommonName: "worker-1", Client: true}, now)
	if err != nil {
		t.Fatal(err)
	}
	old, err := pki.NewAuthority("old", now.AddDate(-11, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		issuer pki.Pair
		want   string
	}{
		{"leaf", leaf, `certificate of "worker-1" is no authority`},
		{"expired", old, `authority "devctl old" expired at `},
		{"no key", pki.Pair{Cert: ca.Cert}, "read authority: no PEM block, want a PRIVATE KEY"},
		{"nothing", pki.Pair{}, "read authority: no PEM block, want a CERTIFICATE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := tc.issuer.Issue(pki.Profile{CommonName: "x"}, now)
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got error %v, want %s", err, tc.want)
			}
		})
	}
}

func TestRenewAt(t *testing.T) {
	t.Parallel()
	now := time.Now()
	pair, err := authority(t, "local").Issue(pki.Profile{CommonName: "x", Validity: 90 * 24 * time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	expires, err := pair.Expires()
	if err != nil {
		t.Fatal(err)
	}
	renew, err := pair.RenewAt()
	if err != nil {
		t.Fatal(err)
	}
	if left := expires.Sub(renew).Round(24 * time.Hour); left != 30*24*time.Hour {
		t.Errorf("renewed with %v left, want a third of 90 days", left)
	}
}

func TestIssuedBy(t *testing.T) {
	t.Parallel()
	ca, other := authority(t, "alpha"), authority(t, "beta")
	pair, err := ca.Issue(pki.Profile{CommonName: "data-1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := pair.IssuedBy(ca.Cert); err != nil {
		t.Errorf("by its own authority: %v", err)
	}
	err = pair.IssuedBy(other.Cert)
	if want := `certificate of "data-1" is not by "devctl beta": `; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("by another authority: %v, want %s", err, want)
	}
	if err := pair.IssuedBy(""); err == nil || err.Error() != "read authority: no PEM block, want a CERTIFICATE" {
		t.Errorf("by nobody: %v", err)
	}
}

func TestStoreAndLoad(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pki")
	if _, err := pki.Load(dir, "node"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("load of nothing: %v, want fs.ErrNotExist", err)
	}
	ca := authority(t, "local")
	want, err := ca.Issue(pki.Profile{CommonName: "data-1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := want.Store(dir, "node"); err != nil {
		t.Fatal(err)
	}
	got, err := pki.Load(dir, "node")
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Error("the pair changed on its way through the files")
	}
	for file, mode := range map[string]fs.FileMode{"": fs.ModeDir | 0o700, "node.key": 0o600, "node.crt": 0o644} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != mode {
			t.Errorf("mode of %q is %v, want %v", file, info.Mode(), mode)
		}
	}

	other, err := ca.Issue(pki.Profile{CommonName: "data-1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := (pki.Pair{Cert: want.Cert, Key: other.Key}).Store(dir, "node"); err != nil {
		t.Fatal(err)
	}
	_, err = pki.Load(dir, "node")
	if err == nil || !strings.Contains(err.Error(), `load certificate "node": tls: private key does not match public key`) {
		t.Errorf("load of a mixed pair: %v", err)
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	ca := authority(t, "local")
	pair, err := ca.Issue(pki.Profile{CommonName: "root", Addresses: []string{"198.18.0.11", "controller.devctl"}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := pair.Covers([]string{"controller.devctl", "198.18.0.11"}); err != nil {
		t.Error(err)
	}
	for address, want := range map[string]string{
		"198.18.0.12": `certificate of "root" is not for 198.18.0.12`,
		"localhost":   `certificate of "root" is not for localhost`,
	} {
		if err := pair.Covers([]string{"198.18.0.11", address}); err == nil || err.Error() != want {
			t.Errorf("error = %v, want %s", err, want)
		}
	}
}
