package diff

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/coreos/ignition/v2/config/v3_3/types"

	"devctl/ignition"
)

// Config is what an Ignition config puts on a machine. Parts are unique and sorted by kind and name.
type Config struct {
	Parts []Part
}

// maxLayers is how deep configs may be nested in one another, against one that contains itself.
const maxLayers = 8

// Parse reads a config in any of the forms in which machines get one: JSON, or that in base64. Layers in data: URLs,
// compressed or not, are merged as Ignition merges them. What a layer holds that the machine fetches is asked from fetch;
// when that does not know it either, the layer is a part itself.
func Parse(text string, fetch func(source string) (content string, found bool)) (Config, error) {
	if fetch == nil {
		fetch = func(string) (string, bool) { return "", false }
	}
	r := reader{fetch: fetch, parts: map[string]Part{}}
	data, err := unpack(text)
	if err != nil {
		return Config{}, err
	}
	if err := r.config(data, 0); err != nil {
		return Config{}, err
	}
	var c Config
	for _, p := range r.parts {
		slices.SortFunc(p.Attributes, func(a, b Attribute) int { return cmp.Compare(a.Name, b.Name) })
		c.Parts = append(c.Parts, p)
	}
	slices.SortFunc(c.Parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), cmp.Compare(a.Name, b.Name))
	})
	return c, nil
}

// unpack takes base64 off a config, which some clouds want around it.
func unpack(text string) ([]byte, error) {
	data := []byte(strings.TrimSpace(text))
	if decoded, err := base64.StdEncoding.DecodeString(string(data)); err == nil {
		data = bytes.TrimSpace(decoded)
	}
	if !bytes.HasPrefix(data, []byte("{")) {
		return nil, fmt.Errorf("read Ignition config: %w", errNoConfig)
	}
	return data, nil
}

// object is JSON that nothing is known about.
type object map[string]any

func (o object) text(key string) string   { s, _ := o[key].(string); return s }
func (o object) object(key string) object { m, _ := o[key].(map[string]any); return m }
func (o object) list(key string) []object {
	var all []object
	items, _ := o[key].([]any)
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

// reader collects the parts of a config and of its layers.
type reader struct {
	fetch func(string) (string, bool)
	parts map[string]Part
}

var errNoConfig = errors.New("it is no Ignition config")

func (r *reader) config(data []byte, depth int) error {
	if depth > maxLayers {
		return fmt.Errorf("read Ignition config: more than %d layers in one another", maxLayers)
	}
	var top object
	if err := json.Unmarshal(data, &top); err != nil {
		return fmt.Errorf("read Ignition config: %w", err)
	}
	head := top.object("ignition")
	if head.text("version") == "" {
		return fmt.Errorf("read Ignition config: %w", errNoConfig)
	}
	if replace := head.object("config").object("replace"); replace.text("source") != "" {
		return r.layer("replaced by", replace, depth) // and nothing else of this config counts
	}
	for _, layer := range head.object("config").list("merge") {
		if err := r.layer("", layer, depth); err != nil {
			return err
		}
	}
	r.put(Part{Kind: Setting, Name: "ignition", Attributes: []Attribute{{Name: "version", Value: head.text("version")}}})
	r.passwd(top.object("passwd"))
	r.storage(top.object("storage"))
	for _, unit := range top.object("systemd").list("units") {
		r.unit(unit)
	}
	if arguments := top.object("kernelArguments"); len(arguments) > 0 {
		r.put(Part{Kind: Kernel, Name: "of the machine", Text: strings.Join(kernelArguments(arguments), "\n")})
	}
	for _, key := range []string{"proxy", "security", "timeouts"} {
		if rest := head.object(key); len(rest) > 0 {
			r.put(Part{Kind: Setting, Name: "ignition." + key, Attributes: flat(rest)})
		}
	}
	return nil
}

// put adds a part, over one that a layer below had.
func (r *reader) put(p Part) { r.parts[p.key()] = p }

// layer reads a config that is merged into another one, or takes its place.
func (r *reader) layer(how string, resource object, depth int) error {
	c := content(resource)
	text := c.text
	if c.remote != "" {
		known, found := r.fetch(c.remote)
		if !found {
			p := Part{Kind: Layer, Name: strings.TrimSpace(how + " " + c.shownSource()), Attributes: c.attributes}
			r.put(p)
			return nil
		}
		text = known
	}
	data, err := unpack(text)
	if err != nil {
		return err
	}
	return r.config(data, depth+1)
}

func (r *reader) passwd(passwd object) {
	for _, u := range passwd.list("users") {
		var keys []string
		list, _ := u["sshAuthorizedKeys"].([]any)
		for _, key := range list {
			keys = append(keys, fmt.Sprint(key))
		}
		p := Part{Kind: User, Name: u.text("name"), Text: lines(keys), Attributes: flat(u, "name", "sshAuthorizedKeys")}
		r.put(p)
	}
	for _, g := range passwd.list("groups") {
		r.put(Part{Kind: Group, Name: g.text("name"), Attributes: flat(g, "name")})
	}
}

func (r *reader) storage(storage object) {
	for _, f := range storage.list("files") {
		c := content(f.object("contents"))
		p := Part{Kind: File, Name: f.text("path"), Text: c.text, Attributes: append(node(f, 0o644), c.attributes...)}
		for i, more := range f.list("append") {
			c := content(more)
			p.Text += c.text
			p.Attributes = append(p.Attributes, Attribute{Name: fmt.Sprintf("append %d", i+1), Value: "yes"})
			for _, a := range c.attributes {
				a.Name = fmt.Sprintf("append %d %s", i+1, a.Name)
				p.Attributes = append(p.Attributes, a)
			}
		}
		r.put(p)
	}
	for _, d := range storage.list("directories") {
		r.put(Part{Kind: Directory, Name: d.text("path"), Attributes: node(d, 0o755)})
	}
	for _, l := range storage.list("links") {
		p := Part{Kind: Link, Name: l.text("path"), Attributes: []Attribute{{Name: "target", Value: l.text("target")}}}
		if l["hard"] == true {
			p.Attributes = append(p.Attributes, Attribute{Name: "hard", Value: "yes"})
		}
		r.put(p)
	}
	for _, key := range []string{"disks", "filesystems", "luks", "raid"} {
		for _, d := range storage.list(key) {
			name := d.text("device")
			if name == "" {
				name = d.text("name")
			}
			r.put(Part{Kind: Disk, Name: strings.TrimSuffix(key, "s") + " " + name, Attributes: flat(d)})
		}
	}
}

func (r *reader) unit(u object) {
	p := Part{Kind: Unit, Name: u.text("name"), Text: u.text("contents")}
	for _, key := range []string{"enabled", "mask"} {
		if on, given := u[key].(bool); given && (on || key == "enabled") {
			p.Attributes = append(p.Attributes, Attribute{Name: map[string]string{"enabled": "enabled", "mask": "masked"}[key], Value: yes(on)})
		}
	}
	// An entry that is only there for its drop-ins says nothing about the unit itself.
	if dropIns := u.list("dropins"); p.Text != "" || len(p.Attributes) > 0 || len(dropIns) == 0 {
		r.put(p)
	}
	for _, d := range u.list("dropins") {
		r.put(Part{Kind: DropIn, Name: p.Name + "/" + d.text("name"), Text: d.text("contents")})
	}
}

// node are the attributes that files and directories have in common.
func node(o object, mode int) []Attribute {
	if given, ok := o["mode"].(float64); ok {
		mode = int(given)
	}
	attributes := []Attribute{{Name: "mode", Value: "0" + strconv.FormatInt(int64(mode), 8)}}
	for _, key := range []string{"user", "group"} {
		owner := o.object(key)
		value := owner.text("name")
		if id, ok := owner["id"].(float64); ok && value == "" {
			value = strconv.Itoa(int(id))
		}
		if value != "" && value != "0" && value != "root" {
			attributes = append(attributes, Attribute{Name: key, Value: value})
		}
	}
	return attributes
}

// contents is what a file or a layer consists of.
type contents struct {
	text       string
	remote     string // the URL, when the machine fetches it
	attributes []Attribute
}

// shownSource is the URL without what may be a signature in it.
func (c contents) shownSource() string {
	shown, _, _ := strings.Cut(c.remote, "?")
	return shown
}

func content(resource object) contents {
	var c contents
	source := resource.text("source")
	if hash := resource.object("verification").text("hash"); hash != "" {
		c.attributes = append(c.attributes, Attribute{Name: "hash", Value: hash})
	}
	if headers, given := resource["httpHeaders"]; given {
		c.attributes = append(c.attributes, Attribute{Name: "headers", Value: compact(headers), Secret: true})
	}
	if source == "" {
		return c
	}
	if !strings.HasPrefix(source, "data:") {
		c.remote = source
		c.attributes = append(c.attributes, Attribute{Name: "source", Value: c.shownSource()})
		if _, query, signed := strings.Cut(source, "?"); signed {
			c.attributes = append(c.attributes, Attribute{Name: "source's query", Value: query, Secret: true})
		}
		return c
	}
	compression := resource.text("compression")
	data, _, err := ignition.Content(types.Resource{Source: &source, Compression: &compression})
	if err != nil {
		data = []byte(source) // at least a difference is seen, as one of bytes
	}
	if err == nil && utf8.Valid(data) && !strings.ContainsRune(string(data), 0) {
		c.text = string(data)
		return c
	}
	sum := sha256.Sum256(data)
	c.attributes = append(c.attributes, Attribute{Name: "content", Value: fmt.Sprintf("%d bytes, sha256 %s", len(data), hex.EncodeToString(sum[:6]))})
	return c
}

// flat are the attributes of what needs no more understanding: scalars as they are, all else as JSON.
func flat(o object, without ...string) []Attribute {
	var attributes []Attribute
	for key, value := range o {
		if value == nil || slices.Contains(without, key) {
			continue
		}
		a := Attribute{Name: key, Secret: key == "passwordHash" || key == "keyFile"}
		if text, isText := value.(string); isText {
			a.Value = text
		} else {
			a.Value = compact(value)
		}
		attributes = append(attributes, a)
	}
	return attributes
}

func compact(v any) string {
	data, err := json.Marshal(v) // of what was unmarshalled: it cannot fail
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}

func kernelArguments(o object) []string {
	var all []string
	for _, key := range []string{"shouldExist", "shouldNotExist"} {
		list, _ := o[key].([]any)
		for _, argument := range list {
			not := map[string]string{"shouldNotExist": "not "}[key]
			all = append(all, not+fmt.Sprint(argument))
		}
	}
	return all
}

func lines(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return strings.Join(all, "\n") + "\n"
}

func yes(on bool) string {
	if on {
		return "yes"
	}
	return "no"
}
