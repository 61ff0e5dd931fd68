package aws

import (
	"fmt"

	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/ec2"
	"github.com/pulumi/pulumi-aws/sdk/v6/go/aws/s3"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/internal/api"
)

// folderConfig of the bucket has a folder for each role: its key files, and configs that are too large for user data. What roles
// may read is given by folder: see rolePolicy.
const folderConfig = "config"

func (c *Cloud) url(key string) string {
	return components.BucketURL(api.PlatformAWS, c.options.Region, c.options.Bucket) + "/" + key
}

// Artifacts creates the bucket with what every machine fetches, and looks up the image that they boot.
func (c *Cloud) Artifacts(ctx *pulumi.Context, args components.ArtifactsArgs) (components.Artifacts, error) {
	guards, err := c.newBucket(ctx, args.Stack)
	if err != nil {
		return components.Artifacts{}, fmt.Errorf("register bucket %q: %w", c.options.Bucket, err)
	}
	daemon, err := c.object(ctx, "daemon", s3.BucketObjectv2Args{
		Key:         pulumi.String(c.options.Daemon.Key()),
		Source:      pulumi.NewFileAsset(c.options.Daemon.Path),
		ContentType: pulumi.String("application/octet-stream"),
	}, guards)
	if err != nil {
		return components.Artifacts{}, err
	}
	images, err := components.NewBundles(ctx, components.BundleArgs{
		Platform: api.PlatformAWS, Region: c.options.Region, Bucket: c.bucket, Images: c.options.Images,
	}, pulumi.DependsOn(guards))
	if err != nil {
		return components.Artifacts{}, err
	}
	c.guards = guards
	c.ready = append(append(c.ready, daemon), images...)
	name := imageName(c.options.Release)
	image := c.image(ctx, name)
	return components.Artifacts{NodeImage: image, Store: c.bucket, Lookups: pulumi.StringMap{name: image}}, nil
}

// newBucket registers the bucket: encrypted, versioned, private whatever somebody may set on an object, and gone with the
// stack. It returns what has to be there before anything is put into it.
func (c *Cloud) newBucket(ctx *pulumi.Context, stack string) (guards []pulumi.Resource, err error) {
	const name = "artifacts"
	bucket, err := s3.NewBucketV2(ctx, name, &s3.BucketV2Args{
		Bucket: pulumi.String(c.options.Bucket),
		// Machines put things there that no program knows, and every version would have to be deleted one by one.
		ForceDestroy: pulumi.Bool(true),
		Tags:         tags(components.NewTags(stack, name)),
	}, c.own())
	if err != nil {
		return nil, err
	}
	c.bucket = bucket.Bucket
	access, err := s3.NewBucketPublicAccessBlock(ctx, name, &s3.BucketPublicAccessBlockArgs{
		Bucket:                c.bucket,
		BlockPublicAcls:       pulumi.Bool(true),
		BlockPublicPolicy:     pulumi.Bool(true),
		IgnorePublicAcls:      pulumi.Bool(true),
		RestrictPublicBuckets: pulumi.Bool(true),
	}, c.own())
	if err != nil {
		return nil, err
	}
	// One after the other: AWS refuses two changes of a bucket's access at a time.
	ownership, err := s3.NewBucketOwnershipControls(ctx, name, &s3.BucketOwnershipControlsArgs{
		Bucket: c.bucket,
		Rule:   s3.BucketOwnershipControlsRuleArgs{ObjectOwnership: pulumi.String("BucketOwnerEnforced")},
	}, c.own(pulumi.DependsOn([]pulumi.Resource{access})))
	if err != nil {
		return nil, err
	}
	encryption, err := s3.NewBucketServerSideEncryptionConfigurationV2(ctx, name, &s3.BucketServerSideEncryptionConfigurationV2Args{
		Bucket: c.bucket,
		Rules: s3.BucketServerSideEncryptionConfigurationV2RuleArray{s3.BucketServerSideEncryptionConfigurationV2RuleArgs{
			ApplyServerSideEncryptionByDefault: s3.BucketServerSideEncryptionConfigurationV2RuleApplyServerSideEncryptionByDefaultArgs{
				SseAlgorithm: pulumi.String("AES256"),
			},
		}},
	}, c.own())
	if err != nil {
		return nil, err
	}
	versions, err := s3.NewBucketVersioningV2(ctx, name, &s3.BucketVersioningV2Args{
		Bucket:                  c.bucket,
		VersioningConfiguration: s3.BucketVersioningV2VersioningConfigurationArgs{Status: pulumi.String("Enabled")},
	}, c.own())
	if err != nil {
		return nil, err
	}
	expiry, err := s3.NewBucketLifecycleConfigurationV2(ctx, name, &s3.BucketLifecycleConfigurationV2Args{
		Bucket: c.bucket,
		Rules: s3.BucketLifecycleConfigurationV2RuleArray{s3.BucketLifecycleConfigurationV2RuleArgs{
			Id:                          pulumi.String("old-versions"),
			Status:                      pulumi.String("Enabled"),
			Filter:                      s3.BucketLifecycleConfigurationV2RuleFilterArgs{}, // all objects
			NoncurrentVersionExpiration: s3.BucketLifecycleConfigurationV2RuleNoncurrentVersionExpirationArgs{NoncurrentDays: pulumi.Int(oldVersionDays)},
			Expiration:                  s3.BucketLifecycleConfigurationV2RuleExpirationArgs{ExpiredObjectDeleteMarker: pulumi.Bool(true)},
			AbortIncompleteMultipartUpload: s3.BucketLifecycleConfigurationV2RuleAbortIncompleteMultipartUploadArgs{
				DaysAfterInitiation: pulumi.Int(oldVersionDays),
			},
		}, s3.BucketLifecycleConfigurationV2RuleArgs{
			Id:         pulumi.String("snapshots"),
			Status:     pulumi.String("Enabled"),
			Filter:     s3.BucketLifecycleConfigurationV2RuleFilterArgs{Prefix: pulumi.String(api.BucketSnapshots + "/")},
			Expiration: s3.BucketLifecycleConfigurationV2RuleExpirationArgs{Days: pulumi.Int(snapshotDays)},
		}},
	}, c.own(pulumi.DependsOn([]pulumi.Resource{versions})))
	if err != nil {
		return nil, err
	}
	encrypted, err := s3.NewBucketPolicy(ctx, name, &s3.BucketPolicyArgs{
		Bucket: c.bucket,
		Policy: pulumi.String(bucketPolicy(c.options.Bucket)),
	}, c.own(pulumi.DependsOn([]pulumi.Resource{ownership})))
	if err != nil {
		return nil, err
	}
	return []pulumi.Resource{access, ownership, encryption, versions, expiry, encrypted}, nil
}

// snapshotDays is for how long snapshots of etcd are kept. Main nodes may write them, and delete nothing.
const snapshotDays = 7

// oldVersionDays is for how long what was overwritten or deleted can be had back.
const oldVersionDays = 30

// object registers an object of the bucket.
func (c *Cloud) object(ctx *pulumi.Context, name string, args s3.BucketObjectv2Args, after []pulumi.Resource) (*s3.BucketObjectv2, error) {
	args.Bucket = c.bucket
	object, err := s3.NewBucketObjectv2(ctx, name, &args, c.own(pulumi.DependsOn(after)))
	if err != nil {
		return nil, fmt.Errorf("register object %s: %w", name, err)
	}
	return object, nil
}

// fedora is the account that publishes Fedora CoreOS. It publishes other images too: the name decides.
const fedora = "125523088429"

// imageName is what Fedora calls its image of a release, the same in every region.
func imageName(release string) string { return "fedora-coreos-" + release + "-x86_64" }

// image is the ID that an image has in the region. It is the only question that the program asks AWS.
func (c *Cloud) image(ctx *pulumi.Context, name string) pulumi.StringOutput {
	found := ec2.LookupAmiOutput(ctx, ec2.LookupAmiOutputArgs{
		Owners:            pulumi.ToStringArray([]string{fedora}),
		IncludeDeprecated: pulumi.Bool(true), // two years on, a pinned release still is what the stack is made of
		Filters: ec2.GetAmiFilterArray{
			ec2.GetAmiFilterArgs{Name: pulumi.String("name"), Values: pulumi.ToStringArray([]string{name})},
		},
	}, pulumi.Provider(c.provider))
	return found.ImageId()
}
