package aws_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"

	"devctl/internal/aws"
	"devctl/internal/metadata"
)

const (
	region = "eu-central-1"
	secret = "s3cret"
)

// cloud stands for the metadata service, EC2 and S3.
type cloud struct {
	t *testing.T
	*httptest.Server

	mu      sync.Mutex
	objects map[string]string
	holder  string // network interface with the Elastic IP
	fail    func(w http.ResponseWriter, r *http.Request) bool
}

func newCloud(t *testing.T) *cloud {
	c := &cloud{t: t, objects: map[string]string{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *cloud) client() aws.Client {
	return aws.Client{Metadata: metadata.AWS{Base: c.URL}, Region: region, Endpoint: func(service string) string { return c.URL + "/service-" + service }}
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answers := map[string]string{
		"/latest/api/token":     "token",
		"/latest/meta-data/mac": "0e:49",
		"/latest/meta-data/network/interfaces/macs/0e:49/interface-id": "eni-0123",
		"/latest/meta-data/iam/security-credentials/":                  "role",
		"/latest/meta-data/iam/security-credentials/role":              `{"Code":"Success","AccessKeyId":"ASIA1","SecretAccessKey":"` + secret + `","Token":"t0ken"}`,
	}
	if text, ok := answers[r.URL.Path]; ok {
		_, _ = io.WriteString(w, text)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Error(err)
	}
	service, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/service-"), "/")
	if problem := signed(r, body, service); problem != "" {
		c.t.Errorf("%s %s: %s", r.Method, r.URL.Path, problem)
	}
	if c.fail != nil && c.fail(w, r) {
		return
	}
	switch service {
	case "ec2":
		r.Body = io.NopCloser(bytes.NewReader(body))
		if r.FormValue("Action") != "AssociateAddress" || r.FormValue("AllowReassociation") != "true" || r.FormValue("AllocationId") != "eipalloc-1" {
			c.t.Errorf("EC2 is asked for %s", body)
		}
		c.holder = r.FormValue("NetworkInterfaceId")
		_, _ = io.WriteString(w, `<AssociateAddressResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><return>true</return></AssociateAddressResponse>`)
	case "s3":
		there, exists := c.objects[rest]
		switch {
		case r.Method == http.MethodGet && r.URL.Query().Get("list-type") == "2":
			c.list(w, rest, r.URL.Query())
		case r.Method == http.MethodGet && exists:
			_, _ = io.WriteString(w, there)
		case r.Method == http.MethodPut && r.Header.Get("If-None-Match") == "*" && exists:
			refuse(w, http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
		case r.Method == http.MethodPut:
			c.objects[rest] = string(body)
		default:
			refuse(w, http.StatusForbidden, "AccessDenied", "Access Denied")
		}
	default:
		c.t.Errorf("nobody serves %s", r.URL.Path)
	}
}

// list tells of one object at a time.
func (c *cloud) list(w io.Writer, bucket string, query url.Values) {
	var keys []string
	for object := range c.objects {
		if key, ours := strings.CutPrefix(object, bucket+"/"); ours && strings.HasPrefix(key, query.Get("prefix")) && key > query.Get("continuation-token") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	_, _ = fmt.Fprintf(w, `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>%t</IsTruncated>`, len(keys) > 1)
	if len(keys) > 0 {
		_, _ = fmt.Fprintf(w, "<Contents><Key>%s</Key><Size>%d</Size></Contents><NextContinuationToken>%s</NextContinuationToken>", keys[0], len(c.objects[bucket+"/"+keys[0]]), keys[0])
	}
	_, _ = io.WriteString(w, "</ListBucketResult>")
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, message)
}

// signed signs what has arrived once more, and says what is wrong with the signature that it came with.
func signed(r *http.Request, body []byte, service string) string {
	got := r.Header.Get("Authorization")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > time.Minute {
		return fmt.Sprintf("it is dated %q", r.Header.Get("X-Amz-Date"))
	}
	_, names, _ := strings.Cut(got, "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	for name := range strings.SplitSeq(names, ";") {
		if name != "host" && name != "content-length" && !strings.HasPrefix(name, "x-amz-date") && !strings.HasPrefix(name, "x-amz-security-token") {
			again.Header.Set(name, r.Header.Get(name))
		}
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if r.Header.Get("X-Amz-Content-Sha256") != hash {
		return "its hash is not the body's"
	}
	credentials := sdk.Credentials{AccessKeyID: "ASIA1", SecretAccessKey: secret, SessionToken: "t0ken"}
	if err := v4.NewSigner().SignHTTP(context.Background(), credentials, again, hash, service, region, at); err != nil {
		return err.Error()
	}
	if want := again.Header.Get("Authorization"); got != want {
		return fmt.Sprintf("signed\n%s\nwant\n%s", got, want)
	}
	return ""
}

func TestAssociate(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.holder = "eni-of-another"
	for range 2 { // again is no harm
		if err := c.client().Associate(t.Context(), "eipalloc-1"); err != nil {
			t.Fatal(err)
		}
		if c.holder != "eni-0123" {
			t.Errorf("the Elastic IP is at %s", c.holder)
		}
	}
	c.fail = func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not authorized</Message></Error></Errors><RequestID>1</RequestID></Response>`)
		return true
	}
	err := c.client().Associate(t.Context(), "eipalloc-1")
	const want = "associate the Elastic IP eipalloc-1 with eni-0123: UnauthorizedOperation (403): You are not authorized"
	if err == nil || err.Error() != want {
		t.Errorf("error = %v\nwant    %s", err, want)
	}
}

func TestClaim(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	for _, text := range []string{"first", "second", "first"} {
		got, err := c.client().Claim(t.Context(), "s3://bucket/registry/founding/main-1", text)
		if err != nil || got != "first" {
			t.Errorf("claim of %s = %q, %v, want the first's", text, got, err)
		}
	}
	if got := c.objects["bucket/registry/founding/main-1"]; got != "first" {
		t.Errorf("the object holds %q", got)
	}
}

// TestClaimAtOnce: of many at the same time one is first, and everybody hears of the same one.
func TestClaimAtOnce(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	answers := make(chan string, 8)
	for i := range cap(answers) {
		go func() {
			got, err := c.client().Claim(context.Background(), "s3://bucket/key", fmt.Sprint("machine-", i))
			if err != nil {
				got = err.Error()
			}
			answers <- got
		}()
	}
	first := <-answers
	for range cap(answers) - 1 {
		if got := <-answers; got != first {
			t.Errorf("one is told %q, another %q", first, got)
		}
	}
	if !strings.HasPrefix(first, "machine-") {
		t.Error(first)
	}
}

func TestClaimErrors(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.fail = func(w http.ResponseWriter, _ *http.Request) bool {
		refuse(w, http.StatusConflict, "ConditionalRequestConflict", "try again")
		return true
	}
	for object, want := range map[string]string{
		"s3://bucket/key": "claim s3://bucket/key: ConditionalRequestConflict (409): try again",
		"s3://bucket":     "claim s3://bucket: it is no s3://bucket/key",
		"https://x/y":     "claim https://x/y: it is no s3://bucket/key",
	} {
		if _, err := c.client().Claim(t.Context(), object, "x"); err == nil || err.Error() != want {
			t.Errorf("error = %v\nwant    %s", err, want)
		}
	}
	// What says nothing is no yes either.
	c.fail = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true }
	if got, err := c.client().Claim(t.Context(), "s3://bucket/key", "x"); err == nil || err.Error() != "claim s3://bucket/key: Bad Gateway (502): " {
		t.Errorf("claim = %q, %v", got, err)
	}
}

// TestOpen: what is large comes as it is read, and a refusal says why.
func TestOpen(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.objects["machines/images/redis-1.tar.gz"] = strings.Repeat("layer ", 1<<20)
	resp, err := c.client().Open(t.Context(), "s3://machines/images/redis-1.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if n, err := io.Copy(io.Discard, resp.Body); n != 6<<20 || err != nil {
		t.Errorf("%d bytes came, error %v", n, err)
	}
	for object, want := range map[string]string{
		"s3://machines/images/none":   "AccessDenied (403): Access Denied",
		"https://machines/images/one": "it is no s3://bucket/key",
	} {
		if _, err := c.client().Open(t.Context(), object); err == nil || err.Error() != want {
			t.Errorf("open %s: error = %v, want %s", object, err, want)
		}
	}
}

// TestPutAndList: what is put is there and in the list, as many answers as that takes.
func TestPutAndList(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	sum := func(text string) string { s := sha256.Sum256([]byte(text)); return hex.EncodeToString(s[:]) }
	for key, text := range map[string]string{"snapshots/1": "one", "snapshots/2": "second", "snapshots/3": "", "images/1": "another folder's"} {
		if err := c.client().Put(t.Context(), "s3://bucket/"+key, strings.NewReader(text), int64(len(text)), sum(text)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.client().List(t.Context(), "s3://bucket/snapshots/")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]aws.Object{{Key: "snapshots/1", Size: 3}, {Key: "snapshots/2", Size: 6}, {Key: "snapshots/3"}}, got); d != "" {
		t.Errorf("list (-want +got):\n%s", d)
	}
	if got, err := c.client().List(t.Context(), "s3://bucket/none/"); err != nil || len(got) > 0 {
		t.Errorf("list of nothing is %v, %v", got, err)
	}
	c.fail = func(w http.ResponseWriter, _ *http.Request) bool {
		refuse(w, http.StatusForbidden, "AccessDenied", "Access Denied")
		return true
	}
	if err := c.client().Put(t.Context(), "s3://bucket/a", strings.NewReader("x"), 1, sum("x")); err == nil || err.Error() != "write s3://bucket/a: AccessDenied (403): Access Denied" {
		t.Errorf("error = %v", err)
	}
	if _, err := c.client().List(t.Context(), "s3://bucket/snapshots/"); err == nil || err.Error() != "list s3://bucket/snapshots/: AccessDenied (403): Access Denied" {
		t.Errorf("error = %v", err)
	}
}
