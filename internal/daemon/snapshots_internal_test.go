package daemon

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"devctl/internal/api"
	"devctl/internal/aws"
	"devctl/internal/metadata"
	"devctl/internal/snapshot"
)

func TestWhereSnapshotsAreKept(t *testing.T) {
	t.Parallel()
	for platform, want := range map[string]string{"": "dir", "local": "dir", "aws": "bucket", "digitalocean": "nowhere"} {
		got, err := snapshotsOf(from(map[string]string{keyPlatform: platform, keyRegistry: "s3://machines/registry/10-10-0-0-16"}))
		if err != nil {
			t.Fatal(err)
		}
		is := "nowhere"
		switch kept := got.(type) {
		case snapshot.Dir:
			is = "dir"
		case bucketSnapshots:
			if is = "bucket"; kept.folder != "s3://machines/snapshots" {
				t.Errorf("they are in %s", kept.folder)
			}
		}
		if is != want {
			t.Errorf("on %q they are kept in a %s, want %s", platform, is, want)
		}
	}
	_, err := snapshotsOf(from(map[string]string{keyPlatform: "aws", keyRegistry: "s3://machines"}))
	if want := `DEVCTL_REGISTRY is "s3://machines", which is in no bucket`; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

// mainOnAWS is what AWS's metadata service tells a main node, by path.
var mainOnAWS = map[string]string{
	"api/token": "t", "meta-data/instance-id": "i-1", "meta-data/placement/region": "eu-central-1", "meta-data/placement/availability-zone": "eu-central-1a",
	"meta-data/local-ipv4": "10.10.0.11", "meta-data/iam/security-credentials/": "main",
	"meta-data/iam/security-credentials/main": `{"Code":"Success","AccessKeyId":"ASIA1","SecretAccessKey":"s","Token":"t0ken"}`,
}

// TestSnapshotIntoABucket: with the machine's rights, as one object that says what it is, and nothing of what is no whole snapshot.
func TestSnapshotIntoABucket(t *testing.T) {
	spool := t.TempDir()
	t.Setenv("TMPDIR", spool)
	objects := map[string][]byte{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text, ok := mainOnAWS[strings.TrimPrefix(r.URL.Path, "/latest/")]; ok {
			_, _ = io.WriteString(w, text)
			return
		}
		if !strings.Contains(r.Header.Get("Authorization"), "Credential=ASIA1/") || !strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/s3/") || r.Method != http.MethodPut {
			t.Errorf("%s %s is signed as %q", r.Method, r.URL, r.Header.Get("Authorization"))
		}
		body, err := io.ReadAll(r.Body)
		sum := sha256.Sum256(body)
		if err != nil || hex.EncodeToString(sum[:]) != r.Header.Get("X-Amz-Content-Sha256") {
			t.Errorf("the body is not what was signed: %v", err)
		}
		objects[r.URL.Path] = body
	}))
	defer server.Close()
	kept := bucketSnapshots{
		aws.Client{Metadata: metadata.AWS{Base: server.URL}, Endpoint: func(string) string { return server.URL }}, "s3://machines/" + api.BucketSnapshots,
	}
	database := bytes.Repeat([]byte{7}, 1024)
	trailer := sha256.Sum256(database)
	whole := append(database, trailer[:]...)
	begun := time.Date(2026, 11, 21, 7, 56, 0, 0, time.UTC)
	info, err := kept.Add(t.Context(), begun, 42, bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(whole)
	key := "/machines/snapshots/20261121T075600.000Z_42_" + hex.EncodeToString(sum[:]) + ".db"
	if len(objects) != 1 || !bytes.Equal(objects[key], whole) || info.Revision != 42 || info.Size != int64(len(whole)) {
		t.Errorf("%d objects, none of them %s; described as %+v", len(objects), key, info)
	}
	if _, err := kept.Add(t.Context(), begun, 43, bytes.NewReader(whole[:600])); err == nil || !strings.Contains(err.Error(), "no whole snapshot of etcd") || len(objects) != 1 {
		t.Errorf("half a snapshot: error = %v, %d objects", err, len(objects))
	}
	if left, err := filepath.Glob(filepath.Join(spool, "*")); err != nil || len(left) > 0 {
		t.Errorf("left on the machine: %v, %v", left, err)
	}
}
