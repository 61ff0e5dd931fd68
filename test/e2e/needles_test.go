package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
)

// needles are secrets to search for, each in many forms.
type needles struct {
	names []string
	forms [][]string // of each name: texts of one line, 16 characters and more
}

// add adds a password, or a private key in PEM.
func (n *needles) add(t *testing.T, name, text string) {
	t.Helper()
	parts := []string{text}
	var forms []string
	if block, _ := pem.Decode([]byte(text)); block != nil {
		// The rest of the file is public: the kind of key, and its public half.
		private := scalar(t, name, block)
		parts = nil
		for _, encoded := range base64Forms(private) {
			// PEM breaks lines: what is left of the key on one of them.
			parts = append(parts, encoded[:16], encoded[len(encoded)-16:])
		}
		forms = append(forms, hex.EncodeToString(private[:16]), strings.ToUpper(hex.EncodeToString(private[:16])))
	}
	for _, part := range parts {
		if len(part) < 16 {
			t.Fatalf("%s has only %d characters", name, len(part))
		}
		forms = append(forms, part, hex.EncodeToString([]byte(part)))
		forms = append(forms, base64Forms([]byte(part))...)
	}
	n.names, n.forms = append(n.names, name), append(n.forms, forms)
}

// scalar is the part of a private key that is secret.
func scalar(t *testing.T, name string, block *pem.Block) []byte {
	t.Helper()
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	key, err := parsed.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return key
}

// base64Forms is what of a text is in the base64 of any text that contains it: three ways, by where it begins, in two
// alphabets.
func base64Forms(text []byte) []string {
	var forms []string
	for shift := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), text...))
		first, last := (shift*8+5)/6, (shift+len(text))*8/6 // whole characters of this text alone
		forms = append(forms, encoded[first:last], strings.NewReplacer("+", "-", "/", "_").Replace(encoded[first:last]))
	}
	slices.Sort(forms)
	return slices.Compact(forms)
}

// in names the secrets that are in the data.
func (n *needles) in(data []byte) []string {
	var found []string
	for i, name := range n.names {
		if slices.ContainsFunc(n.forms[i], func(form string) bool { return bytes.Contains(data, []byte(form)) }) {
			found = append(found, name)
		}
	}
	return found
}

// patterns are all forms, one a line, as grep takes them.
func (n *needles) patterns() string {
	return strings.Join(slices.Concat(n.forms...), "\n") + "\n"
}

// TestNeedlesAreFound: what the search for secrets rests on.
func TestNeedlesAreFound(t *testing.T) {
	const password = "MHL8lNL5zJ81KmsQ9KSRQQi0U4rmWyMR"
	const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2
OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r
1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G
-----END PRIVATE KEY-----
`
	n := &needles{}
	n.add(t, "password", password)
	n.add(t, "key", key)
	lines := strings.Split(key, "\n")
	for _, before := range []string{"", "x", "xy"} {
		for _, c := range []struct{ text, name string }{
			{password, "password"}, {key, "key"}, {lines[1], "key"}, {lines[2], "key"}, {strings.ReplaceAll(key, "\n", `\n`), "key"},
		} {
			inside := before + c.text + "!"
			for how, text := range map[string]string{
				"plain": inside, "base64": base64.StdEncoding.EncodeToString([]byte(inside)), "base64 for URLs": base64.URLEncoding.EncodeToString([]byte(inside)),
				"hex": hex.EncodeToString([]byte(inside)),
			} {
				if got := n.in([]byte(text)); !slices.Equal(got, []string{c.name}) {
					t.Errorf("%s in %s after %q: found %v", c.name, how, before, got)
				}
			}
		}
	}
	block, _ := pem.Decode([]byte(key))
	for _, text := range []string{hex.EncodeToString(block.Bytes), base64.StdEncoding.EncodeToString(append([]byte("xy"), block.Bytes...))} {
		if got := n.in([]byte(text)); !slices.Equal(got, []string{"key"}) {
			t.Errorf("the key's bytes in %s: found %v", text, got)
		}
	}
	if got := n.in([]byte(lines[3])); got != nil {
		t.Errorf("the public half is taken for %v", got)
	}
}
