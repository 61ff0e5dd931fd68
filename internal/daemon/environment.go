package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"devctl/internal/api"
)

// Keys of the node's environment.
const (
	keyStack    = "DEVCTL_STACK"
	keyNode     = "DEVCTL_NODE"
	keyRole     = "DEVCTL_ROLE"
	keyZone     = "DEVCTL_ZONE"
	keyAddress  = "DEVCTL_ADDRESS"
	keyConfig   = "DEVCTL_CONFIG"
	keyEtcd     = "DEVCTL_ETCD"
	keyMains    = "DEVCTL_MAINS"
	keyInstance = "DEVCTL_INSTANCE_ID"
	keyCgroups  = "PODMAN_CGROUPS"

	// On clouds.
	keyPlatform  = "DEVCTL_PLATFORM"
	keyRegistry  = "DEVCTL_REGISTRY"
	keyMainNames = "DEVCTL_MAIN_NAMES"
	keyFounders  = "DEVCTL_FOUNDERS" // in the registry only
)

// node is what the environment says about this machine.
type node struct {
	Identity  api.Identity
	Platform  api.Platform // empty for local
	ID        string       // container ID or instance ID; empty before setup
	Ignition  string       // hash of the Ignition config
	Mains     []api.Peer
	FoundEtcd bool // this main node may form the stack's etcd cluster
}

// environment reads the environment; a key that is not there is looked for in the files that units load it from, so
// that a person can run a subcommand by hand.
func environment() (getter, error) {
	values := map[string]string{}
	for _, file := range []string{api.NodeEnvFile, api.ClusterEnvFile, api.PlatformEnvFile} {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read the node's environment: %w", err)
		}
		for key, value := range parseEnv(string(text)) {
			values[key] = value
		}
	}
	return func(key string) string {
		if value, ok := os.LookupEnv(key); ok {
			return value
		}
		return values[key]
	}, nil
}

// parseNode checks all there is and reports everything that is wrong at once.
func parseNode(get getter) (node, error) {
	var problems []error
	need := func(key string) string {
		value := get(key)
		if value == "" {
			problems = append(problems, fmt.Errorf("%s is missing", key))
		}
		return value
	}
	n := node{
		Identity: api.Identity{
			Stack: need(keyStack), Name: need(keyNode), Role: api.Role(need(keyRole)),
			Zone: need(keyZone), Address: need(keyAddress),
		},
		Platform: api.Platform(get(keyPlatform)),
		ID:       get(keyInstance),
		Ignition: get(keyConfig),
	}
	mains, err := parseMains(need(keyMains))
	if err != nil {
		problems = append(problems, err)
	}
	n.Mains = mains
	switch n.Identity.Role {
	case api.RoleWorker, api.RoleData, "":
	case api.RoleMain:
		switch etcd := get(keyEtcd); etcd {
		case "new":
			n.FoundEtcd = true
		case "join":
		default:
			problems = append(problems, fmt.Errorf("%s is %q, want new or join", keyEtcd, etcd))
		}
	default:
		problems = append(problems, fmt.Errorf("%s is %q, want one of %v", keyRole, n.Identity.Role, api.Roles()))
	}
	if len(problems) > 0 {
		return node{}, fmt.Errorf("the node's environment, from %s and %s: %w",
			api.NodeEnvFile, api.ClusterEnvFile, errors.Join(problems...))
	}
	return n, nil
}

// parseMains reads main-1=198.18.0.11,main-2=….
func parseMains(text string) ([]api.Peer, error) {
	if text == "" {
		return nil, nil
	}
	var mains []api.Peer
	for part := range strings.SplitSeq(text, ",") {
		name, address, ok := strings.Cut(part, "=")
		if !ok || name == "" || address == "" {
			return nil, fmt.Errorf("%s has %q, want NAME=ADDRESS", keyMains, part)
		}
		mains = append(mains, api.Peer{Name: name, Address: address})
	}
	return mains, nil
}

// parseEnv reads an environment file as systemd does, as far as devctl writes them: KEY=VALUE lines, comments,
// and values in quotes.
func parseEnv(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		values[key] = value
	}
	return values
}
