package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKeyManagementService: no KMS can run here, so this is about what pulumi is told. The pulumi of this test writes down its
// arguments, and what of its environment matters.
func TestKeyManagementService(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho \"$PULUMI_BACKEND_URL $*\" >> '" + log + "'\n" +
		"case \"$*\" in *export*|*select*) echo \"error: no stack named 'prod' found\" >&2; exit 255;; esac\n"
	path := filepath.Join(dir, "pulumi")
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	const key, bucket = "awskms://alias/devctl?region=eu-central-1", "s3://states?region=eu-central-1"
	o := Options{Project: "test", Stack: "prod", Home: filepath.Join(dir, "home"), BinDir: "../../bin", Backend: bucket, SecretsProvider: key}
	s, err := open(o)
	if err != nil {
		t.Fatal(err)
	}
	s.command.path = path
	if err := s.ask(t.Context(), s.backend.(*remote)); err != nil || s.Exists() {
		t.Fatalf("ask: %v, exists: %v", err, s.Exists())
	}
	if _, err := s.workspace(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	calls, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(calls)), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, bucket+" ") || !strings.Contains(last, " stack init prod") || !strings.Contains(last, " --secrets-provider "+key) {
		t.Errorf("pulumi was told %q", lines)
	}
	if _, err := os.Stat(s.home.passphrase()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a passphrase was made for nothing: %v", err)
	}

	// What `stack init` leaves behind, and a spec that says otherwise since.
	config := s.home.config(o.Project, o.Stack)
	if err := os.WriteFile(config, []byte("secretsprovider: "+key+"\nencryptedkey: QUJD\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.checkSecretsProvider(); err != nil {
		t.Error(err)
	}
	s.options.SecretsProvider = ""
	if err := s.checkSecretsProvider(); err == nil || !strings.Contains(err.Error(), "encrypted with "+key+", and its spec says passphrase") {
		t.Errorf("error: %v", err)
	}
	if err := os.WriteFile(config, []byte("encryptionsalt: v1:abc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.options.SecretsProvider = key
	if err := s.checkSecretsProvider(); err == nil || !strings.Contains(err.Error(), "encrypted with passphrase, and its spec says "+key) {
		t.Errorf("error: %v", err)
	}
}
