package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// ServerTLS is the configuration of a server that talks TLS 1.3 only, and only to clients whose certificate
// was signed by ca (PEM).
func ServerTLS(ca string, p Pair) (*tls.Config, error) {
	cert, pool, err := material(ca, p)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		MinVersion:   tls.VersionTLS13,
	}, nil
}

// ClientTLS is the configuration of a client that identifies itself by p and trusts only servers whose
// certificate was signed by ca (PEM).
func ClientTLS(ca string, p Pair) (*tls.Config, error) {
	cert, pool, err := material(ca, p)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		RootCAs:      pool,
		MinVersion:   tls.VersionTLS13,
	}, nil
}

func material(ca string, p Pair) (tls.Certificate, *x509.CertPool, error) {
	cert, err := tls.X509KeyPair([]byte(p.Cert), []byte(p.Key))
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("load certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(ca)) {
		return tls.Certificate{}, nil, errors.New("load authority: no certificate in it")
	}
	return cert, pool, nil
}
