package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"devctl/internal/api"
	"devctl/internal/aws"
	"devctl/internal/backoff"
	"devctl/internal/digitalocean"
	"devctl/internal/metadata"
)

// cloud is what a machine can learn where it runs.
type cloud interface {
	// Machine says who the machine is.
	Machine(ctx context.Context) (metadata.Machine, error)
	// Mains says who the main nodes are, where Ignition could not: as the value of DEVCTL_MAINS.
	Mains(ctx context.Context) (string, error)
	// Founds tells whether the machine may found the stack's etcd cluster together with the other mains. It is false for
	// every machine that takes the place of another, and an error where there is no answer.
	Founds(ctx context.Context, name, machine, mains string) (bool, error)
}

// getter returns a value of the node's environment, "" when there is none.
type getter func(key string) string

// newCloud returns the cloud that the environment names, nil for a local node.
func newCloud(get getter) (cloud, error) {
	registry := get(keyRegistry)
	switch p := api.Platform(get(keyPlatform)); p {
	case "", api.PlatformLocal:
		return nil, nil
	case api.PlatformAWS:
		return awsCloud{aws.Client{Metadata: metadata.AWS{Base: metadata.DefaultBase}}, registry}, nil
	case api.PlatformDigitalOcean:
		return doCloud{metadata.DigitalOcean{Base: metadata.DefaultBase}, registry}, nil
	default:
		return nil, fmt.Errorf("%s is %q, and no cloud is called so", keyPlatform, p)
	}
}

// awsCloud: mains have fixed addresses, which Ignition has said, and claim their slots themselves.
type awsCloud struct {
	aws.Client
	registry string // s3://bucket/folder
}

func (c awsCloud) Machine(ctx context.Context) (metadata.Machine, error) {
	return c.Metadata.Machine(ctx)
}

func (c awsCloud) Mains(context.Context) (string, error) {
	return "", fmt.Errorf("%s is missing: on AWS it comes with Ignition", keyMains)
}

func (c awsCloud) Founds(ctx context.Context, name, machine, mains string) (bool, error) {
	client, err := c.Here(ctx)
	if err != nil {
		return false, err
	}
	folder := c.registry + "/" + api.RegistryFounding + "/"
	// Of the first mains, and of no others: a slot that was added later has a first machine too.
	first, err := client.Claim(ctx, folder+"mains", mains)
	if err != nil || first != mains {
		return false, err
	}
	owner, err := client.Claim(ctx, folder+name, machine)
	return err == nil && owner == machine, err
}

// doCloud: the program has written down what it knew after it had made the mains.
type doCloud struct {
	metadata.DigitalOcean
	registry string // https://…
}

func (c doCloud) read(ctx context.Context, name string) (map[string]string, error) {
	text, found, err := digitalocean.Read(ctx, c.registry+"/"+name)
	if err == nil && !found {
		err = fmt.Errorf("%s is not there yet: the program writes it when all main nodes are made", name)
	}
	return parseEnv(text), err
}

func (c doCloud) Mains(ctx context.Context) (string, error) {
	values, err := c.read(ctx, api.RegistryMains)
	return values[keyMains], err
}

func (c doCloud) Founds(ctx context.Context, _, machine, mains string) (bool, error) {
	values, err := c.read(ctx, api.RegistryFounders)
	if err != nil {
		return false, err
	}
	founders := strings.Split(values[keyFounders], ",")
	return values[keyMains] == mains && slices.Contains(founders, machine), nil
}

// setting is a line of an environment file.
type setting struct{ key, value string }

// identify completes the environment with what only the machine itself can find out. It asks for as long as it takes, or
// as ctx allows: a node without an identity is of no use, and one with half of it does harm. founded tells that the machine has
// etcd's data already.
func identify(ctx context.Context, c cloud, get getter, founded bool, log *slog.Logger) ([]setting, error) {
	var out []setting
	err := persist(ctx, log, "cannot find out who this machine is yet, trying on", func() (err error) {
		out, err = identifyOnce(ctx, c, get, founded)
		return err
	})
	return out, err
}

// persist tries until it works or ctx ends, and tells of every new reason why it does not.
func persist(ctx context.Context, log *slog.Logger, what string, try func() error) error {
	retry := backoff.Backoff{Min: 200 * time.Millisecond, Max: 5 * time.Second}
	var last string
	for {
		err := try()
		if err == nil {
			return nil
		}
		if err.Error() != last && ctx.Err() == nil {
			log.Warn(what, "error", err)
		}
		last = err.Error()
		if retry.Wait(ctx) != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

func identifyOnce(ctx context.Context, c cloud, get getter, founded bool) ([]setting, error) {
	here, err := c.Machine(ctx)
	if err != nil {
		return nil, err
	}
	out := []setting{{keyInstance, here.ID}}
	role, name := api.Role(get(keyRole)), get(keyNode)
	if name == "" {
		if role != api.RoleWorker {
			return nil, fmt.Errorf("%s is missing: nodes of role %q have it from Ignition", keyNode, role)
		}
		name = workerName(here.ID)
		out = append(out, setting{keyNode, name})
	}
	for _, s := range []setting{{keyZone, here.Zone}, {keyAddress, here.Address}} {
		switch said := get(s.key); said {
		case "":
			out = append(out, s)
		case s.value:
		default:
			return nil, fmt.Errorf("%s is %s in the machine's configuration, and %s where it runs", s.key, said, s.value)
		}
	}
	mains := get(keyMains)
	if mains == "" {
		if mains, err = c.Mains(ctx); err != nil {
			return nil, err
		}
		if err := checkMains(mains, get(keyMainNames), role, name, here.Address); err != nil {
			return nil, err
		}
		out = append(out, setting{keyMains, mains})
	}
	if role != api.RoleMain {
		return out, nil
	}
	// With data nobody has to be asked: it says itself which cluster it is of.
	founds := false
	if !founded {
		if founds, err = c.Founds(ctx, name, here.ID, mains); err != nil {
			return nil, err
		}
	}
	if founds {
		return append(out, setting{keyEtcd, "new"}), nil
	}
	return append(out, setting{keyEtcd, "join"}), nil
}

// workerName is the name of a machine of an elastic group.
func workerName(machine string) string { return "worker-" + machine[max(0, len(machine)-8):] }

// checkMains refuses a list of mains that lacks one of those expected, that has two at one address, and, on a main node, one that
// does not have the node at the address it is at: then another machine's, older or newer, is meant. More than expected may
// be in it: the stack has grown since the machine was made, or the machine does not have to know them all.
func checkMains(mains, names string, role api.Role, name, address string) error {
	peers, err := parseMains(mains)
	if err != nil {
		return err
	}
	var got, addresses []string
	for _, p := range peers {
		got, addresses = append(got, p.Name), append(addresses, p.Address)
		if a, err := netip.ParseAddr(p.Address); err != nil || !a.Is4() {
			return fmt.Errorf("%s has %s at %q, which is no IPv4 address", keyMains, p.Name, p.Address)
		}
		if role == api.RoleMain && p.Name == name && p.Address != address {
			return fmt.Errorf("%s still has %s at %s, and this machine is at %s", keyMains, name, p.Address, address)
		}
	}
	slices.Sort(got)
	slices.Sort(addresses)
	want := strings.Split(names, ",")
	slices.Sort(want)
	if slices.ContainsFunc(want, func(name string) bool { return !slices.Contains(got, name) }) {
		return fmt.Errorf("%s names %s, and the main nodes are %s", keyMains, strings.Join(got, ", "), strings.Join(want, ", "))
	}
	if len(slices.Compact(addresses)) != len(peers) {
		return fmt.Errorf("%s has two nodes at one address", keyMains)
	}
	if role == api.RoleMain && !slices.Contains(want, name) {
		return fmt.Errorf("%s is no main node: those are %s", name, strings.Join(want, ", "))
	}
	return nil
}
