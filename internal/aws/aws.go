// Package aws is the little that devctl asks of AWS itself, beside Pulumi. A machine asks to associate the stack's Elastic IP with
// it, to write down once who founds the stack's cluster, for images, and to keep snapshots: components/aws says who may. The CLI
// asks whether its credentials are taken, for the snapshots that there are, and, to roll main and data nodes, to end a machine of a
// group. No service's SDK is linked for these few calls.
package aws

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"devctl/internal/metadata"
)

const (
	requestTimeout = 10 * time.Second
	maxAnswer      = 1 << 20 // bytes
)

// Client makes calls with the rights of the machine's role, or with Credentials.
type Client struct {
	Metadata    metadata.AWS            // of the machine that it runs on
	Credentials aws.CredentialsProvider // nil: the role's
	Region      string
	// Endpoint is the URL, without a slash at its end, of a service (ec2, s3); nil for AWS's own.
	Endpoint func(service string) string
}

// Here is the client for the region that the machine it runs on is in. With an error it is the client as it was.
func (c Client) Here(ctx context.Context) (Client, error) {
	machine, err := c.Metadata.Machine(ctx)
	if err != nil {
		return c, err
	}
	c.Region = machine.Region
	return c, nil
}

func (c Client) endpoint(service string) string {
	if c.Endpoint != nil {
		return c.Endpoint(service)
	}
	return "https://" + service + "." + c.Region + ".amazonaws.com"
}

// refusal is an answer that is no success.
type refusal struct {
	status int
	code   string // what AWS calls it
	text   string
}

func (r refusal) Error() string { return fmt.Sprintf("%s (%d): %s", r.code, r.status, r.text) }

// do makes a request and returns the answer's body.
func (c Client) do(ctx context.Context, service, method, address string, header http.Header, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := c.send(ctx, service, method, address, header, body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
}

// send makes a request with what body holds.
func (c Client) send(ctx context.Context, service, method, address string, header http.Header, body []byte) (*http.Response, error) {
	sum := sha256.Sum256(body)
	return c.stream(ctx, service, method, address, header, bytes.NewReader(body), int64(len(body)), hex.EncodeToString(sum[:]))
}

// stream signs a request, makes it, and returns the answer if it is no refusal. The body has the given size and SHA-256, in hex.
// Credentials are asked for every time: calls are rare, and the service renews them.
func (c Client) stream(ctx context.Context, service, method, address string, header http.Header, body io.Reader, size int64, hash string) (*http.Response, error) {
	if size == 0 {
		body = http.NoBody
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	req.Header, req.ContentLength = header, size
	req.Header.Set("X-Amz-Content-Sha256", hash)
	credentials, err := c.credentials(ctx)
	if err != nil {
		return nil, err
	}
	// S3 takes a path as it is, other services escaped twice; ours has nothing to escape.
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hash, service, c.Region, time.Now()); err != nil {
		return nil, fmt.Errorf("sign a request: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode == http.StatusOK {
		return resp, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	return nil, refused(resp.StatusCode, text)
}

func (c Client) credentials(ctx context.Context) (aws.Credentials, error) {
	if c.Credentials != nil {
		return c.Credentials.Retrieve(ctx)
	}
	own, err := c.Metadata.Credentials(ctx)
	return aws.Credentials{AccessKeyID: own.AccessKeyID, SecretAccessKey: own.SecretAccessKey, SessionToken: own.Token}, err
}

// query calls an action of a service that speaks AWS's query protocol.
func (c Client) query(ctx context.Context, service string, form url.Values) ([]byte, error) {
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}}
	return c.do(ctx, service, http.MethodPost, c.endpoint(service)+"/", header, []byte(form.Encode()))
}

// refused reads what services say when they refuse: the same two elements, at different depths.
func refused(status int, body []byte) refusal {
	r := refusal{status: status, code: http.StatusText(status)}
	d := xml.NewDecoder(bytes.NewReader(body))
	for {
		token, err := d.Token()
		if err != nil {
			return r
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		switch start.Name.Local {
		case "Code":
			_ = d.DecodeElement(&r.code, &start)
		case "Message":
			_ = d.DecodeElement(&r.text, &start)
		}
	}
}

// Associate moves the Elastic IP with the given allocation to the machine's first network interface, wherever it is now. When it
// is there already, nothing changes.
func (c Client) Associate(ctx context.Context, allocation string) error {
	nic, err := c.Metadata.Interface(ctx)
	if err != nil {
		return fmt.Errorf("associate the Elastic IP %s: %w", allocation, err)
	}
	form := url.Values{
		"Action": {"AssociateAddress"}, "Version": {"2016-11-15"},
		"AllocationId": {allocation}, "NetworkInterfaceId": {nic}, "AllowReassociation": {"true"},
	}
	if _, err := c.query(ctx, "ec2", form); err != nil {
		return fmt.Errorf("associate the Elastic IP %s with %s: %w", allocation, nic, err)
	}
	return nil
}

// Claim writes text to an object (s3://bucket/key) if there is none, and returns what is in it then: the text of whoever was
// first, and of nobody after that.
func (c Client) Claim(ctx context.Context, object, text string) (string, error) {
	address, err := c.object(object)
	if err != nil {
		return "", fmt.Errorf("claim %s: %w", object, err)
	}
	_, err = c.do(ctx, "s3", http.MethodPut, address, http.Header{"If-None-Match": {"*"}}, []byte(text))
	if err == nil {
		return text, nil
	}
	var r refusal
	if !errors.As(err, &r) || r.status != http.StatusPreconditionFailed {
		return "", fmt.Errorf("claim %s: %w", object, err)
	}
	there, err := c.do(ctx, "s3", http.MethodGet, address, http.Header{}, nil)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", object, err)
	}
	return string(there), nil
}

// Open asks for an object (s3://bucket/key) whose content may be large: it comes as the answer's body is read, for as long as
// ctx lives. The caller closes it.
func (c Client) Open(ctx context.Context, object string) (*http.Response, error) {
	address, err := c.object(object)
	if err != nil {
		return nil, err
	}
	return c.send(ctx, "s3", http.MethodGet, address, http.Header{}, nil)
}

// Put writes an object (s3://bucket/key) of the given size and SHA-256, in hex. Without all of it there is none.
func (c Client) Put(ctx context.Context, object string, body io.Reader, size int64, hash string) error {
	address, err := c.object(object)
	if err != nil {
		return fmt.Errorf("write %s: %w", object, err)
	}
	resp, err := c.stream(ctx, "s3", http.MethodPut, address, http.Header{}, body, size, hash)
	if err != nil {
		return fmt.Errorf("write %s: %w", object, err)
	}
	return resp.Body.Close()
}

// Object is one of those that List finds.
type Object struct {
	Key  string `xml:"Key"`
	Size int64  `xml:"Size"` // bytes
}

// List lists the objects in a folder (s3://bucket/folder/), by key.
func (c Client) List(ctx context.Context, folder string) ([]Object, error) {
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(folder, "s3://"), "/")
	var all []Object
	query := url.Values{"list-type": {"2"}, "prefix": {prefix}}
	for {
		// S3 wants spaces as %20, and has none to see: neither prefixes nor its tokens have any.
		text, err := c.do(ctx, "s3", http.MethodGet, c.endpoint("s3")+"/"+bucket+"?"+query.Encode(), http.Header{}, nil)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", folder, err)
		}
		var page struct {
			Contents  []Object
			Truncated bool   `xml:"IsTruncated"`
			Next      string `xml:"NextContinuationToken"`
		}
		if err := xml.Unmarshal(text, &page); err != nil {
			return nil, fmt.Errorf("list %s: read the answer: %w", folder, err)
		}
		all = append(all, page.Contents...)
		if !page.Truncated {
			return all, nil
		}
		query.Set("continuation-token", page.Next)
	}
}

// object is the address of s3://bucket/key.
func (c Client) object(url string) (address string, err error) {
	bucket, key, ok := strings.Cut(strings.TrimPrefix(url, "s3://"), "/")
	if !ok || !strings.HasPrefix(url, "s3://") {
		return "", errors.New("it is no s3://bucket/key")
	}
	return c.endpoint("s3") + "/" + bucket + "/" + key, nil
}
