package metadata_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/metadata"
)

// serve answers paths with texts: a path that it does not have with 404. On AWS only to who has asked for a token.
func serve(t *testing.T, aws bool, answers map[string]string) string {
	t.Helper()
	const token = "secret-token"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case aws && r.URL.Path == "/latest/api/token":
			if r.Method != http.MethodPut || r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") == "" {
				http.Error(w, "bad", http.StatusBadRequest)
				return
			}
			_, _ = w.Write([]byte(token))
			return
		case aws && r.Header.Get("X-aws-ec2-metadata-token") != token:
			http.Error(w, "", http.StatusUnauthorized)
			return
		}
		text, ok := answers[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

var onAWS = map[string]string{
	"/latest/meta-data/instance-id":                                            "i-0123456789abcdef0",
	"/latest/meta-data/placement/region":                                       "eu-central-1",
	"/latest/meta-data/placement/availability-zone":                            "eu-central-1b",
	"/latest/meta-data/local-ipv4":                                             "10.10.16.27",
	"/latest/meta-data/mac":                                                    "0e:49:61:0f:c3:11",
	"/latest/meta-data/network/interfaces/macs/0e:49:61:0f:c3:11/interface-id": "eni-0123",
	"/latest/meta-data/public-ipv4":                                            "203.0.113.9",
	"/latest/meta-data/iam/security-credentials/":                              "devctl-worker",
	"/latest/meta-data/iam/security-credentials/devctl-worker": `{"Code":"Success","AccessKeyId":"ASIA1","SecretAccessKey":"s3cret",` +
		`"Token":"t0ken","Expiration":"2030-01-02T03:04:05Z"}`,
}

var onDigitalOcean = map[string]string{
	"/metadata/v1/id":     "412345678",
	"/metadata/v1/region": "fra1",
	"/metadata/v1/interfaces/private/0/ipv4/address": "10.20.0.5\n",
	"/metadata/v1/reserved_ip/ipv4/active":           "true",
	"/metadata/v1/reserved_ip/ipv4/ip_address":       "203.0.113.9",
}

func TestMachine(t *testing.T) {
	t.Parallel()
	aws, err := metadata.AWS{Base: serve(t, true, onAWS)}.Machine(t.Context())
	want := metadata.Machine{ID: "i-0123456789abcdef0", Region: "eu-central-1", Zone: "eu-central-1b", Address: "10.10.16.27"}
	if d := cmp.Diff(want, aws); d != "" || err != nil {
		t.Errorf("AWS: %v (-want +got):\n%s", err, d)
	}
	do, err := metadata.DigitalOcean{Base: serve(t, false, onDigitalOcean)}.Machine(t.Context())
	want = metadata.Machine{ID: "412345678", Region: "fra1", Zone: "fra1", Address: "10.20.0.5"}
	if d := cmp.Diff(want, do); d != "" || err != nil {
		t.Errorf("DigitalOcean: %v (-want +got):\n%s", err, d)
	}
}

func TestRest(t *testing.T) {
	t.Parallel()
	aws := metadata.AWS{Base: serve(t, true, onAWS)}
	credentials, err := aws.Credentials(t.Context())
	want := metadata.Credentials{AccessKeyID: "ASIA1", SecretAccessKey: "s3cret", Token: "t0ken", Expires: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}
	if d := cmp.Diff(want, credentials); d != "" || err != nil {
		t.Errorf("credentials: %v (-want +got):\n%s", err, d)
	}
	if nic, err := aws.Interface(t.Context()); nic != "eni-0123" || err != nil {
		t.Errorf("interface = %q, %v", nic, err)
	}
	for name, ask := range map[string]func(context.Context) (string, error){
		"AWS":          aws.PublicAddress,
		"DigitalOcean": metadata.DigitalOcean{Base: serve(t, false, onDigitalOcean)}.PublicAddress,
	} {
		if got, err := ask(t.Context()); got != "203.0.113.9" || err != nil {
			t.Errorf("%s: public address = %q, %v", name, got, err)
		}
	}
	for name, ask := range map[string]func(context.Context) (string, error){
		"AWS":                    metadata.AWS{Base: serve(t, true, nil)}.PublicAddress,
		"DigitalOcean":           metadata.DigitalOcean{Base: serve(t, false, nil)}.PublicAddress,
		"DigitalOcean, inactive": metadata.DigitalOcean{Base: serve(t, false, map[string]string{"/metadata/v1/reserved_ip/ipv4/active": "false"})}.PublicAddress,
	} {
		if got, err := ask(t.Context()); got != "" || err != nil {
			t.Errorf("%s without one: public address = %q, %v", name, got, err)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	with := func(answers map[string]string, path, text string) map[string]string {
		out := map[string]string{}
		for p, t := range answers {
			out[p] = t
		}
		out[path] = text
		return out
	}
	machine := func(answers map[string]string) error {
		_, err := metadata.AWS{Base: serve(t, true, answers)}.Machine(t.Context())
		return err
	}
	credentials := func(text string) error {
		answers := with(onAWS, "/latest/meta-data/iam/security-credentials/devctl-worker", text)
		_, err := metadata.AWS{Base: serve(t, true, answers)}.Credentials(t.Context())
		return err
	}
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer broken.Close()
	_, down := metadata.DigitalOcean{Base: broken.URL}.PublicAddress(t.Context())
	for want, err := range map[string]error{
		`the metadata service says that the machine's private address is "fe80::1"`: machine(with(onAWS, "/latest/meta-data/local-ipv4", "fe80::1")),
		`the metadata service says that the machine's zone is "a b"`:                machine(with(onAWS, "/latest/meta-data/placement/availability-zone", "a b")),
		`the metadata service says that the machine's ID is ""`:                     machine(with(onAWS, "/latest/meta-data/instance-id", "")),
		"there is none": machine(nil),
		`the metadata service has no credentials for the machine: code "Failed"`:                     credentials(`{"Code":"Failed","Message":"s3cret"}`),
		"the metadata service's answer about the machine's credentials is no JSON":                   credentials(`s3cret`),
		"ask the metadata service for /metadata/v1/reserved_ip/ipv4/active: 503 Service Unavailable": down,
	} {
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("error = %v\nwant  … %s", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error quotes a secret: %v", err)
		}
	}
}

// TestTokenIsNotTakenForGranted: without the token that version 2 of the service wants there is no answer.
func TestTokenIsNotTakenForGranted(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		t.Errorf("%s is asked for without a token", r.URL.Path)
	}))
	defer s.Close()
	if _, err := (metadata.AWS{Base: s.URL}).Machine(t.Context()); err == nil || !strings.Contains(err.Error(), "/latest/api/token: 403") {
		t.Errorf("error = %v", err)
	}
}
