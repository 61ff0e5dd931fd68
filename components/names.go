package components

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strings"

	"devctl/internal/api"
)

// Keys of the tags that everything of a stack has on a cloud. No key has a space or a slash, so that instances can
// read their own tags from AWS's metadata service.
const (
	TagName  = "Name" // what consoles show
	TagStack = "devctl:stack"
	TagRole  = "devctl:role" // of what belongs to one role
	TagNode  = "devctl:node" // of what belongs to one slot
)

// Tags are the tags of one resource.
type Tags map[string]string

// NewTags are the tags of a resource that the whole stack shares; part is as in api.ResourceName.
func NewTags(stack string, part ...string) Tags {
	return Tags{TagName: api.ResourceName(stack, part...), TagStack: stack}
}

// OfRole adds that the resource belongs to a role.
func (t Tags) OfRole(role api.Role) Tags { return t.with(TagRole, string(role)) }

// OfNode adds that the resource belongs to a slot.
func (t Tags) OfNode(node api.Identity) Tags {
	return t.with(TagRole, string(node.Role)).with(TagNode, node.Name)
}

func (t Tags) with(key, value string) Tags {
	more := maps.Clone(t)
	more[key] = value
	return more
}

// maxBucket is how long a bucket's name may be.
const maxBucket = 63

// Bucket is the name of a stack's bucket when the spec gives none: devctl-<stack>-<domain with hyphens for dots>. Names
// of buckets are shared by all accounts of a cloud; the domain makes it ours. One that is too long ends in a hash of all of it.
func Bucket(stack, domain string) string {
	name := api.ResourceName(stack, strings.ReplaceAll(domain, ".", "-"))
	if len(name) <= maxBucket {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	hash := hex.EncodeToString(sum[:])[:HashLength]
	return strings.TrimRight(name[:maxBucket-1-len(hash)], "-") + "-" + hash
}

// Hyphens is a text as names may have it: 10-20-0-0-20 for 10.20.0.0/20.
func Hyphens(text string) string { return strings.NewReplacer(".", "-", "/", "-").Replace(text) }
