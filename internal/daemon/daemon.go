// Package daemon is what devctld does: one subcommand for each of its units. It reads the node's environment and
// hands over to the package that does the work. It stays small, and so does the daemon's memory.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"devctl/internal/agent"
	"devctl/internal/api"
	"devctl/internal/controller"
	"devctl/internal/etcdmember"
	"devctl/internal/pki"
	"devctl/internal/version"
	"devctl/units"
)

const usage = `usage: devctld COMMAND

Runs on the nodes of a stack, as systemd units that come with the machine:

  setup         prepare the node, once per boot
  agent         join, beat, and run the assigned units
  image         load a container image from the stack's bucket (clouds)
  etcd-prepare  decide how etcd starts (main nodes)
  yield         let a replica take over from a Redis that stops (data nodes)
  controller    serve the API, and lead if elected (main nodes)
  endpoint      keep the stack's address at this node while it should be here (clouds)
  ended UNIT    decide when systemd starts a unit again that has just ended
  version       print the version
`

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main runs one subcommand until it is done, or until SIGTERM or SIGINT, and returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	wanted := 1
	if len(args) > 0 && args[0] == "ended" {
		wanted = 2
	}
	if len(args) != wanted {
		_, _ = io.WriteString(stderr, usage)
		return exitUsage
	}
	var run func(context.Context, getter, *slog.Logger) error
	switch args[0] {
	case "setup":
		run = setup
	case "agent":
		run = runAgent
	case "image":
		run = loadImage
	case "etcd-prepare":
		run = prepareEtcd
	case "yield":
		run = yield
	case "controller":
		run = runController
	case "endpoint":
		run = runEndpoint
	case "ended":
		run = func(ctx context.Context, get getter, log *slog.Logger) error { return ended(ctx, args[1], get, log) }
	case "version":
		_, _ = fmt.Fprintln(stdout, version.Version)
		return exitOK
	default:
		_, _ = fmt.Fprintf(stderr, "devctld: unknown command %q\n\n%s", args[0], usage)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log := newLogger(stderr)
	get, err := environment()
	if err == nil {
		err = run(ctx, get, log)
	}
	switch {
	case err == nil || ctx.Err() != nil:
		return exitOK
	case errors.Is(err, agent.ErrRenew), errors.Is(err, agent.ErrJoined), errors.Is(err, errMainsMoved):
		log.Info("restarting", "reason", err)
		return exitOK
	}
	log.Error(args[0]+" failed", "error", err)
	return exitFailed
}

// newLogger logs for the journal, which knows the time.
func newLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// notify tells systemd about the service. Outside of systemd it does nothing.
func notify(log *slog.Logger, status string) {
	if _, err := sd.SdNotify(false, sd.SdNotifyReady+"\nSTATUS="+status); err != nil {
		log.Warn("cannot tell systemd that the service is ready", "error", err)
	}
}

// shrink makes the process small for a long wait.
func shrink(log *slog.Logger) {
	if err := settle(); err != nil {
		log.Warn("cannot give memory back", "error", err)
	}
}

func runAgent(ctx context.Context, get getter, log *slog.Logger) error {
	n, err := parseNode(get)
	if err != nil {
		return err
	}
	if n.Identity.Role == api.RoleMain {
		// Also here, not at boot only: a main node may run for longer than its certificates.
		if err := issueCertificates(n.Identity, api.PKIDir, api.NodePKIDir, time.Now(), log); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return followRegistry(ctx, get, api.PlatformEnvFile, log) })
	g.Go(func() error {
		return agent.Run(ctx, agent.Config{
			Identity: n.Identity, Platform: n.Platform, ID: n.ID, Ignition: n.Ignition, Version: version.Version, Mains: n.Mains, Log: log,
			Ready: func() { notify(log, "registered as "+n.Identity.Name) },
			Idle:  func() { shrink(log) },
		})
	})
	return g.Wait()
}

func runController(ctx context.Context, get getter, log *slog.Logger) error {
	n, err := parseNode(get)
	if err != nil {
		return err
	}
	own, err := pki.Load(api.NodePKIDir, "controller")
	if err != nil {
		return err
	}
	ctx, cancel, err := agent.UntilRenewal(ctx, own, time.Now())
	if err != nil {
		return err
	}
	defer cancel()
	snapshots, err := snapshotsOf(get)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return followFile(ctx, get, api.PlatformEnvFile) })
	g.Go(func() error {
		return controller.Run(ctx, controller.Config{
			Identity: n.Identity, Mains: n.Mains, CADir: api.PKIDir, CertDir: api.NodePKIDir, Snapshots: snapshots,
			Workers: workersOf(n), Log: log,
			Ready: func() { notify(log, "serving") },
		})
	})
	return g.Wait()
}

func prepareEtcd(ctx context.Context, get getter, log *slog.Logger) error {
	n, err := parseNode(get)
	if err != nil {
		return err
	}
	// etcd's root user: where authentication is on, the member's own certificate may not change members.
	own, err := pki.Load(api.NodePKIDir, "controller")
	if err != nil {
		return err
	}
	authority, err := pki.Load(api.PKIDir, "ca")
	if err != nil {
		return err
	}
	member, err := pki.Load(api.NodePKIDir, "etcd")
	if err != nil {
		return err
	}
	tls, err := pki.ClientTLS(authority.Cert, own)
	if err != nil {
		return err
	}
	peerTLS, err := pki.ClientTLS(authority.Cert, member)
	if err != nil {
		return err
	}
	return etcdmember.Prepare(ctx, etcdmember.Config{
		Name: n.Identity.Name, Members: etcdmember.Members(n.Mains), Found: n.FoundEtcd,
		DataDir: api.EtcdDataDir, EnvFile: units.EtcdEnvFile, TLS: tls, PeerTLS: peerTLS, Log: log,
	})
}
