// Package pki makes the certificates of a stack: one authority per stack, and short-lived ECDSA P-256 leaf
// certificates whose subject says who holds them. Everything travels as PEM text.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	authorityValidity = 10 * 365 * 24 * time.Hour
	leafValidity      = 365 * 24 * time.Hour
	// backdate lets machines whose clock is a little behind accept a certificate that was made just now.
	backdate = 5 * time.Minute
)

// Pair is a certificate and its private key, both PEM. Key is a secret.
type Pair struct{ Cert, Key string }

// Profile says what a leaf certificate is for.
type Profile struct {
	CommonName   string
	Organization string
	Addresses    []string // IP addresses and DNS names it is valid for
	Server       bool     // may identify a TLS server
	Client       bool     // may identify a TLS client
	// Validity counts from now; zero means one year. It never outlasts the authority.
	Validity time.Duration
}

// NewAuthority makes the certificate authority of a stack, valid for ten years.
func NewAuthority(stack string, now time.Time) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("generate authority key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "devctl " + stack, Organization: []string{"devctl:authority"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityValidity),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Pair{}, fmt.Errorf("create authority of stack %q: %w", stack, err)
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{Cert: encode(blockCertificate, der), Key: keyPEM}, nil
}

// Issue makes a key and a certificate for it.
func (ca Pair) Issue(p Profile, now time.Time) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("generate key of %q: %w", p.CommonName, err)
	}
	cert, err := ca.certify(key.Public(), p, now)
	if err != nil {
		return Pair{}, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{Cert: cert, Key: keyPEM}, nil
}

// NewRequest makes a key, and a request to have it certified under commonName.
func NewRequest(commonName string) (csrPEM, keyPEM string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("generate key of %q: %w", commonName, err)
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: commonName}}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return "", "", fmt.Errorf("create certificate request of %q: %w", commonName, err)
	}
	if keyPEM, err = encodeKey(key); err != nil {
		return "", "", err
	}
	return encode(blockRequest, der), keyPEM, nil
}

// Sign certifies the key of a request. Only the key is taken from the request: subject, addresses and uses
// are the profile's, and the request's common name must be the profile's.
func (ca Pair) Sign(csrPEM string, p Profile, now time.Time) (certPEM string, err error) {
	der, err := decode(blockRequest, csrPEM)
	if err != nil {
		return "", err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return "", fmt.Errorf("parse certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return "", fmt.Errorf("check certificate request of %q: %w", csr.Subject.CommonName, err)
	}
	if csr.Subject.CommonName != p.CommonName {
		return "", fmt.Errorf("certificate request is of %q, want %q", csr.Subject.CommonName, p.CommonName)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return "", fmt.Errorf("certificate request of %q has a %v key, want ECDSA P-256",
			p.CommonName, csr.PublicKeyAlgorithm)
	}
	return ca.certify(key, p, now)
}

func (ca Pair) certify(public any, p Profile, now time.Time) (string, error) {
	issuer, err := ca.certificate()
	if err != nil {
		return "", fmt.Errorf("read authority: %w", err)
	}
	issuerKey, err := ca.privateKey()
	if err != nil {
		return "", fmt.Errorf("read authority: %w", err)
	}
	if !issuer.IsCA {
		return "", fmt.Errorf("certificate of %q is no authority", issuer.Subject.CommonName)
	}
	if !now.Before(issuer.NotAfter) {
		return "", fmt.Errorf("authority %q expired at %s", issuer.Subject.CommonName, issuer.NotAfter.Format(time.RFC3339))
	}
	der, err := x509.CreateCertificate(rand.Reader, p.template(issuer.NotAfter, now), issuer, public, issuerKey)
	if err != nil {
		return "", fmt.Errorf("sign certificate of %q: %w", p.CommonName, err)
	}
	return encode(blockCertificate, der), nil
}

// template has no serial number: CreateCertificate draws a random one.
func (p Profile) template(latest, now time.Time) *x509.Certificate {
	validity := p.Validity
	if validity == 0 {
		validity = leafValidity
	}
	end := now.Add(validity)
	if end.After(latest) {
		end = latest
	}
	cert := &x509.Certificate{
		Subject:               pkix.Name{CommonName: p.CommonName, Organization: []string{p.Organization}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
	if p.Server {
		cert.ExtKeyUsage = append(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if p.Client {
		cert.ExtKeyUsage = append(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	for _, a := range p.Addresses {
		if ip := net.ParseIP(a); ip != nil {
			cert.IPAddresses = append(cert.IPAddresses, ip)
		} else {
			cert.DNSNames = append(cert.DNSNames, a)
		}
	}
	return cert
}

// Expires tells when the certificate stops being valid.
func (p Pair) Expires() (time.Time, error) {
	cert, err := p.certificate()
	if err != nil {
		return time.Time{}, err
	}
	return cert.NotAfter, nil
}

// RenewAt tells when the last third of the certificate's life begins: from then on it should be replaced.
func (p Pair) RenewAt() (time.Time, error) {
	cert, err := p.certificate()
	if err != nil {
		return time.Time{}, err
	}
	return cert.NotAfter.Add(-cert.NotAfter.Sub(cert.NotBefore) / 3), nil
}

// Covers returns nil when the certificate is valid for all of the addresses (IP addresses and DNS names).
func (p Pair) Covers(addresses []string) error {
	cert, err := p.certificate()
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if err := cert.VerifyHostname(a); err != nil {
			return fmt.Errorf("certificate of %q is not for %s", cert.Subject.CommonName, a)
		}
	}
	return nil
}

// IssuedBy returns nil when the certificate was signed by the authority ca (PEM).
func (p Pair) IssuedBy(ca string) error {
	issuer, err := Pair{Cert: ca}.certificate()
	if err != nil {
		return fmt.Errorf("read authority: %w", err)
	}
	cert, err := p.certificate()
	if err != nil {
		return err
	}
	if err := cert.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("certificate of %q is not by %q: %w", cert.Subject.CommonName, issuer.Subject.CommonName, err)
	}
	return nil
}

func (p Pair) certificate() (*x509.Certificate, error) {
	der, err := decode(blockCertificate, p.Cert)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	return cert, nil
}

func (p Pair) privateKey() (*ecdsa.PrivateKey, error) {
	der, err := decode(blockKey, p.Key)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("parse private key: it is no PKCS #8 key") // the cause could quote the key
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("parse private key: it is a %T, want ECDSA", key)
	}
	return ec, nil
}

const (
	blockCertificate = "CERTIFICATE"
	blockRequest     = "CERTIFICATE REQUEST"
	blockKey         = "PRIVATE KEY"
)

func encode(block string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der}))
}

func encodeKey(key *ecdsa.PrivateKey) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("encode private key: %w", err)
	}
	return encode(blockKey, der), nil
}

func decode(block, text string) ([]byte, error) {
	b, _ := pem.Decode([]byte(text))
	if b == nil {
		return nil, fmt.Errorf("no PEM block, want a %s", block)
	}
	if b.Type != block {
		return nil, fmt.Errorf("PEM block is a %s, want a %s", b.Type, block)
	}
	return b.Bytes, nil
}
