package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"devctl/internal/api"
	"devctl/internal/discovery"
)

// rootUser is the common name of controllers' certificates, and the user that etcd lets do everything.
const rootUser = "root"

// authTimeout bounds one change of etcd's users and roles, which takes several calls.
const authTimeout = 10 * time.Second

// bootstrapAuth makes sure that etcd asks who one is, and knows the main nodes. Until then every certificate of the
// stack may do everything, so it is the first thing that the first leader does. It is done under the election:
// two controllers that race could lock each other out half-way.
func (l *leader) bootstrapAuth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, authTimeout)
	defer cancel()
	// At the same time: every one is a dozen writes, and all nodes wait for them to be done.
	users, each := errgroup.WithContext(ctx)
	users.Go(func() error { return l.ensureUser(each, rootUser, rootUser, nil) })
	for _, m := range l.mains {
		users.Go(func() error { return l.ensureNodeUser(each, m.Name, api.RoleMain) })
	}
	if err := users.Wait(); err != nil {
		return err
	}
	status, err := l.etcd.AuthStatus(ctx)
	if err != nil {
		return fmt.Errorf("ask etcd whether authentication is on: %w", err)
	}
	if status.Enabled {
		return nil
	}
	if _, err := l.etcd.AuthEnable(ctx); err != nil {
		return fmt.Errorf("turn etcd's authentication on: %w", err)
	}
	l.log.Info("etcd's authentication is on")
	return nil
}

// ensureNodeUser makes sure that etcd knows a node and lets it do what its role needs, and no more.
func (c *controller) ensureNodeUser(ctx context.Context, name string, role api.Role) error {
	return c.ensureUser(ctx, name, roleOf(name), grants(name, role))
}

// roleOf is what the role of a node's user is called.
func roleOf(node string) string { return "node-" + node }

// grant is a permission on one key, or on all keys from key up to end.
type grant struct {
	key, end string
	write    bool
}

func prefix(p string) grant { return grant{key: p, end: clientv3.GetPrefixRangeEnd(p)} }

// grants are what a node may do in etcd. Its name ends in a slash where it is a prefix: data-1 is not data-10.
func grants(name string, role api.Role) []grant {
	observed := prefix(discovery.ObservedOf(name))
	observed.write = true
	out := []grant{
		{key: discovery.NodeKey(name), write: true},
		observed,
		prefix(discovery.AssignmentsOf(name)),
		prefix(discovery.NodesPrefix),
	}
	if role == api.RoleWorker { // among themselves, and only where keepalived does not say who holds the endpoint
		election := prefix(discovery.EndpointKey + "/")
		election.write = true
		out = append(out, election)
	}
	for _, secret := range secretsOf(role) {
		out = append(out, grant{key: discovery.SecretKey(secret)})
	}
	return out
}

// secretsOf lists the secrets that the files of a role's units need.
func secretsOf(role api.Role) []string {
	switch role {
	case api.RoleWorker:
		return []string{api.SecretRedisCheck, api.SecretStats, api.SecretDigitalOcean}
	case api.RoleData:
		return []string{api.SecretRedisAdmin, api.SecretRedisReplication, api.SecretRedisCheck, api.SecretRedisApp}
	default:
		return nil
	}
}

// ensureUser makes sure that the user exists, has the role, and that the role has exactly these grants. What is right
// already is not touched: every change makes etcd refuse the requests of others that are under way.
func (c *controller) ensureUser(ctx context.Context, user, role string, want []grant) error {
	if err := c.ensureRole(ctx, role, want); err != nil {
		return err
	}
	got, err := c.etcd.UserGet(ctx, user)
	switch {
	case errors.Is(err, rpctypes.ErrUserNotFound):
		// No password: a certificate is the only way to be this user.
		_, err := c.etcd.UserAddWithOptions(ctx, user, "", &clientv3.UserAddOptions{NoPassword: true})
		if err != nil && !errors.Is(err, rpctypes.ErrUserAlreadyExist) {
			return fmt.Errorf("add etcd user %q: %w", user, err)
		}
	case err != nil:
		return fmt.Errorf("ask for etcd user %q: %w", user, err)
	case slices.Contains(got.Roles, role):
		return nil
	}
	if _, err := c.etcd.UserGrantRole(ctx, user, role); err != nil {
		return fmt.Errorf("grant etcd user %q role %q: %w", user, role, err)
	}
	return nil
}

func (c *controller) ensureRole(ctx context.Context, role string, want []grant) error {
	var have []grant
	got, err := c.etcd.RoleGet(ctx, role)
	switch {
	case errors.Is(err, rpctypes.ErrRoleNotFound):
		if _, err := c.etcd.RoleAdd(ctx, role); err != nil && !errors.Is(err, rpctypes.ErrRoleAlreadyExist) {
			return fmt.Errorf("add etcd role %q: %w", role, err)
		}
	case err != nil:
		return fmt.Errorf("ask for etcd role %q: %w", role, err)
	case role == rootUser:
		return nil // what it may do is not for us to say
	default:
		for _, p := range got.Perm {
			have = append(have, grant{string(p.Key), string(p.RangeEnd), p.PermType != authpb.READ})
		}
	}
	for _, g := range want {
		if slices.Contains(have, g) {
			continue
		}
		kind := clientv3.PermissionType(clientv3.PermRead)
		if g.write {
			kind = clientv3.PermissionType(clientv3.PermReadWrite)
		}
		if _, err := c.etcd.RoleGrantPermission(ctx, role, g.key, g.end, kind); err != nil {
			return fmt.Errorf("grant etcd role %q %s: %w", role, g.key, err)
		}
	}
	for _, h := range have {
		keep := slices.ContainsFunc(want, func(g grant) bool { return g.key == h.key && g.end == h.end })
		if keep {
			continue
		}
		if _, err := c.etcd.RoleRevokePermission(ctx, role, h.key, h.end); err != nil {
			return fmt.Errorf("take %s from etcd role %q: %w", h.key, role, err)
		}
	}
	return nil
}
