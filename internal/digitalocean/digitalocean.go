// Package digitalocean is the little that a droplet asks of DigitalOcean itself: what the program left for it in a Space,
// and to have the stack's reserved IP.
package digitalocean

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// DefaultAPI is where DigitalOcean's API is.
const DefaultAPI = "https://api.digitalocean.com"

const (
	requestTimeout = 10 * time.Second
	maxAnswer      = 1 << 20 // bytes
)

// Read returns the text of an object that machines may read without credentials. It is not there when found is false.
func Read(ctx context.Context, object string) (text string, found bool, err error) {
	status, body, err := do(ctx, http.MethodGet, object, "", nil)
	switch {
	case err != nil:
		return "", false, fmt.Errorf("read %s: %w", object, err)
	case status == http.StatusOK:
		return string(body), true, nil
	case status == http.StatusNotFound || status == http.StatusForbidden: // the latter where nobody may list the Space
		return "", false, nil
	}
	return "", false, fmt.Errorf("read %s: %d %s", object, status, http.StatusText(status))
}

// Open asks for an object that machines may read without credentials, whose content may be large: it comes as the answer's body
// is read, for as long as ctx lives. The caller closes it.
func Open(ctx context.Context, object string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, object, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return resp, err
}

// Client calls the API.
type Client struct {
	API   string // without a slash at the end
	Token string // it needs reserved_ip:update, and no more
}

// Assign asks to move a reserved IP to a droplet, wherever it is now. DigitalOcean does so a little later.
func (c Client) Assign(ctx context.Context, address, droplet string) error {
	fail := func(err error) error {
		return fmt.Errorf("assign the reserved IP %s to droplet %s: %w", address, droplet, err)
	}
	id, err := strconv.ParseInt(droplet, 10, 64)
	if err != nil {
		return fail(err)
	}
	order, err := json.Marshal(map[string]any{"type": "assign", "droplet_id": id})
	if err != nil {
		return fail(err)
	}
	status, body, err := do(ctx, http.MethodPost, c.API+"/v2/reserved_ips/"+address+"/actions", c.Token, order)
	if err != nil {
		return fail(err)
	}
	if status != http.StatusCreated {
		var refusal struct {
			ID      string `json:"id"`
			Message string `json:"message"`
		}
		_ = json.Unmarshal(body, &refusal) // without a message the status has to do
		return fail(fmt.Errorf("%d %s: %s", status, http.StatusText(status), refusal.Message))
	}
	return nil
}

// do makes one request, with a token unless it is empty.
func do(ctx context.Context, method, url, token string, body []byte) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, answer, err
}
