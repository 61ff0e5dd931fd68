package snapshot

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// Member is one member of the cluster that a snapshot becomes.
type Member struct{ Name, Peer string } // Peer: URL

// Restoration is a snapshot about to become a cluster again.
type Restoration struct {
	Etcdutl string   // the program
	File    string   // the snapshot
	Members []Member // all of them
	// Token sets the cluster apart from the one that the snapshot was taken of, and from every other: members of
	// different clusters do not talk to each other.
	Token string
}

// revisionBump is by how much the new cluster's revisions exceed the snapshot's. Whoever watched the old one had seen at
// most some of them: no revision that anybody remembers may come again and mean something else.
const revisionBump = "1000000000"

// Restore makes the data directory of one member in dir, which must not exist. Every member needs its own, all of them
// made from the same file.
func (r Restoration) Restore(ctx context.Context, member Member, dir string) error {
	var cluster []string
	for _, m := range r.Members {
		cluster = append(cluster, m.Name+"="+m.Peer)
	}
	cmd := exec.CommandContext(ctx, r.Etcdutl, "snapshot", "restore", r.File,
		"--data-dir="+dir, "--name="+member.Name, "--initial-advertise-peer-urls="+member.Peer,
		"--initial-cluster="+strings.Join(cluster, ","), "--initial-cluster-token="+r.Token,
		"--bump-revision="+revisionBump, "--mark-compacted")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("make the data of etcd member %s: %w\n%s", member.Name, err, strings.TrimSpace(said.String()))
	}
	return nil
}

// Pack writes the folder dir to w as a compressed archive whose names begin with as. Owner is root, whoever packs it.
func Pack(w io.Writer, dir, as string) error {
	zipped, err := gzip.NewWriterLevel(w, gzip.BestSpeed) // etcd's log is 64 MB of mostly nothing
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zipped)
	err = filepath.WalkDir(dir, func(file string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: path.Join(as, filepath.ToSlash(rest)), Mode: 0o600, Typeflag: tar.TypeReg, Size: info.Size(), ModTime: info.ModTime()}
		if e.IsDir() {
			header.Name, header.Mode, header.Typeflag, header.Size = header.Name+"/", 0o700, tar.TypeDir, 0
		}
		if err := archive.WriteHeader(header); err != nil || e.IsDir() {
			return err
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(archive, f)
		return err
	})
	if err = errors.Join(err, archive.Close(), zipped.Close()); err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	return nil
}
