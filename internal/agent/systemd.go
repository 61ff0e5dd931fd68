package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// systemdTimeout bounds one call.
const systemdTimeout = 10 * time.Second

// systemd is the node's service manager, reached through its private socket: that works before, and without, a
// D-Bus daemon. It connects again when systemd was re-executed.
type systemd struct {
	mu   sync.Mutex
	conn *dbus.Conn
}

// call makes one call over a living connection.
func (s *systemd) call(ctx context.Context, action string, f func(context.Context, *dbus.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, systemdTimeout)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && !s.conn.Connected() {
		s.conn.Close()
		s.conn = nil
	}
	if s.conn == nil {
		// Not with ctx: the connection must outlive this call.
		conn, err := dbus.NewSystemdConnectionContext(context.WithoutCancel(ctx))
		if err != nil {
			return fmt.Errorf("connect to systemd: %w", err)
		}
		s.conn = conn
	}
	if err := f(ctx, s.conn); err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	return nil
}

func (s *systemd) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

func (s *systemd) units(ctx context.Context, names []string) (map[string]unitState, error) {
	out := make(map[string]unitState, len(names))
	err := s.call(ctx, "ask systemd for units", func(ctx context.Context, c *dbus.Conn) error {
		list, err := c.ListUnitsByNamesContext(ctx, names)
		for _, u := range list {
			out[u.Name] = unitState{Known: u.LoadState != "not-found", Active: u.ActiveState, Sub: u.SubState, Job: u.JobType}
		}
		return err
	})
	return out, err
}

func (s *systemd) reload(ctx context.Context) error {
	return s.call(ctx, "reload systemd", func(ctx context.Context, c *dbus.Conn) error { return c.ReloadContext(ctx) })
}

func (s *systemd) enable(ctx context.Context, unit string) error {
	return s.call(ctx, "enable "+unit, func(ctx context.Context, c *dbus.Conn) error {
		_, _, err := c.EnableUnitFilesContext(ctx, []string{unit}, false, true)
		return err
	})
}

func (s *systemd) disable(ctx context.Context, unit string) error {
	return s.call(ctx, "disable "+unit, func(ctx context.Context, c *dbus.Conn) error {
		_, err := c.DisableUnitFilesContext(ctx, []string{unit}, false)
		return err
	})
}

// replace lets a job take the place of an earlier one for the same unit.
const replace = "replace"

func (s *systemd) restart(ctx context.Context, unit string) error {
	return s.call(ctx, "restart "+unit, func(ctx context.Context, c *dbus.Conn) error {
		_, err := c.RestartUnitContext(ctx, unit, replace, nil)
		return err
	})
}

func (s *systemd) start(ctx context.Context, unit string) error {
	return s.call(ctx, "start "+unit, func(ctx context.Context, c *dbus.Conn) error {
		_, err := c.StartUnitContext(ctx, unit, replace, nil)
		return err
	})
}

func (s *systemd) stop(ctx context.Context, unit string) error {
	return s.call(ctx, "stop "+unit, func(ctx context.Context, c *dbus.Conn) error {
		_, err := c.StopUnitContext(ctx, unit, replace, nil)
		return err
	})
}

func (s *systemd) forget(ctx context.Context, unit string) error {
	return s.call(ctx, "reset "+unit, func(ctx context.Context, c *dbus.Conn) error {
		err := c.ResetFailedUnitContext(ctx, unit)
		// A unit that stopped well is not even loaded any more.
		if e := (godbus.Error{}); errors.As(err, &e) && e.Name == "org.freedesktop.systemd1.NoSuchUnit" {
			return nil
		}
		return err
	})
}
