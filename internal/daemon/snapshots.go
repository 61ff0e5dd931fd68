package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"devctl/internal/api"
	"devctl/internal/aws"
	"devctl/internal/controller"
	"devctl/internal/metadata"
	"devctl/internal/snapshot"
)

// snapshotsOf is where the leader of a stack keeps snapshots of etcd; nil where there is no place that main nodes may write to:
// a droplet is nobody that Spaces would know.
func snapshotsOf(get getter) (controller.Snapshots, error) {
	switch api.Platform(get(keyPlatform)) {
	case "", api.PlatformLocal:
		return snapshot.Dir(api.SnapshotsDir), nil
	case api.PlatformAWS:
		bucket, _, ok := strings.Cut(strings.TrimPrefix(get(keyRegistry), "s3://"), "/")
		if !ok || bucket == "" {
			return nil, fmt.Errorf("%s is %q, which is in no bucket", keyRegistry, get(keyRegistry))
		}
		return bucketSnapshots{aws.Client{Metadata: metadata.AWS{Base: metadata.DefaultBase}}, "s3://" + bucket + "/" + api.BucketSnapshots}, nil
	default:
		return nil, nil
	}
}

// bucketSnapshots keeps snapshots in S3, whose own rules remove the old ones: a main node can write there and delete nothing.
type bucketSnapshots struct {
	aws.Client
	folder string // s3://bucket/folder
}

// Add has to know all of a snapshot before it can say to S3 what comes: its size and its hash. So it is on the machine's disk first.
func (b bucketSnapshots) Add(ctx context.Context, begun time.Time, revision int64, r io.Reader) (info snapshot.Info, err error) {
	client, err := b.Here(ctx)
	if err != nil {
		return snapshot.Info{}, err
	}
	dir, err := os.MkdirTemp("", "devctl-snapshot-*") // 0700
	if err != nil {
		return snapshot.Info{}, fmt.Errorf("keep a snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "snapshot.db")
	if info, err = snapshot.Write(file, r); err != nil {
		return snapshot.Info{}, err
	}
	info = info.Begun(begun, revision)
	whole, err := os.Open(file)
	if err != nil {
		return snapshot.Info{}, fmt.Errorf("keep a snapshot: %w", err)
	}
	defer func() { _ = whole.Close() }()
	return info, client.Put(ctx, b.folder+"/"+info.Object(), whole, info.Size, info.SHA256)
}
