package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"devctl/internal/api"
	"devctl/internal/backoff"
	"devctl/internal/pki"
)

// joinTimeout bounds one attempt to join: a request to every controller.
const joinTimeout = 30 * time.Second

// certificate returns the node's certificate and the stack's authority. A node without a certificate, or with one in
// the last third of its life, asks the controllers for one with its role's bootstrap certificate, and waits for
// as long as it takes. A main node has been given its own by `devctld setup`.
func certificate(ctx context.Context, c Config) (pair pki.Pair, ca string, err error) {
	text, err := os.ReadFile(filepath.Join(api.PKIDir, "ca.crt"))
	if err != nil {
		return pki.Pair{}, "", fmt.Errorf("read the stack's authority: %w", err)
	}
	ca = string(text)
	pair, err = pki.Load(api.NodePKIDir, "node")
	if c.Identity.Role == api.RoleMain {
		return pair, ca, err
	}
	if err == nil {
		err = pair.IssuedBy(ca)
	}
	now := time.Now()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.Log.Info("this node has no certificate yet, joining")
	case err != nil:
		c.Log.Warn("the node's certificate cannot be used, joining again", "error", err)
	default:
		var renew time.Time
		if renew, err = pair.RenewAt(); err != nil {
			return pki.Pair{}, "", err
		}
		if now.Before(renew) {
			return pair, ca, nil
		}
		c.Log.Info("the node's certificate is due for renewal, joining again")
	}
	joined, err := join(ctx, c, ca, err == nil && alive(pair, now))
	return joined, ca, err
}

// alive tells whether the certificate has not expired.
func alive(p pki.Pair, now time.Time) bool {
	expires, err := p.Expires()
	return err == nil && now.Before(expires)
}

// join asks for a certificate until there is one. With a fallback one attempt is enough: the one it has still works.
func join(ctx context.Context, c Config, ca string, fallback bool) (pki.Pair, error) {
	bootstrap, err := pki.Load(api.PKIDir, "bootstrap")
	if err != nil {
		return pki.Pair{}, err
	}
	config, err := pki.ClientTLS(ca, bootstrap)
	if err != nil {
		return pki.Pair{}, err
	}
	endpoints := make([]string, len(c.Mains))
	for i, m := range c.Mains {
		endpoints[i] = net.JoinHostPort(m.Address, strconv.Itoa(api.ControllerPort))
	}
	client := api.NewClient(endpoints, config)
	defer client.Close()
	csr, key, err := pki.NewRequest(c.Identity.Name)
	if err != nil {
		return pki.Pair{}, err
	}
	retry := backoff.Backoff{Min: 200 * time.Millisecond, Max: 3 * time.Second}
	for {
		attempt, cancel := context.WithTimeout(ctx, joinTimeout)
		resp, err := client.Join(attempt, api.JoinRequest{Identity: c.Identity, CSR: csr})
		cancel()
		if err == nil {
			pair := pki.Pair{Cert: resp.Certificate, Key: key}
			if err := pair.Store(api.NodePKIDir, "node"); err != nil {
				return pki.Pair{}, err
			}
			// As every later start does: what does not load must not be used once either.
			return pki.Load(api.NodePKIDir, "node")
		}
		if fallback && ctx.Err() == nil {
			c.Log.Warn("the node's certificate was not renewed, going on with the one there is", "error", err)
			return pki.Load(api.NodePKIDir, "node")
		}
		c.Log.Warn("cannot join yet, trying on", "error", err)
		if err := retry.Wait(ctx); err != nil {
			return pki.Pair{}, fmt.Errorf("join: %w", err)
		}
	}
}
