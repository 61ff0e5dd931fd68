package planview

import (
	"encoding/base64"
	"net/url"
	"strings"

	"devctl/ignition/diff"
	"devctl/internal/api"
)

// window is how much of a secret may be seen in one piece: one character less than this.
const window = 8

// shortest is how long a secret must be to be looked for. What is shorter is in every text by chance.
const shortest = 4

// masker takes secrets out of texts: each whole, each piece of one that is at least window long, and the same of it in
// base64 and in URLs.
type masker struct {
	pieces map[string]bool // of length window
	short  []string        // secrets that are no longer than that
}

func newMasker(secrets []string) masker {
	m := masker{pieces: map[string]bool{}}
	for _, s := range secrets {
		config, err := diff.Parse(s, nil)
		if err != nil {
			m.secret(s)
			continue
		}
		// Of a configuration the contents are secret, and what is in a URL besides the place: its paths are in every unit. Who a
		// machine is and where the mains are is known to everybody.
		for _, part := range config.Parts {
			if part.Name != api.NodeEnvFile && part.Name != api.ClusterEnvFile {
				m.secret(part.Text)
			}
			for _, attribute := range part.Attributes {
				if attribute.Secret {
					m.secret(attribute.Value)
				}
			}
		}
	}
	return m
}

// secret adds one secret. Certificates are none, though they may come with their keys.
func (m *masker) secret(s string) {
	public := false
	for _, line := range strings.Split(s, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "-----") { // PEM's armour says nothing
			public = line == "-----BEGIN CERTIFICATE-----"
			continue
		}
		if public {
			continue
		}
		for _, form := range []string{line, url.PathEscape(line), url.QueryEscape(line)} {
			m.add(form)
		}
		if len(line) >= window {
			// In base64 a text looks different by where it begins in a group of three; only what is within a group's bounds is
			// sure to be the secret's.
			for shift := range 3 {
				encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + line))
				m.add(encoded[min(len(encoded), (shift*8+5)/6) : len(encoded)/4*4-4])
			}
		}
	}
}

func (m *masker) add(form string) {
	if len(form) < shortest {
		return
	}
	if len(form) < window {
		m.short = append(m.short, form)
		return
	}
	for i := 0; i+window <= len(form); i++ {
		m.pieces[form[i:i+window]] = true
	}
}

// text is the text with "[secret]" in place of whatever is of a secret.
func (m masker) text(text string) string {
	var b strings.Builder
	kept := 0 // up to here the text is written
	for i := 0; i+window <= len(text); {
		if !m.pieces[text[i:i+window]] {
			i++
			continue
		}
		end := i + window
		for end < len(text) && m.pieces[text[end+1-window:end+1]] {
			end++
		}
		b.WriteString(text[kept:i])
		b.WriteString(secret)
		kept, i = end, end
	}
	b.WriteString(text[kept:])
	text = b.String()
	for _, s := range m.short {
		text = strings.ReplaceAll(text, s, secret)
	}
	return text
}
