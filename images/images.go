// Package images holds the container images of a stack: what they are built from and how they are called.
//
// An image's tag is a hash over everything that goes into it, so an image that exists under its name never needs
// to be built again, and two machines agree on the name without talking to each other. Nothing here builds: the
// sources go to Docker locally and into the image bundle on a cloud.
package images

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"devctl/internal/api"
)

// Suite is the Debian release that every image is made of.
const Suite = "bookworm"

// DaemonBinary is the name of the node daemon in the folder of binaries.
const DaemonBinary = "devctld"

//go:embed */*
var sources embed.FS

// File is one file of a build context.
type File struct {
	Name string // relative to the context
	Mode int64  // permission bits
	Data []byte
}

// Image is one image to build.
type Image struct {
	Name  string // etcd, redis …
	Ref   string // what it is called: localhost/devctl/etcd:0123456789ab
	Files []File // the build context, Containerfile included, sorted by name
}

// Set is everything a stack's machines boot and run.
type Set struct {
	// Base is what the others are built on. Its only file is a dpkg configuration: how a base is made is up to
	// who makes it.
	Base Image
	// Node is what a local machine boots.
	Node Image
	// Services run on machines, by podman, sorted by name.
	Services []Image
	// Daemon is the node daemon.
	Daemon File
	// Store names the bundle of all services' images and the daemon: devctl-artifacts-0123456789ab.
	Store string
}

// services are the images that run on nodes, with the binaries each takes from the folder of binaries.
var services = []struct {
	name     string
	binaries []string
}{
	{"etcd", []string{"etcd", "etcdctl"}},
	{"haproxy", nil},
	{"keepalived", nil},
	{"redis", nil},
}

// Load reads the sources of all images. Binaries that we build ourselves (devctld, etcd and etcdctl) come from bin.
func Load(bin fs.FS) (*Set, error) {
	base, err := load(bin, "base", nil, Suite)
	if err != nil {
		return nil, err
	}
	node, err := load(bin, "node", nil, base.Ref)
	if err != nil {
		return nil, err
	}
	set := &Set{Base: base, Node: node}
	for _, s := range services {
		image, err := load(bin, s.name, s.binaries, base.Ref)
		if err != nil {
			return nil, err
		}
		set.Services = append(set.Services, image)
	}
	if set.Daemon, err = binary(bin, DaemonBinary); err != nil {
		return nil, err
	}
	// The node image is what writes the bundle and has to be able to read it.
	identity := node.Ref
	for _, s := range set.Services {
		identity += " " + s.Ref
	}
	set.Store = "devctl-artifacts-" + Hash(identity, []File{set.Daemon})
	return set, nil
}

// load reads the source of one image that is built on parent.
func load(bin fs.FS, name string, binaries []string, parent string) (Image, error) {
	var files []File
	err := fs.WalkDir(sources, name, func(p string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := sources.ReadFile(p)
		if err != nil {
			return err
		}
		// Embedding loses the mode: what starts as a script is one.
		mode := int64(0o644)
		if strings.HasPrefix(string(data), "#!") {
			mode = 0o755
		}
		files = append(files, File{Name: strings.TrimPrefix(p, name+"/"), Mode: mode, Data: data})
		return nil
	})
	if err != nil {
		return Image{}, fmt.Errorf("read source of image %q: %w", name, err)
	}
	for _, b := range binaries {
		file, err := binary(bin, b)
		if err != nil {
			return Image{}, err
		}
		files = append(files, file)
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return Image{Name: name, Ref: "localhost/" + path.Join("devctl", name) + ":" + Hash(parent, files), Files: files}, nil
}

func binary(bin fs.FS, name string) (File, error) {
	data, err := fs.ReadFile(bin, name)
	if err != nil {
		return File{}, fmt.Errorf("read binary %q for the images: %w; build it with `make build`, or set DEVCTL_BIN_DIR to its folder", name, err)
	}
	return File{Name: name, Mode: 0o755, Data: data}, nil
}

// Hash is the first 12 hex digits of a SHA-256 over parent and the files' names, modes and content.
//
// Contents are hashed at the same time: every command waits for those of etcd and its client.
func Hash(parent string, files []File) string {
	sums := make([][sha256.Size]byte, len(files))
	var hashing sync.WaitGroup
	for i, f := range files {
		hashing.Go(func() { sums[i] = sha256.Sum256(f.Data) })
	}
	hashing.Wait()
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", parent)
	for i, f := range files {
		fmt.Fprintf(h, "%q %o %x\n", f.Name, f.Mode, sums[i])
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// Refs are what the services' images are called.
func (s *Set) Refs() []string {
	refs := make([]string, len(s.Services))
	for i, image := range s.Services {
		refs[i] = image.Ref
	}
	return refs
}

// Ref is what the named service's image is called. It panics for a name that is none.
func (s *Set) Ref(service string) string {
	i := slices.IndexFunc(s.Services, func(image Image) bool { return image.Name == service })
	if i < 0 {
		panic("no service image called " + service)
	}
	return s.Services[i].Ref
}

// Etcd is what etcd's image is called.
func (s *Set) Etcd() string { return s.Ref("etcd") }

// Deployed are the images of what is deployed on top of the machines.
func (s *Set) Deployed() api.ServiceImages {
	return api.ServiceImages{Redis: s.Ref("redis"), HAProxy: s.Ref("haproxy"), Keepalived: s.Ref("keepalived")}
}
