package etcdmember

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// learnerInterval is how often a learner asks to become a voter; etcd refuses until it has caught up.
	learnerInterval = time.Second
	// voterInterval is how often a voter looks whether it has become a learner: etcd can be restarted with an
	// empty disk while this process goes on.
	voterInterval = 30 * time.Second
)

// Promote makes this machine's member a voter whenever it is a learner, until ctx ends. A learner cannot do that
// itself: it asks the other members.
func Promote(ctx context.Context, c Config) error {
	self, others, err := c.self()
	if err != nil {
		return err
	}
	if len(others) == 0 { // the only member is a voter
		<-ctx.Done()
		return context.Cause(ctx)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last string // the last error, so that each is logged once
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
		promoted, err := c.promote(ctx, self, others)
		if err != nil {
			if err.Error() != last && ctx.Err() == nil {
				c.Log.Info("this machine's etcd is no voter yet", "reason", err)
			}
			last = err.Error()
			timer.Reset(learnerInterval)
			continue
		}
		last = ""
		if promoted {
			c.Log.Info("this machine's etcd is a voter now")
		}
		timer.Reset(voterInterval)
	}
}

// promote returns nil when the member is a voter, and whether it has become one just now. It keeps no connection:
// the next look may be long after.
func (c Config) promote(ctx context.Context, self Member, others []Member) (promoted bool, err error) {
	cli, err := c.dial(others)
	if err != nil {
		return false, err
	}
	defer func() { _ = cli.Close() }()
	members, err := list(ctx, cli)
	if err != nil {
		return false, err
	}
	m := find(members, self)
	if m == nil {
		return false, fmt.Errorf("%q is no member of the etcd cluster", self.Name)
	}
	if !m.IsLearner {
		return false, nil
	}
	// Only the leader can: another member would pass the request on without saying who asks, and with
	// authentication on the leader then refuses.
	leader, err := leader(ctx, cli, members)
	if err != nil {
		return false, err
	}
	direct, err := c.dial([]Member{leader})
	if err != nil {
		return false, err
	}
	defer func() { _ = direct.Close() }()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, err := direct.MemberPromote(ctx, m.ID); err != nil {
		return false, fmt.Errorf("promote learner %q: %w", self.Name, err)
	}
	return true, nil
}

// leader finds the member that leads: it names itself. It can be one that this machine's configuration does not name, of a main
// node that came later or is about to go.
func leader(ctx context.Context, cli *clientv3.Client, members []*pb.Member) (Member, error) {
	for _, m := range members {
		for _, at := range m.ClientURLs {
			ask, cancel := context.WithTimeout(ctx, askTimeout)
			status, err := cli.Status(ask, at)
			cancel()
			if err == nil && status.Leader != 0 && status.Leader == status.Header.MemberId {
				return Member{Name: m.Name, Client: at}, nil
			}
		}
	}
	return Member{}, errors.New("no member says that it leads the etcd cluster")
}
