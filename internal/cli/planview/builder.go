package planview

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"devctl/ignition/diff"
	"devctl/internal/api"
	"devctl/internal/engine"
)

const (
	// secret and unknown are what the engine writes in place of a secret, and of what only the update will know.
	secret  = "[secret]"
	unknown = "[unknown]"
)

// builder makes a plan from events.
type builder struct {
	in Input
	// before and after are the contents of the objects that machines may fetch, by key.
	before, after map[string]string
	// refreshed are the roles whose machines the cloud itself replaces when what they are made from changes.
	refreshed map[api.Role]bool
	// kept are the main and data nodes on droplets that stay as they are, by role.
	kept map[api.Role][]string
	// What every group gets of its changes, by its name.
	fates   map[string][]Machines
	configs map[string][]Config
	secrets map[string][]string
	opens   map[string]bool
}

func newBuilder(in Input) *builder {
	b := &builder{
		in: in, before: map[string]string{}, after: map[string]string{}, refreshed: map[api.Role]bool{}, kept: map[api.Role][]string{},
		fates: map[string][]Machines{}, configs: map[string][]Config{}, secrets: map[string][]string{}, opens: map[string]bool{},
	}
	for _, e := range in.Events {
		if e.Kind != engine.KindPlanned {
			continue
		}
		if of(e.Type).one == "object" {
			remember(b.before, e.Old)
			remember(b.after, e.New)
		}
		if kind(e.Type) == "Droplet" && (e.Op == engine.OpSame || e.Op == engine.OpUpdate) {
			role, node := owner(e)
			b.kept[role] = append(b.kept[role], node)
		}
		if _, refreshes := e.New["instanceRefresh"]; refreshes {
			role, _ := owner(e)
			b.refreshed[role] = true
		}
	}
	return b
}

// remember keeps an object whose content is known.
func remember(objects map[string]string, inputs map[string]any) {
	key, _ := inputs["key"].(string)
	if content, ok := inputs["content"].(string); ok && key != "" && content != secret && content != unknown {
		objects[key] = content
	}
}

// holdsConfig tells whether an object is a machine's configuration: it is called after its content.
func holdsConfig(e engine.Event) bool {
	content, _ := e.New["content"].(string)
	_, err := diff.Parse(content, nil)
	return err == nil
}

// fetch finds an object by the URL under which machines get it.
func fetch(objects map[string]string) func(string) (string, bool) {
	return func(source string) (string, bool) {
		u, err := url.Parse(source)
		if err != nil {
			return "", false
		}
		content, found := objects[strings.TrimPrefix(u.Path, "/")]
		return content, found
	}
}

// change is what one resource's event says.
func (b *builder) change(e engine.Event) Change {
	role, node := owner(e)
	c := Change{Op: e.Op, Type: e.Type, Name: e.Name, URN: e.URN, Role: role, Node: node, Diff: []engine.PropertyChange{}}
	c.Group = groupOf(e.Type, e.Name, role)
	known := of(e.Type)
	for _, p := range e.Diff {
		// Which nodes come and go, the machines say.
		slots := kind(e.Type) == "NodeGroup" && p.Path == "nodes" && len(movedNodes(e)) == 0
		c.follow = append(c.follow, slots || known.followsOnly(p.Path) || p.Path == "key" && known.one == "object" && holdsConfig(e))
		config, isConfig := b.config(e, c, p)
		switch {
		case isConfig:
			p.Old, p.New = "", ""
			if len(config.Parts) > 0 || config.Unknown {
				b.configs[c.Group] = append(b.configs[c.Group], config)
			}
		case kind(e.Type) == "NodeGroup" && p.Path == "machines":
			p.Old, p.New = "", "" // hashes of what they were made from
		case known.one == "object" && p.Path == "source":
			p.Old, p.New = asset(p.Old, p.New), asset(p.New, p.Old)
		default:
			p.Old, p.New = readable(p.Old), readable(p.New)
		}
		if hidesSecret(p) && e.Op != engine.OpCreate && e.Op != engine.OpDelete {
			b.secrets[c.Group] = append(b.secrets[c.Group], p.Path+" of "+Noun(e.Type, e.Name))
		}
		c.Diff = append(c.Diff, p)
	}
	switch e.Op {
	case engine.OpCreate:
		c.extent = extent(e.New)
	case engine.OpDelete:
		c.extent = extent(e.Old)
	}
	b.fates[c.Group] = append(b.fates[c.Group], b.machines(e, c)...)
	b.opens[c.Group] = b.opens[c.Group] || known.opens
	return c
}

func hidesSecret(p engine.PropertyChange) bool {
	return strings.Contains(p.Old, secret) || strings.Contains(p.New, secret)
}

// config compares the machine configurations in a property; false when there is none in it.
func (b *builder) config(e engine.Event, c Change, p engine.PropertyChange) (Config, bool) {
	nodes := nodesOr(c)
	if kind(e.Type) == "NodeGroup" {
		nodes = []string{all(api.Role(e.Name))}
	}
	before, errBefore := diff.Parse(p.Old, fetch(b.before))
	after, errAfter := diff.Parse(p.New, fetch(b.after))
	switch {
	case errBefore != nil && errAfter != nil:
		return Config{}, false
	case e.Op == engine.OpCreate || e.Op == engine.OpDelete:
		return Config{}, true // all of it comes or goes
	case p.New == unknown:
		return Config{Nodes: nodes, Unknown: true}, true
	}
	return newConfig(nodes, diff.Compare(before, after), true), true
}

// group is one group of the plan; false when nothing changes in it.
func (b *builder) group(name string, changes []Change) (Group, bool) {
	g := Group{Name: name, Resources: counts(), Notice: NoticeNothing}
	found := false
	for _, c := range changes {
		if c.Group == name {
			g.Resources[c.Op]++
			found = true
		}
	}
	g.Machines = sum(b.fates[name])
	g.Configs = once(b.configs[name])
	g.Secrets = slices.Compact(slices.Sorted(slices.Values(b.secrets[name])))
	g.Notice, g.Why = b.notice(api.Role(name), g.Machines)
	changed := g.Resources[engine.OpCreate] + g.Resources[engine.OpUpdate] + g.Resources[engine.OpReplace] + g.Resources[engine.OpDelete]
	switch {
	case name == groupNetwork && slices.ContainsFunc(changes, replacedNetwork):
		g.Notice, g.Why = NoticeOutage, "what is in the network goes with it, and is made anew"
	case name == groupNetwork && b.opens[name] && changed > g.Resources[engine.OpCreate]:
		g.Notice, g.Why = NoticeAccess, "who may reach what changes"
	case name == groupSecrets && changed > g.Resources[engine.OpCreate]:
		g.Notice, g.Why = passwordNotice(changes)
	case name == groupEndpoint && g.Resources[engine.OpReplace]+g.Resources[engine.OpDelete] > 0:
		g.Notice, g.Why = NoticeOutage, "clients need the endpoint's new address"
	}
	return g, found
}

// replacedNetwork tells whether the change takes away what machines are in.
func replacedNetwork(c Change) bool {
	return c.Op == engine.OpReplace && slices.Contains([]string{"Network", "Vpc", "Subnet"}, kind(c.Type))
}

// passwordNotice is what people notice of new passwords: a service gets its own when it starts, and each node looks for them
// twice a minute.
func passwordNotice(changes []Change) (Notice, string) {
	changed := func(names ...string) bool {
		return slices.ContainsFunc(changes, func(c Change) bool {
			return kind(c.Type) == "Password" && c.Op != engine.OpCreate && slices.Contains(names, c.Name)
		})
	}
	const restart = "each Redis restarts with the new password within half a minute, in no order: keys may take no writes for some seconds"
	switch {
	case changed(api.SecretRedisApp):
		return NoticeFailover, restart + "; clients log in with the new one from then on, and with the old one no longer"
	case changed(api.SecretRedisAdmin, api.SecretRedisReplication, api.SecretRedisCheck):
		return NoticeFailover, restart
	case changed(api.SecretStats):
		return NoticeReconnect, "each HAProxy restarts with the new password within half a minute: clients connect again"
	}
	return NoticeNothing, ""
}

// asset is a file of this machine that becomes an object, in words. Its hash is told only where it differs from the other's:
// where it is on this machine, and which build of it, is no part of what changes.
func asset(value, other string) string {
	var one, another struct {
		Path string `json:"path"`
		Hash string `json:"hash"`
	}
	if json.Unmarshal([]byte(value), &one) != nil {
		if value == "" {
			return ""
		}
		return "file " + path.Base(value)
	}
	_ = json.Unmarshal([]byte(other), &another) // no asset has no hash
	name := "file " + path.Base(one.Path)
	if another.Hash != "" && another.Hash != one.Hash {
		name += ", sha256 " + one.Hash[:min(12, len(one.Hash))]
	}
	return name
}

// readable is a value as people read it: JSON as YAML; base64 decoded, or in a word when it holds no text.
func readable(value string) string {
	const longWord = 120
	if len(value) < longWord || strings.ContainsAny(value, " \n{[") {
		return text(value)
	}
	data, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return value
	}
	if utf8.Valid(data) && !strings.ContainsRune(string(data), 0) {
		return text(string(data))
	}
	sum := sha256.Sum256(data)
	return fmt.Sprintf("%d bytes, sha256 %s", len(data), hex.EncodeToString(sum[:6]))
}
