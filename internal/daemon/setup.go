package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"devctl/internal/api"
	"devctl/internal/atomicfile"
	"devctl/internal/etcdmember"
	"devctl/internal/pki"
)

const (
	machineIDFile = "/etc/machine-id"
	cgroupRoot    = "/sys/fs/cgroup"
)

// setup prepares the node for every other unit, once per boot.
func setup(ctx context.Context, get getter, log *slog.Logger) error {
	where, err := newCloud(get)
	if err != nil {
		return err
	}
	var known []setting
	if where != nil {
		founded, err := etcdmember.HasData(api.EtcdDataDir)
		if err != nil {
			return err
		}
		if known, err = identify(ctx, where, get, founded, log); err != nil {
			return err
		}
	}
	if err := completePlatform(api.PlatformEnvFile, known, machineIDFile, cgroupRoot); err != nil {
		return err
	}
	n, err := parseNode(over(known, get))
	if err != nil {
		return err
	}
	if n.Identity.Role == api.RoleMain {
		if err := issueCertificates(n.Identity, api.PKIDir, api.NodePKIDir, time.Now(), log); err != nil {
			return err
		}
	}
	notify(log, "prepared "+n.Identity.Name)
	return nil
}

// over looks among settings first.
func over(some []setting, get getter) getter {
	return func(key string) string {
		if i := slices.IndexFunc(some, func(s setting) bool { return s.key == key }); i >= 0 {
			return some[i].value
		}
		return get(key)
	}
}

// completePlatform adds to the platform's environment what it does not have: what is known about the machine, how podman
// has to treat cgroups, and the machine's ID where the platform gives it none. What is there stays as it is.
func completePlatform(file string, known []setting, machineID, cgroups string) error {
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the platform's environment: %w", err)
	}
	have := parseEnv(string(text))
	var b strings.Builder
	b.Write(text)
	if len(text) > 0 && !strings.HasSuffix(string(text), "\n") {
		b.WriteByte('\n')
	}
	add := func(key, value string) {
		if have[key] == "" {
			have[key] = value
			fmt.Fprintf(&b, "%s=%s\n", key, value)
		}
	}
	for _, s := range known {
		add(s.key, s.value)
	}
	if have[keyInstance] == "" {
		id, err := os.ReadFile(machineID)
		if err != nil {
			return fmt.Errorf("read the machine's ID: %w", err)
		}
		add(keyInstance, strings.TrimSpace(string(id)))
	}
	if have[keyCgroups] == "" {
		mode, err := podmanCgroups(cgroups)
		if err != nil {
			return err
		}
		add(keyCgroups, mode)
	}
	if b.String() == string(text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("write the platform's environment: %w", err)
	}
	return atomicfile.Write(file, []byte(b.String()), 0o644)
}

// podmanCgroups is podman's --cgroups. Where version 2 is mounted, conmon and workload each get a part of the unit's
// cgroup; a podman in a container on version 1 cannot make cgroups at all.
func podmanCgroups(root string) (string, error) {
	_, err := os.Stat(filepath.Join(root, "cgroup.controllers"))
	switch {
	case err == nil:
		return "split", nil
	case errors.Is(err, fs.ErrNotExist):
		return "disabled", nil
	}
	return "", fmt.Errorf("find out the version of cgroups: %w", err)
}

// issueCertificates gives a main node its certificates, from the authority's key that only mains have: those that
// are missing, unusable, of another authority, or due for renewal.
func issueCertificates(id api.Identity, authorityDir, dir string, now time.Time, log *slog.Logger) error {
	ca, err := pki.Load(authorityDir, "ca")
	if err != nil {
		return err
	}
	local := []string{id.Address, "127.0.0.1", "localhost"}
	for _, c := range []struct {
		file    string
		profile pki.Profile
	}{
		{"etcd", pki.Profile{CommonName: "etcd", Organization: "devctl:etcd", Addresses: local, Server: true, Client: true}},
		{"controller", pki.Profile{CommonName: "root", Organization: "devctl:controller", Addresses: append(slices.Clone(local), api.ControllerName), Server: true, Client: true}},
		{"node", pki.Profile{CommonName: id.Name, Organization: "devctl:" + string(id.Role), Addresses: []string{id.Address}, Server: true, Client: true}},
	} {
		reason := stale(dir, c.file, ca.Cert, c.profile.Addresses, now)
		if reason == "" {
			continue
		}
		pair, err := ca.Issue(c.profile, now)
		if err != nil {
			return err
		}
		if err := pair.Store(dir, c.file); err != nil {
			return err
		}
		log.Info("issued a certificate", "name", c.file, "reason", reason)
	}
	return nil
}

// stale says why a certificate has to be issued, or nothing.
func stale(dir, name, ca string, addresses []string, now time.Time) string {
	pair, err := pki.Load(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "there is none yet"
	}
	if err == nil {
		err = errors.Join(pair.IssuedBy(ca), pair.Covers(addresses))
	}
	if err != nil {
		return err.Error()
	}
	renew, err := pair.RenewAt()
	if err != nil {
		return err.Error()
	}
	if !now.Before(renew) {
		return "it is due for renewal"
	}
	return ""
}
