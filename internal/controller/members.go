package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"devctl/internal/api"
)

const (
	membersLook = 5 * time.Second // between two looks at etcd's members
	// membersGrace is how many looks in a row must find a member gone before it is removed. Only looks that etcd's quorum
	// answered count.
	membersGrace = 6
)

// reapMembers removes etcd's members on main nodes that the stack has no more, until ctx ends: they would count for every
// quorum. One that is replaced is removed by its replacement.
func (l *leader) reapMembers(ctx context.Context) error {
	tick := time.NewTicker(membersLook)
	defer tick.Stop()
	absences := map[member]int{}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if err := l.reapMembersOnce(ctx, absences); err != nil && ctx.Err() == nil {
			l.log.Warn("cannot remove etcd members of main nodes that are gone, trying on", "error", err)
		}
	}
}

// reapMembersOnce looks once. absences has, by member, in how many looks before it was gone.
func (l *leader) reapMembersOnce(ctx context.Context, absences map[member]int) error {
	s, err := l.read(ctx)
	if err != nil {
		return err
	}
	members, err := l.members(ctx)
	if err != nil {
		return err
	}
	for _, m := range longGone(s.surplus(members), absences, membersGrace) {
		ctx, cancel := context.WithTimeout(ctx, etcdTimeout)
		_, err := l.etcd.MemberRemove(ctx, m.id)
		cancel()
		if err != nil && !errors.Is(err, rpctypes.ErrMemberNotFound) {
			return fmt.Errorf("remove etcd member %s: %w", m.name, err)
		}
		l.log.Info("the stack has this main node no more, its etcd member is removed", "node", m.name)
	}
	return nil
}

// surplus are the voters that do not answer, of main nodes that neither live nor are in the deployment. A learner may be of one
// that joins before it is deployed to.
func (s state) surplus(members []member) []member {
	if s.deployment == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(members), func(m member) bool {
		_, lives := s.node(m.name)
		wanted := slices.ContainsFunc(s.deployment.Nodes, func(id api.Identity) bool { return id.Name == m.name })
		return m.answers || m.learner || lives || wanted
	})
}
