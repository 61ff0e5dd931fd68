package clouds

import (
	"reflect"
	"testing"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/autoscaling"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/ec2"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/iam"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/route53"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/s3"
	do "github.com/pulumi/pulumi-digitalocean/sdk/v4/go/digitalocean"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/internal/standin"
)

// arguments are the SDKs' own inputs of every type that the stand-ins know.
var arguments = map[string]map[string]pulumi.Input{
	"aws": {
		"aws:autoscaling/group:Group":                                          autoscaling.GroupArgs{},
		"aws:ec2/eip:Eip":                                                      ec2.EipArgs{},
		"aws:ec2/internetGateway:InternetGateway":                              ec2.InternetGatewayArgs{},
		"aws:ec2/launchTemplate:LaunchTemplate":                                ec2.LaunchTemplateArgs{},
		"aws:ec2/networkInterface:NetworkInterface":                            ec2.NetworkInterfaceArgs{},
		"aws:ec2/route:Route":                                                  ec2.RouteArgs{},
		"aws:ec2/routeTable:RouteTable":                                        ec2.RouteTableArgs{},
		"aws:ec2/routeTableAssociation:RouteTableAssociation":                  ec2.RouteTableAssociationArgs{},
		"aws:ec2/securityGroup:SecurityGroup":                                  ec2.SecurityGroupArgs{},
		"aws:ec2/securityGroupRule:SecurityGroupRule":                          ec2.SecurityGroupRuleArgs{},
		"aws:ec2/subnet:Subnet":                                                ec2.SubnetArgs{},
		"aws:ec2/subnetCidrReservation:SubnetCidrReservation":                  ec2.SubnetCidrReservationArgs{},
		"aws:ec2/vpc:Vpc":                                                      ec2.VpcArgs{},
		"aws:ec2/vpcEndpoint:VpcEndpoint":                                      ec2.VpcEndpointArgs{},
		"aws:iam/instanceProfile:InstanceProfile":                              iam.InstanceProfileArgs{},
		"aws:iam/role:Role":                                                    iam.RoleArgs{},
		"aws:iam/rolePolicy:RolePolicy":                                        iam.RolePolicyArgs{},
		"aws:route53/record:Record":                                            route53.RecordArgs{},
		"aws:s3/bucketObjectv2:BucketObjectv2":                                 s3.BucketObjectv2Args{},
		"aws:s3/bucketOwnershipControls:BucketOwnershipControls":               s3.BucketOwnershipControlsArgs{},
		"aws:s3/bucketPolicy:BucketPolicy":                                     s3.BucketPolicyArgs{},
		"aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock":               s3.BucketPublicAccessBlockArgs{},
		"aws:s3/bucketV2:BucketV2":                                             s3.BucketV2Args{},
		"aws:s3/bucketVersioningV2:BucketVersioningV2":                         s3.BucketVersioningV2Args{},
		"aws:s3/bucketLifecycleConfigurationV2:BucketLifecycleConfigurationV2": s3.BucketLifecycleConfigurationV2Args{},
		"aws:s3/bucketServerSideEncryptionConfigurationV2:BucketServerSideEncryptionConfigurationV2": s3.BucketServerSideEncryptionConfigurationV2Args{},
	},
	"digitalocean": {
		"digitalocean:index/customImage:CustomImage":               do.CustomImageArgs{},
		"digitalocean:index/droplet:Droplet":                       do.DropletArgs{},
		"digitalocean:index/dropletAutoscale:DropletAutoscale":     do.DropletAutoscaleArgs{},
		"digitalocean:index/firewall:Firewall":                     do.FirewallArgs{},
		"digitalocean:index/project:Project":                       do.ProjectArgs{},
		"digitalocean:index/projectResources:ProjectResources":     do.ProjectResourcesArgs{},
		"digitalocean:index/reservedIp:ReservedIp":                 do.ReservedIpArgs{},
		"digitalocean:index/spacesBucket:SpacesBucket":             do.SpacesBucketArgs{},
		"digitalocean:index/spacesBucketObject:SpacesBucketObject": do.SpacesBucketObjectArgs{},
		"digitalocean:index/spacesKey:SpacesKey":                   do.SpacesKeyArgs{},
		"digitalocean:index/tag:Tag":                               do.TagArgs{},
		"digitalocean:index/vpc:Vpc":                               do.VpcArgs{},
	},
}

// newer inputs are in a provider's schema, and not yet in the SDK that is pinned.
var newer = map[string]bool{
	"digitalocean:index/droplet:Droplet publicNetworking":                                   true,
	"digitalocean:index/dropletAutoscale:DropletAutoscale dropletTemplate.publicNetworking": true,
}

// TestSchemasAgreeWithSDKs: what the stand-ins know inputs as is what the SDKs send.
func TestSchemasAgreeWithSDKs(t *testing.T) {
	t.Parallel()
	for pkg, types := range arguments {
		known, err := standin.Types(pkg)
		if err != nil {
			t.Fatal(err)
		}
		if len(known) != len(types) {
			t.Errorf("the stand-in for %s knows %d types, this test %d", pkg, len(known), len(types))
		}
		for _, token := range known {
			inputs, err := standin.Inputs(pkg, token)
			if err != nil {
				t.Fatal(err)
			}
			if types[token] == nil {
				t.Errorf("this test does not know %s", token)
				continue
			}
			sent := map[string]string{}
			collect(sent, "", types[token].ElementType())
			for path, kind := range inputs {
				if newer[token+" "+path] {
					continue
				}
				if kind == "set" {
					kind = "list" // which the SDKs do not tell apart
				}
				if got := sent[path]; got != kind && got != "any" {
					t.Errorf("%s %s: the stand-in knows %q, the SDK sends %q", token, path, kind, got)
				}
			}
		}
	}
}

// collect notes the types of everything in a value, by path, in the words of standin.Inputs.
func collect(into map[string]string, path string, typ reflect.Type) {
	kind := ""
	switch typ.Kind() {
	case reflect.Pointer:
		collect(into, path, typ.Elem())
		return
	case reflect.String:
		kind = "string"
	case reflect.Int:
		kind = "int"
	case reflect.Float64:
		kind = "number"
	case reflect.Bool:
		kind = "bool"
	case reflect.Slice:
		kind = "list"
		collect(into, path+"[]", typ.Elem())
	case reflect.Map:
		kind = "map"
		collect(into, path+"[]", typ.Elem())
	case reflect.Struct:
		kind = "object"
		for i := range typ.NumField() {
			name := typ.Field(i).Tag.Get("pulumi")
			if path != "" {
				name = path + "." + name
			}
			collect(into, name, typ.Field(i).Type)
		}
	case reflect.Interface:
		if kind = "any"; typ == reflect.TypeFor[pulumi.AssetOrArchive]() {
			kind = "asset"
		}
	}
	into[path] = kind
}
