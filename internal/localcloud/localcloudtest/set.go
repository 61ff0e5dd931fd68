// Package localcloudtest has a small set of images for tests that boot real nodes: the real node image, and an
// artifacts volume that is made in seconds and kept apart from the one that stacks use.
package localcloudtest

import (
	"fmt"
	"testing/fstest"

	"devctl/images"
)

// Set is the real base and node image, one service that echoes its arguments, and a daemon that does nothing.
func Set() (*images.Set, error) {
	set, err := images.Load(fstest.MapFS{"etcd": {}, "etcdctl": {}, images.DaemonBinary: {Data: []byte("#!/bin/sh\n")}})
	if err != nil {
		return nil, fmt.Errorf("load images for tests: %w", err)
	}
	files := []images.File{{Name: "Containerfile", Mode: 0o644, Data: []byte("ARG BASE\nFROM ${BASE}\nENTRYPOINT [\"/bin/echo\"]\n")}}
	hash := images.Hash(set.Base.Ref, files)
	set.Services = []images.Image{{Name: "echo", Ref: "localhost/devctl-lctest/echo:" + hash, Files: files}}
	set.Store = "lctest-artifacts-" + images.Hash(hash+set.Node.Ref, []images.File{set.Daemon})
	return set, nil
}
