// Package ignition renders the configuration of machines: Butane, and from it the Ignition config that a machine
// applies at its first boot, once in its life.
//
// A machine gets three layers. Role is public and the same for all machines of a role, so that what makes a group
// can be read, compared and put into a launch template. Secrets holds the same role's key files. Machine merges
// the two and adds who this one machine is; CloudMachine does that where the machine fetches its secrets itself, and
// UserData makes it small enough for a cloud to hand over. Whatever runs on top of the nodes is not in it: it is
// deployed.
//
// The package is pure: the same arguments give the same bytes.
package ignition

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"devctl/internal/api"
	"devctl/units"
)

// RoleConfig is what the config of a role is made from. The order of what it lists does not matter.
type RoleConfig struct {
	Stack     string
	Role      api.Role
	Platform  api.Platform // empty for local
	Mains     []api.Peer   // every main node; without addresses on DigitalOcean, where they are known only later
	EtcdImage string       // container image reference; mains only
	SSHKeys   []string     // authorized_keys lines of user core

	// The rest is for clouds.

	// Machine is what a machine is made from beside the config, a line each: its type, its image, its disk. It is in the config
	// so that a machine made from something else has another one.
	Machine   string
	Images    string     // folder, as a URL, with archives of images: see api.ImageArchive
	Downloads []Download // what the machine fetches: at least api.Daemon
	// Registry is the folder, as a URL without a slash at its end, in which a machine looks up what no config can say:
	// see the names below. s3:// on AWS, https:// on DigitalOcean.
	Registry string
}

// Rendered is one config in both of its forms.
type Rendered struct {
	Butane   []byte // YAML, for people
	Ignition []byte // JSON, for machines
	Hash     string // Hash(Ignition)
}

// What the units expect to be there, on every role.
var directories = []directory{
	{"/etc/devctl", 0o755},
	{api.PKIDir, 0o700},
	{api.ServicesDir, 0o755},
	{"/var/lib/devctl", 0o755},
	{api.NodePKIDir, 0o700},
	{api.DataDir, 0o755},
}

const (
	// For people, and for the config's hash: see RoleConfig.Machine.
	machineFile = "/etc/devctl/machine"

	// journald takes up to a tenth of the disk otherwise (man journald.conf), which is Redis's.
	journalFile  = "/etc/systemd/journald.conf.d/50-devctl.conf"
	journalLimit = "[Journal]\nSystemMaxUse=256M\nRuntimeMaxUse=32M\n"

	// Redis forks to write its append-only file anew. Without overcommit the kernel refuses the fork once Redis
	// holds half of the memory (redis.io, "Redis administration").
	sysctlFile    = "/etc/sysctl.d/50-devctl.conf"
	sysctlOfRedis = "vm.overcommit_memory = 1\n"
)

// Role renders the public config of a role.
func Role(c RoleConfig) (Rendered, error) {
	if !slices.Contains(api.Roles(), c.Role) {
		return Rendered{}, fmt.Errorf("render role %q: must be one of %v", c.Role, api.Roles())
	}
	if c.Role == api.RoleMain && c.EtcdImage == "" {
		return Rendered{}, errors.New("render role main: no etcd image")
	}
	cluster, err := clusterEnv(c)
	if err != nil {
		return Rendered{}, fmt.Errorf("render role %s: %w", c.Role, err)
	}
	out := config{
		Storage: storage{
			Directories: directories,
			Files: []file{
				newFile(api.ClusterEnvFile, 0o644, cluster),
				newFile(journalFile, 0o644, journalLimit),
			},
		},
		Systemd: &systemd{},
	}
	switch c.Role {
	case api.RoleMain:
		out.Storage.Directories = append(slices.Clone(directories), directory{api.EtcdDataDir, 0o700})
	case api.RoleData:
		out.Storage.Files = append(out.Storage.Files, newFile(sysctlFile, 0o644, sysctlOfRedis))
	}
	if c.Machine != "" {
		out.Storage.Files = append(out.Storage.Files, newFile(machineFile, 0o644, c.Machine))
	}
	if len(c.SSHKeys) > 0 {
		keys := slices.Sorted(slices.Values(c.SSHKeys))
		out.Passwd = &passwd{Users: []user{{Name: "core", SSHAuthorizedKeys: slices.Compact(keys)}}}
	}
	for _, u := range units.Node(c.Role, units.NodeArgs{Platform: c.Platform, EtcdImage: c.EtcdImage, Images: c.Images}) {
		out.Systemd.Units = append(out.Systemd.Units, unitFile{Name: u.Name, Enabled: true, Contents: u.Text})
	}
	if c.Platform.Cloud() {
		if err := addCloud(&out, c); err != nil {
			return Rendered{}, fmt.Errorf("render role %s: %w", c.Role, err)
		}
	}
	return render(fmt.Sprintf("Every %s node of stack %s.", c.Role, c.Stack), out)
}

// SecretFiles are the key files of a role, PEM.
type SecretFiles struct {
	CACert                      string
	BootstrapCert, BootstrapKey string
	CAKey                       string // mains only: they sign
}

// Secrets renders the secret config of a role. It must never be in user data, a log or a preview.
func Secrets(role api.Role, s SecretFiles) (Rendered, error) {
	if (role == api.RoleMain) != (s.CAKey != "") {
		return Rendered{}, fmt.Errorf("render secrets of role %s: the authority's key is for mains, and only for them", role)
	}
	files := []file{
		newFile(api.PKIDir+"/ca.crt", 0o644, s.CACert),
		newFile(api.PKIDir+"/bootstrap.crt", 0o600, s.BootstrapCert),
		newFile(api.PKIDir+"/bootstrap.key", 0o600, s.BootstrapKey),
	}
	if role == api.RoleMain {
		files = append(files, newFile(api.PKIDir+"/ca.key", 0o600, s.CAKey))
	}
	for _, f := range files {
		if f.Contents.Inline == "" {
			return Rendered{}, fmt.Errorf("render secrets of role %s: %s is empty", role, f.Path)
		}
	}
	return render(fmt.Sprintf("Secret: the keys of every %s node.", role), config{Storage: storage{Files: files}})
}

// Values of DEVCTL_ETCD: how the etcd of a main node starts when it has no data yet.
const (
	EtcdNew  = "new"  // with the other mains, as a new cluster
	EtcdJoin = "join" // as a new member of the cluster that is there
)

// Machine renders the Ignition config of one machine from those of its role. Without secrets, which is for
// showing only, it is what the machine gets but for its keys. The argument etcd is EtcdNew or EtcdJoin on a main
// node and "" elsewhere.
//
// The layers are merged by the machine's Ignition, from data: URLs: they cannot be out of reach at boot.
func Machine(role, secrets []byte, id api.Identity, etcd string) ([]byte, error) {
	if isMain := id.Role == api.RoleMain; isMain && etcd != EtcdNew && etcd != EtcdJoin || !isMain && etcd != "" {
		return nil, fmt.Errorf("render node %s: etcd mode %q does not go with role %s", id.Name, etcd, id.Role)
	}
	node, err := env(
		"DEVCTL_STACK", id.Stack,
		"DEVCTL_NODE", id.Name,
		"DEVCTL_ROLE", string(id.Role),
		"DEVCTL_ZONE", id.Zone,
		"DEVCTL_ADDRESS", id.Address,
		"DEVCTL_CONFIG", Hash(role),
	)
	if err != nil {
		return nil, fmt.Errorf("render node %s: %w", id.Name, err)
	}
	if etcd != "" {
		node += "DEVCTL_ETCD=" + etcd + "\n"
	}
	layers := &ignitionBlock{}
	layers.Config.Merge = []resource{{Inline: string(role)}}
	if len(secrets) > 0 {
		layers.Config.Merge = append(layers.Config.Merge, resource{Inline: string(secrets)})
	}
	out, err := render("Node "+id.Name, config{
		Ignition: layers,
		Storage:  storage{Files: []file{newFile(api.NodeEnvFile, 0o644, node)}},
	})
	if err != nil {
		return nil, fmt.Errorf("render node %s: %w", id.Name, err)
	}
	return out.Ignition, nil
}

// clusterEnv is the content of api.ClusterEnvFile.
func clusterEnv(c RoleConfig) (string, error) {
	if len(c.Mains) == 0 {
		return "", errors.New("no main node")
	}
	sorted := slices.SortedFunc(slices.Values(c.Mains), func(a, b api.Peer) int { return cmp.Compare(a.Name, b.Name) })
	var names, peers []string
	for _, m := range known(c.Role, sorted) {
		names = append(names, m.Name)
		peers = append(peers, m.Name+"="+m.Address)
	}
	mains := []string{"DEVCTL_MAINS", strings.Join(peers, ",")}
	switch c.Platform {
	case "", api.PlatformLocal:
		return env(mains...)
	case api.PlatformAWS:
	case api.PlatformDigitalOcean:
		mains = []string{"DEVCTL_MAIN_NAMES", strings.Join(names, ",")}
	default:
		return "", fmt.Errorf("platform %q is none of %s, %s, %s", c.Platform, api.PlatformLocal, api.PlatformAWS, api.PlatformDigitalOcean)
	}
	return env(append(mains, "DEVCTL_PLATFORM", string(c.Platform), "DEVCTL_REGISTRY", c.Registry)...)
}

// known are the mains that machines of a role have to know from the start. A main node is a member of them all. Others only have to
// find the cluster, and every quorum has one of the first three of three or five, four of seven, five of nine. If they
// were told all, a main more would make other machines of them.
func known(role api.Role, mains []api.Peer) []api.Peer {
	if role != api.RoleWorker && role != api.RoleData {
		return mains
	}
	quorum := len(mains)/2 + 1
	return mains[:min(len(mains), max(3, len(mains)-quorum+1))]
}

// env writes an environment file from pairs of key and value. systemd, podman and shells read such a file each a
// bit differently, so it takes only values that are the same to all of them.
func env(pairs ...string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		key, value := pairs[i], pairs[i+1]
		if value == "" {
			return "", fmt.Errorf("%s is empty", key)
		}
		if i := strings.IndexFunc(value, func(r rune) bool { return !plain(r) }); i >= 0 {
			return "", fmt.Errorf("%s=%q: only letters, digits and .,:=_/- can be in it", key, value)
		}
		fmt.Fprintf(&b, "%s=%s\n", key, value)
	}
	return b.String(), nil
}

// plain tells whether no reader of environment files treats the character as anything but itself.
func plain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".,:=_/-", r)
}
