package planview

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"devctl/components"
	"devctl/internal/api"
	"devctl/internal/engine"
)

const (
	groupNetwork    = "network"
	groupEndpoint   = "endpoint"
	groupDeployment = "deployment"
	groupSecrets    = "secrets"
	groupArtifacts  = "artifacts"
	groupOther      = "other"
)

// groups in the order in which they are shown.
var groups = []string{groupNetwork, string(api.RoleMain), string(api.RoleWorker), string(api.RoleData), groupEndpoint, groupDeployment,
	groupSecrets, groupArtifacts, groupOther}

// resource is what is known about a type of resources.
type resource struct {
	one, many string
	// group it is in whatever role it belongs to; empty: its role's.
	group string
	// opens is set where a change is one of who may reach what.
	opens bool
	// follows are properties that change because of others: a version, a hash.
	follows []string
}

// resources by the last part of their type, which is unique among those that stacks are made of.
var resources = map[string]resource{
	// Of devctl itself.
	"Network":   {one: "network", many: "networks", group: groupNetwork},
	"Image":     {one: "images", many: "images", group: groupArtifacts},
	"NodeGroup": {one: "nodes", many: "nodes", follows: []string{"machines"}},
	"Authority": {one: "certificate authority", many: "certificate authorities", group: groupSecrets},
	"Password":  {one: "password", many: "passwords", group: groupSecrets},

	// Networks of clouds.
	"Vpc":                   {one: "VPC", many: "VPCs", group: groupNetwork},
	"SubnetCidrReservation": {one: "address reservation", many: "address reservations", group: groupNetwork},
	"Subnet":                {one: "subnet", many: "subnets", group: groupNetwork},
	"InternetGateway":       {one: "internet gateway", many: "internet gateways", group: groupNetwork},
	"VpcEndpoint":           {one: "VPC endpoint", many: "VPC endpoints", group: groupNetwork},
	"RouteTable":            {one: "route table", many: "route tables", group: groupNetwork},
	"Route":                 {one: "route", many: "routes", group: groupNetwork},
	"RouteTableAssociation": {one: "route table association", many: "route table associations", group: groupNetwork},
	"SecurityGroup":         {one: "security group", many: "security groups", group: groupNetwork, opens: true},
	"SecurityGroupRule":     {one: "rule", many: "rules", group: groupNetwork, opens: true},
	"Firewall":              {one: "firewall", many: "firewalls", group: groupNetwork, opens: true},

	// Machines.
	"LaunchTemplate":   {one: "launch template", many: "launch templates", follows: []string{"latestVersion", "defaultVersion"}},
	"Group":            {one: "autoscaling group", many: "autoscaling groups", follows: []string{"launchTemplate.version", "launchTemplate"}},
	"NetworkInterface": {one: "network interface", many: "network interfaces"},
	"Volume":           {one: "volume", many: "volumes"},
	"Instance":         {one: "instance", many: "instances"},
	"Droplet":          {one: "droplet", many: "droplets"},
	"DropletAutoscale": {one: "droplet pool", many: "droplet pools"},
	"Role":             {one: "role", many: "roles"},
	"RolePolicy":       {one: "role policy", many: "role policies"},
	"InstanceProfile":  {one: "instance profile", many: "instance profiles"},

	// The endpoint.
	"Eip":        {one: "address", many: "addresses"},
	"ReservedIp": {one: "reserved address", many: "reserved addresses", group: groupEndpoint},
	"Record":     {one: "DNS record", many: "DNS records", group: groupEndpoint},

	// What machines fetch.
	"Bundle":                  {one: "image bundle", many: "image bundles", group: groupArtifacts},
	"Bucket":                  {one: "bucket", many: "buckets", group: groupArtifacts},
	"BucketV2":                {one: "bucket", many: "buckets", group: groupArtifacts},
	"BucketPolicy":            {one: "bucket policy", many: "bucket policies", group: groupArtifacts},
	"BucketPublicAccessBlock": {one: "public access block", many: "public access blocks", group: groupArtifacts},
	"BucketVersioningV2":      {one: "bucket versioning", many: "bucket versionings", group: groupArtifacts},
	"BucketServerSideEncryptionConfigurationV2": {one: "bucket encryption", many: "bucket encryptions", group: groupArtifacts},
	"BucketLifecycleConfigurationV2":            {one: "bucket lifecycle", many: "bucket lifecycles", group: groupArtifacts},
	"BucketOwnershipControls":                   {one: "bucket ownership", many: "bucket ownerships", group: groupArtifacts},
	"BucketObject":                              {one: "object", many: "objects"},
	"BucketObjectv2":                            {one: "object", many: "objects"},
	"SpacesBucket":                              {one: "bucket", many: "buckets", group: groupArtifacts},
	"SpacesBucketObject":                        {one: "object", many: "objects"},
	"SpacesKey":                                 {one: "key of the bucket", many: "keys of the bucket", group: groupSecrets},
	"CustomImage":                               {one: "machine image", many: "machine images", group: groupArtifacts},
	"Project":                                   {one: "project", many: "projects", group: groupOther},
	"ProjectResources":                          {one: "project membership", many: "project memberships", group: groupOther},
	"Tag":                                       {one: "tag", many: "tags", group: groupOther},
}

// of is what is known about a type; for one that nobody wrote down it is the type's own name.
func of(resourceType string) resource {
	if r, known := resources[kind(resourceType)]; known {
		return r
	}
	name := kind(resourceType)
	return resource{one: name, many: name}
}

// kind is the last part of a type.
func kind(resourceType string) string { return resourceType[strings.LastIndex(resourceType, ":")+1:] }

// Noun is what people call a resource.
func Noun(resourceType, name string) string {
	switch kind(resourceType) {
	case "NodeGroup":
		return name + " nodes"
	case "Network", "Image", "Authority":
		return of(resourceType).one
	}
	return of(resourceType).one + " " + name
}

// BeginsMachine tells whether the event is the beginning of work on new machines of the role.
func BeginsMachine(e engine.Event, role api.Role) bool {
	if e.Kind != engine.KindStarted || e.Op != engine.OpCreate || !slices.Contains([]string{"NodeGroup", "Group", "Instance", "Droplet"}, kind(e.Type)) {
		return false
	}
	of, _ := owner(e)
	return of == role
}

var ownerPattern = regexp.MustCompile(`^(?:.*?-)?(main|worker|data)(-\d+)?(?:-.*)?$`)

// owner is the role that a resource belongs to, and the node: as its tags say or, where it has none, its name.
func owner(e engine.Event) (role api.Role, node string) {
	for _, inputs := range []map[string]any{e.New, e.Old} {
		tags := tagsOf(inputs)
		if tags[components.TagRole] != "" {
			return api.Role(tags[components.TagRole]), tags[components.TagNode]
		}
	}
	if found := ownerPattern.FindStringSubmatch(e.Name); found != nil {
		role = api.Role(found[1])
		if found[2] != "" {
			node = found[1] + found[2]
		}
	}
	return role, node
}

// tagsOf reads tags in the three forms in which clouds have them: a map, a list of keys and values, a list of words.
func tagsOf(inputs map[string]any) map[string]string {
	tags := map[string]string{}
	switch given := inputs["tags"].(type) {
	case map[string]any:
		for key, value := range given {
			tags[key], _ = value.(string)
		}
	case []any:
		for _, item := range given {
			switch item := item.(type) {
			case map[string]any:
				key, _ := item["key"].(string)
				tags[key], _ = item["value"].(string)
			case string:
				if i := strings.LastIndex(item, ":"); i > 0 {
					tags[item[:i]] = item[i+1:]
				}
			}
		}
	}
	return tags
}

// groupOf is what a person thinks of when they see the resource.
func groupOf(resourceType, name string, role api.Role) string {
	r := of(resourceType)
	switch {
	case r.group != "":
		return r.group
	case role != "":
		return string(role)
	case strings.Contains(name, groupEndpoint):
		return groupEndpoint
	case r.one == "object":
		return groupArtifacts
	}
	return groupOther
}

// extent says which nodes a group comes or goes with, or which addresses a network has.
func extent(inputs map[string]any) string {
	for _, key := range []string{"cidr", "cidrBlock", "ipRange"} {
		if cidr, ok := inputs[key].(string); ok {
			return cidr
		}
	}
	return strings.Join(nodesOf(inputs["nodes"]), ", ")
}

// nodesOf are the names of a local group's nodes.
func nodesOf(value any) []string {
	var names []string
	if text, ok := value.(string); ok { // as the engine writes a property
		if json.Unmarshal([]byte(text), &value) != nil {
			return nil
		}
	}
	list, _ := value.([]any)
	for _, item := range list {
		node, _ := item.(map[string]any)
		if name, ok := node["name"].(string); ok {
			names = append(names, name)
		}
	}
	return names
}

// followsOnly tells whether a property changes only because of others.
func (r resource) followsOnly(path string) bool {
	return slices.ContainsFunc(r.follows, func(f string) bool {
		return path == f || strings.HasPrefix(path, f+".") || strings.HasPrefix(path, f+"[")
	})
}
