// Package metadata asks a cloud's metadata service what a machine cannot know from its configuration: who it is, where,
// and with which rights. The service answers on the machine itself, at a link-local address.
package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// DefaultBase is where both clouds' services answer.
const DefaultBase = "http://169.254.169.254"

// Machine is what a metadata service says about the machine that asks.
type Machine struct {
	ID      string // of the instance or droplet
	Region  string
	Zone    string // the region, where a cloud has no zones
	Address string // private IPv4
}

// check refuses what cannot be: half an answer must not become half an identity.
func (m Machine) check() (Machine, error) {
	for name, value := range map[string]string{"ID": m.ID, "region": m.Region, "zone": m.Zone} {
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == '=' || r > '~' }) {
			return Machine{}, fmt.Errorf("the metadata service says that the machine's %s is %q", name, value)
		}
	}
	if a, err := netip.ParseAddr(m.Address); err != nil || !a.Is4() {
		return Machine{}, fmt.Errorf("the metadata service says that the machine's private address is %q", m.Address)
	}
	return m, nil
}

const (
	requestTimeout = 2 * time.Second // it is on the machine: it answers at once, or not at all
	maxAnswer      = 64 << 10        // bytes
)

// errNone is the answer that there is no such thing.
var errNone = errors.New("there is none")

// client never goes through a proxy: the service is for this machine only.
var client = &http.Client{
	Transport:     &http.Transport{Proxy: nil, MaxIdleConns: 1, IdleConnTimeout: 5 * time.Second},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// ask makes one request and returns the answer's text.
func ask(ctx context.Context, method, url string, header http.Header) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return "", fmt.Errorf("ask the metadata service: %w", err)
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask the metadata service: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return "", fmt.Errorf("ask the metadata service for %s: %w", req.URL.Path, err)
	case resp.StatusCode == http.StatusNotFound:
		return "", fmt.Errorf("ask the metadata service for %s: %w", req.URL.Path, errNone)
	case resp.StatusCode != http.StatusOK:
		return "", fmt.Errorf("ask the metadata service for %s: %s", req.URL.Path, resp.Status)
	}
	return strings.TrimSpace(string(text)), nil
}
