package ignition

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clarketm/json" // as Butane: the standard one writes empty structs
	v33 "github.com/coreos/ignition/v2/config/v3_3"
	"github.com/coreos/ignition/v2/config/v3_3/types"

	"devctl/internal/api"
)

// Source is something that a machine fetches at its first boot.
type Source struct {
	URL    string // s3:// with the machine's own role, or https://
	SHA256 string // of the content, in hex; empty where the content may change without the machine
}

// Download is a file that a machine fetches.
type Download struct {
	Path   string
	Mode   uint32 // permission bits
	Source Source // with its SHA256
}

// resource checks the source. Compression is not for it: Ignition refuses s3:// with it, at boot and not before.
func (s Source) resource() (resource, error) {
	if !strings.HasPrefix(s.URL, "s3://") && !strings.HasPrefix(s.URL, "https://") {
		return resource{}, fmt.Errorf("source %q is neither s3:// nor https://", s.URL)
	}
	out := resource{Source: s.URL}
	if s.SHA256 == "" {
		return out, nil
	}
	if sum, err := hex.DecodeString(s.SHA256); err != nil || len(sum) != 32 || strings.ToLower(s.SHA256) != s.SHA256 {
		return resource{}, fmt.Errorf("source %q: %q is no SHA-256 in lower-case hex", s.URL, s.SHA256)
	}
	out.Verification = &verification{Hash: "sha256-" + s.SHA256}
	return out, nil
}

// Fedora CoreOS updates itself, and reboots for it when it likes. Here the release is part of the stack's spec, and a
// new one comes with a new machine: one at a time, after the health of the others was looked at, and with the old
// release to go back to. A reboot that nobody waits for could take etcd's quorum or a shard's last copy away.
const (
	zincatiFile = "/etc/zincati/config.d/90-devctl.toml"
	zincatiOff  = "[updates]\nenabled = false\n"
)

// addCloud adds to a role's config what machines need that are Fedora CoreOS and start with nothing of ours.
func addCloud(out *config, c RoleConfig) error {
	out.Storage.Files = append(out.Storage.Files, newFile(zincatiFile, 0o644, zincatiOff))
	downloads := slices.SortedFunc(slices.Values(c.Downloads), func(a, b Download) int { return cmp.Compare(a.Path, b.Path) })
	for _, d := range downloads {
		contents, err := d.Source.resource()
		if err != nil {
			return fmt.Errorf("download %s: %w", d.Path, err)
		}
		if contents.Verification == nil {
			return fmt.Errorf("download %s: no SHA-256", d.Path)
		}
		out.Storage.Files = append(out.Storage.Files, file{Path: d.Path, Mode: mode(d.Mode), Overwrite: true, Contents: contents})
	}
	if !slices.ContainsFunc(downloads, func(d Download) bool { return d.Path == api.Daemon }) {
		return fmt.Errorf("no download of %s", api.Daemon)
	}
	if c.Role == api.RoleMain && c.Images == "" {
		return errors.New("no folder with archives of images")
	}
	// It would start by itself beside podman at the first touch of its socket, and change the firewall's rules.
	for _, name := range []string{"docker.service", "docker.socket"} {
		out.Systemd.Units = append(out.Systemd.Units, unitFile{Name: name, Mask: true})
	}
	return nil
}

// CloudMachine renders the Ignition config of the machines of one slot, or of an elastic group, from the role's. The
// secrets are fetched at boot: they are in no user data. What id leaves empty (of an elastic group name, zone and
// address) `devctld setup` asks the cloud for.
//
// It is one flat config: nested ones would be encoded twice, and a machine has little room.
func CloudMachine(role []byte, secrets Source, id api.Identity) ([]byte, error) {
	own, err := cloudOwn(Hash(role), id, secrets)
	if err != nil {
		return nil, err
	}
	below, err := parse(role)
	if err != nil {
		return nil, fmt.Errorf("render role %s: %w", id.Role, err)
	}
	above, err := parse(own)
	if err != nil {
		return nil, fmt.Errorf("render role %s: %w", id.Role, err)
	}
	return json.Marshal(v33.Merge(below, above))
}

// CloudPointer is CloudMachine for machines that fetch their role's config as well: where user data has to be kept secret
// for the sake of the secrets' URL, the config can so be read by itself. The source needs the SHA-256 of the config.
func CloudPointer(role, secrets Source, id api.Identity) ([]byte, error) {
	if role.SHA256 == "" {
		return nil, fmt.Errorf("render role %s: its config at %s has no SHA-256", id.Role, role.URL)
	}
	return cloudOwn(role.SHA256[:min(hashLength, len(role.SHA256))], id, role, secrets)
}

// cloudOwn renders what the machines of one slot, or of an elastic group, do not share with their role: who they are, and
// the layers that they fetch.
func cloudOwn(hash string, id api.Identity, layers ...Source) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("render %s of role %s: %w", cmp.Or(id.Name, "any node"), id.Role, err)
	}
	pairs := []string{"DEVCTL_STACK", id.Stack, "DEVCTL_ROLE", string(id.Role), "DEVCTL_CONFIG", hash}
	if id.Name != "" || id.Role != api.RoleWorker {
		pairs = append(pairs, "DEVCTL_NODE", id.Name)
	}
	if id.Zone != "" {
		pairs = append(pairs, "DEVCTL_ZONE", id.Zone)
	}
	if id.Address != "" {
		pairs = append(pairs, "DEVCTL_ADDRESS", id.Address)
	}
	node, err := env(pairs...)
	if err != nil {
		return fail(err)
	}
	block := &ignitionBlock{}
	for _, layer := range layers {
		fetched, err := layer.resource()
		if err != nil {
			return fail(err)
		}
		block.Config.Merge = append(block.Config.Merge, fetched)
	}
	own, err := render("", config{Ignition: block, Storage: storage{Files: []file{newFile(api.NodeEnvFile, 0o644, node)}}})
	if err != nil {
		return fail(err)
	}
	return own.Ignition, nil
}

// parse reads an Ignition config strictly.
func parse(config []byte) (types.Config, error) {
	parsed, report, err := v33.Parse(config)
	if err != nil {
		return types.Config{}, fmt.Errorf("parse Ignition: %w\n%s", err, report.String())
	}
	if len(report.Entries) > 0 {
		return types.Config{}, fmt.Errorf("parse Ignition: %s", report.String())
	}
	return parsed, nil
}

// MainsEnv is the content of the object api.RegistryMains.
func MainsEnv(mains []api.Peer) (string, error) { return clusterEnv(RoleConfig{Mains: mains}) }

// FoundersEnv is the content of the object api.RegistryFounders: the IDs of the first main nodes' machines, and who the main
// nodes were then. A machine founds only a cluster of exactly these.
func FoundersEnv(mains []api.Peer, ids []string) (string, error) {
	founders, err := env("DEVCTL_FOUNDERS", strings.Join(slices.Sorted(slices.Values(ids)), ","))
	if err != nil {
		return "", err
	}
	text, err := MainsEnv(mains)
	return text + founders, err
}
