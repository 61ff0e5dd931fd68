package controller

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"devctl/internal/api"
	"devctl/internal/backoff"
)

const (
	usersLook = time.Minute // between two looks at etcd's users
	// usersGrace is how many looks in a row must not find the node of a user anywhere before the user goes: an hour. Only
	// looks that etcd's quorum answered count.
	usersGrace = 60
)

// enroll makes sure that etcd knows this main node. The first leader does that for all mains of its configuration; one that
// came later is in no other's.
func (c *controller) enroll(ctx context.Context) error {
	retry := backoff.Backoff{Min: 200 * time.Millisecond, Max: 3 * time.Second}
	for {
		err := c.enrollOnce(ctx)
		if err == nil {
			return nil
		}
		c.log.Debug("etcd does not know this node yet, trying on", "error", err)
		if err := retry.Wait(ctx); err != nil {
			return err
		}
	}
}

func (c *controller) enrollOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, authTimeout)
	defer cancel()
	status, err := c.etcd.AuthStatus(ctx)
	if err != nil {
		return fmt.Errorf("ask etcd whether authentication is on: %w", err)
	}
	if !status.Enabled {
		return errors.New("etcd's authentication is not on yet") // who turns it on enters all mains first
	}
	return c.ensureNodeUser(ctx, c.self.Name, api.RoleMain)
}

// reapUsers removes the users of nodes that are gone, until ctx ends. Elastic workers come under ever new names; without
// it etcd would know all of them for ever, and their certificates would open what was theirs.
//
// A node that was only silent for so long gets its user back: an agent that etcd refuses joins again.
func (l *leader) reapUsers(ctx context.Context) error {
	tick := time.NewTicker(usersLook)
	defer tick.Stop()
	absences := map[string]int{}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if err := l.reapUsersOnce(ctx, absences); err != nil && ctx.Err() == nil {
			l.log.Warn("cannot remove the users of nodes that are gone, trying on", "error", err)
		}
	}
}

// reapUsersOnce looks once. absences has, by user, in how many looks before its node was nowhere.
func (l *leader) reapUsersOnce(ctx context.Context, absences map[string]int) error {
	ctx, cancel := context.WithTimeout(ctx, authTimeout)
	defer cancel()
	users, err := l.etcd.UserList(ctx)
	if err != nil {
		return fmt.Errorf("list etcd's users: %w", err)
	}
	s, err := l.read(ctx)
	if err != nil {
		return err
	}
	for _, name := range longGone(s.absent(users.Users), absences, usersGrace) {
		if err := l.removeNodeUser(ctx, name); err != nil {
			return err
		}
		l.log.Info("node is long gone, etcd knows it no more", "node", name)
	}
	return nil
}

// joined is what users of nodes are called that have joined. Nobody else's user is ours to remove.
var joined = regexp.MustCompile(`^(` + string(api.RoleWorker) + `|` + string(api.RoleData) + `)-[0-9a-f]+$`)

// absent are those of etcd's users whose nodes neither live, nor are in the deployment, nor are waited for.
func (s state) absent(users []string) []string {
	if s.deployment == nil {
		return nil // whoever joins before anything is deployed is expected
	}
	known := map[string]bool{}
	for _, n := range s.nodes {
		known[n.Name] = true
	}
	for _, n := range s.target().Nodes {
		known[n.Name] = true
	}
	return slices.DeleteFunc(slices.Clone(users), func(name string) bool { return known[name] || !joined.MatchString(name) })
}

// longGone takes note of a look, and returns what was absent in so many looks in a row.
func longGone[T comparable](absent []T, absences map[T]int, looks int) []T {
	for known := range absences {
		if !slices.Contains(absent, known) {
			delete(absences, known)
		}
	}
	var gone []T
	for _, a := range absent {
		if absences[a]++; absences[a] >= looks {
			gone = append(gone, a)
		}
	}
	return gone
}

// removeNodeUser removes what ensureNodeUser made, the user last: as long as it is there, the next look finds it.
func (c *controller) removeNodeUser(ctx context.Context, name string) error {
	if _, err := c.etcd.RoleDelete(ctx, roleOf(name)); err != nil && !errors.Is(err, rpctypes.ErrRoleNotFound) {
		return fmt.Errorf("remove the etcd role of %s: %w", name, err)
	}
	if _, err := c.etcd.UserDelete(ctx, name); err != nil && !errors.Is(err, rpctypes.ErrUserNotFound) {
		return fmt.Errorf("remove etcd user %q: %w", name, err)
	}
	return nil
}
