package ignition

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	butane "github.com/coreos/butane/config"
	"github.com/coreos/butane/config/common"
	"go.yaml.in/yaml/v3"
)

// The part of Butane's schema that devctl uses (variant fcos, version 1.4.0). The order of the fields is the
// order in the file.
type config struct {
	Variant  string         `yaml:"variant"`
	Version  string         `yaml:"version"`
	Ignition *ignitionBlock `yaml:"ignition,omitempty"`
	Passwd   *passwd        `yaml:"passwd,omitempty"`
	Storage  storage        `yaml:"storage,omitempty"`
	Systemd  *systemd       `yaml:"systemd,omitempty"`
}

type ignitionBlock struct {
	Config struct {
		Merge []resource `yaml:"merge"`
	} `yaml:"config"`
}

// resource is text, or where the machine fetches it from.
type resource struct {
	Inline       string        `yaml:"inline,omitempty"`
	Source       string        `yaml:"source,omitempty"`
	Verification *verification `yaml:"verification,omitempty"`
}

type verification struct {
	Hash string `yaml:"hash"`
}

type passwd struct {
	Users []user `yaml:"users"`
}

type user struct {
	Name              string   `yaml:"name"`
	SSHAuthorizedKeys []string `yaml:"ssh_authorized_keys"`
}

type storage struct {
	Directories []directory `yaml:"directories,omitempty"`
	Files       []file      `yaml:"files,omitempty"`
}

type directory struct {
	Path string `yaml:"path"`
	Mode mode   `yaml:"mode"`
}

type file struct {
	Path string `yaml:"path"`
	Mode mode   `yaml:"mode"`
	// Overwrite is what lets an interrupted first boot start over: Ignition refuses to write a file that is there.
	Overwrite bool     `yaml:"overwrite"`
	Contents  resource `yaml:"contents"`
}

// newFile is a file that the config owns.
func newFile(path string, m mode, content string) file {
	return file{Path: path, Mode: m, Overwrite: true, Contents: resource{Inline: content}}
}

type systemd struct {
	Units []unitFile `yaml:"units"`
}

type unitFile struct {
	Name     string `yaml:"name"`
	Enabled  bool   `yaml:"enabled,omitempty"`
	Mask     bool   `yaml:"mask,omitempty"`
	Contents string `yaml:"contents,omitempty"`
}

// mode is permission bits. YAML has them in octal: Butane takes a decimal 644 for a mistake.
type mode uint32

func (m mode) MarshalYAML() (any, error) {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: "0" + strconv.FormatUint(uint64(m), 8)}, nil
}

// render writes the config as Butane, below a comment, and translates it to Ignition. Whatever Butane remarks is
// an error: it only warns of what it does not know.
//
// Compression stays off: it would make the bytes depend on the gzip of the Go release that devctl is built with,
// and a changed byte replaces machines.
func render(comment string, c config) (Rendered, error) {
	// 1.4.0 is Ignition 3.3.0, the newest that Ignition 2.14 of Debian 12 applies (docs/specs.md of Butane);
	// the Ignition of every Fedora CoreOS of today applies it as well.
	c.Variant, c.Version = "fcos", "1.4.0"
	var text bytes.Buffer
	fmt.Fprintf(&text, "# %s\n", comment)
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(c); err != nil {
		return Rendered{}, fmt.Errorf("write Butane: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return Rendered{}, fmt.Errorf("write Butane: %w", err)
	}
	ignition, report, err := butane.TranslateBytes(text.Bytes(), common.TranslateBytesOptions{
		TranslateOptions: common.TranslateOptions{NoResourceAutoCompression: true},
	})
	if err != nil {
		return Rendered{}, fmt.Errorf("translate Butane to Ignition: %w\n%s", err, report.String())
	}
	if len(report.Entries) > 0 {
		return Rendered{}, fmt.Errorf("translate Butane to Ignition: %s", report.String())
	}
	return Rendered{Butane: text.Bytes(), Ignition: ignition, Hash: Hash(ignition)}, nil
}

// hashLength is how many hex digits of a SHA-256 tell one config from another.
const hashLength = 12

// Hash is what tells one Ignition config from another: 12 hex digits of its SHA-256.
func Hash(ignition []byte) string {
	sum := sha256.Sum256(ignition)
	return hex.EncodeToString(sum[:])[:hashLength]
}
