package planview

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"devctl/internal/cli/output"
	"devctl/internal/engine"
)

const (
	oldSecret = "Tr0ub4dor&3-horse/battery"
	newSecret = "N0t-the-same+staple=5"
	key       = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIB\nAQQgK1i8uUjYzQ==\n-----END PRIVATE KEY-----\n"
)

// TestNoSecretIsEverShown puts secrets into everything that may be rendered, whole, in pieces and encoded, and looks for any
// eight characters of them in all formats.
func TestNoSecretIsEverShown(t *testing.T) {
	t.Parallel()
	leak := func(s string) string {
		return strings.Join([]string{"requirepass " + s, "half=" + s[:len(s)/2], "rest=" + s[5:], "url=redis://app:" + url.QueryEscape(s) + "@h",
			"basic=" + base64.StdEncoding.EncodeToString([]byte("app:"+s)), "\n" + key}, "\n")
	}
	quoted := func(s string) string {
		data, err := json.Marshal(map[string]any{"Statement": s})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	before, after := leak(oldSecret), leak(newSecret)
	policy := engine.PropertyChange{Path: "policy", Kind: engine.ChangeUpdate, Old: quoted(before), New: quoted(after)}
	plan := New(Input{
		Stack: "s", Provider: "aws", Secrets: []string{oldSecret, newSecret, key}, Unknowns: []string{"It is " + oldSecret + "."},
		Events: []engine.Event{
			group(engine.OpUpdate, "main", nodes("main-1"), nodes("main-1"), changed("config", config(t, before, 1), config(t, after, 1))),
			planned(engine.OpUpdate, "aws:iam/rolePolicy:RolePolicy", "main", policy, changed("plain", oldSecret, newSecret)),
			planned(engine.OpCreate, "devctl:local:Network", "network", engine.PropertyChange{Path: "cidr", Kind: engine.ChangeAdd, New: oldSecret}),
		},
		Deployment: &Deployment{Unknown: "the answer was " + newSecret},
	})
	data, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	forms := []string{oldSecret, newSecret, "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIB", "AQQgK1i8uUjYzQ=="}
	for format, got := range map[string]string{"text": strings.Join(plan.Lines(output.Style{}), "\n"), "markdown": plan.Markdown("devctl preview"), "json": string(data)} {
		for _, s := range forms {
			for i := 0; i+window <= len(s); i++ {
				if piece := s[i : i+window]; strings.Contains(got, piece) {
					t.Errorf("%s shows %q:\n%s", format, piece, got)
					break
				}
			}
		}
		for _, s := range forms[:2] {
			encoded := base64.StdEncoding.EncodeToString([]byte("app:" + s))
			if strings.Contains(got, encoded[8:16]) {
				t.Errorf("%s shows base64 of a secret", format)
			}
		}
		if !strings.Contains(got, secret) || !strings.Contains(got, "requirepass") || !strings.Contains(got, "plain") {
			t.Errorf("%s does not say where secrets change:\n%s", format, got)
		}
	}
}

func TestMask(t *testing.T) {
	t.Parallel()
	m := newMasker([]string{"correct-horse", "abcd", "x", ""})
	for in, want := range map[string]string{
		"":                             "",
		"nothing":                      "nothing",
		"is correct-horse.":            "is [secret].",
		"correct-horsecorrect-horse":   "[secret][secret]",
		"is orrect-hor, is it":         "is [secret], is it",
		"no more than correct":         "no more than correct",
		"an abcd in it, and x":         "an [secret] in it, and x",
		"größer correct-horse größer ": "größer [secret] größer ",
	} {
		if got := m.text(in); got != want {
			t.Errorf("text(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestMaskKnowsWhatIsSecretInAConfig: the contents of a secret configuration are, its paths and certificates are not.
func TestMaskKnowsWhatIsSecretInAConfig(t *testing.T) {
	t.Parallel()
	const certificate = "-----BEGIN CERTIFICATE-----\nMIIBhTCCASugAwIBAgIQIRi6zePL6mKjOipn\n-----END CERTIFICATE-----\n"
	const pointer = `{"ignition":{"version":"3.3.0","config":{"merge":[{"source":"https://bucket.example.com/secrets.ign?Signature=5f2c9a81d0"}]}},` +
		`"storage":{"files":[{"path":"/etc/devctl/node.env","contents":{"source":"data:,DEVCTL_STACK%3Ddigitalocean"}}]}}`
	m := newMasker([]string{config(t, "correct-horse-battery", 1), certificate + key, pointer})
	for in, want := range map[string]string{
		"https://bucket.example.com/secrets.ign?Signature=5f2c9a81d0": "https://bucket.example.com/secrets.ign?[secret]",
		"DEVCTL_STACK=digitalocean":                                   "DEVCTL_STACK=digitalocean",
		"ExecStart=/usr/bin/cat /etc/motd":                            "ExecStart=/usr/bin/cat /etc/motd",
		"GOMEMLIMIT=correct-horse-battery":                            "[secret]",
		"MIIBhTCCASugAwIBAgIQIRi6zePL6mKjOipn":                        "MIIBhTCCASugAwIBAgIQIRi6zePL6mKjOipn",
		"key AQQgK1i8uUjYzQ== of devctl-agent.s":                      "key [secret] of devctl-agent.s",
		"-----BEGIN PRIVATE KEY-----":                                 "-----BEGIN PRIVATE KEY-----",
		"WantedBy=multi-user.target devctl.internal":                  "WantedBy=multi-user.target devctl.internal",
	} {
		if got := m.text(in); got != want {
			t.Errorf("text(%q) = %q, want %q", in, got, want)
		}
	}
}
