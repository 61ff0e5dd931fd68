package clouds_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"devctl/internal/clouds"
	"devctl/stacks"
)

func TestSnapshotsInABucket(t *testing.T) {
	hash := strings.Repeat("0a", 32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/machines" || r.URL.Query().Get("prefix") != "snapshots/" || !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIATEST/") {
			t.Errorf("asked for %s, signed as %q", r.URL, r.Header.Get("Authorization"))
		}
		_, _ = io.WriteString(w, `<ListBucketResult><IsTruncated>false</IsTruncated>
			<Contents><Key>snapshots/20261121T075600.000Z_41_`+hash+`.db</Key><Size>1056</Size></Contents>
			<Contents><Key>snapshots/20261121T081100.000Z_42_`+hash+`.db</Key><Size>1056</Size></Contents>
			<Contents><Key>snapshots/somebody's notes</Key><Size>7</Size></Contents></ListBucketResult>`)
	}))
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	spec := &stacks.Spec{Stack: "prod", Provider: stacks.ProviderAWS, AWS: stacks.AWS{Region: "eu-west-1", Bucket: "machines"}}
	got, err := clouds.Snapshots(t.Context(), spec)
	if err != nil || len(got) != 2 || got[0].Revision != 42 || got[1].Name != "20261121T075600.000Z" || got[1].Size != 1056 {
		t.Errorf("snapshots are %+v, %v", got, err)
	}
	if at := clouds.SnapshotFolder(spec); at != "s3://machines/snapshots" {
		t.Errorf("they are in %s", at)
	}
}
