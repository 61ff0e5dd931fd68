package clouds

import (
	"context"
	"path"

	"devctl/components"
	"devctl/internal/api"
	"devctl/internal/snapshot"
	"devctl/stacks"
)

// Snapshots lists the snapshots of etcd that a stack's controllers have put into its bucket, the latest first. Only those on AWS can.
func Snapshots(ctx context.Context, spec *stacks.Spec) ([]snapshot.Info, error) {
	client, err := awsClient(ctx, spec.AWS.Region)
	if err != nil {
		return nil, err
	}
	objects, err := client.List(ctx, SnapshotFolder(spec)+"/")
	if err != nil {
		return nil, err
	}
	var all []snapshot.Info
	for _, o := range objects {
		if info, err := snapshot.ParseObject(path.Base(o.Key), o.Size); err == nil { // whatever else somebody may have put there is none
			all = append(all, info)
		}
	}
	snapshot.Sort(all)
	return all, nil
}

// SnapshotFolder is where the controllers of a stack on AWS keep snapshots, as a URL.
func SnapshotFolder(spec *stacks.Spec) string {
	return components.BucketURL(api.PlatformAWS, spec.AWS.Region, spec.AWS.Bucket) + "/" + api.BucketSnapshots
}
