package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"devctl/internal/cli/output"
	"devctl/internal/clouds"
	"devctl/internal/localcloud"
	"devctl/internal/snapshot"
	"devctl/stacks"
)

// snapshots are those that the controllers of a stack have taken, and the main nodes that they are for.
type snapshots interface {
	List(ctx context.Context, stack string) ([]snapshot.Info, error)
	Read(ctx context.Context, stack, name string, use func(io.Reader) error) error
	// MainNodes lists the main nodes that there are, and counts those that run.
	MainNodes(ctx context.Context, stack string) (names []string, running int, err error)
	RemoveMainNodes(ctx context.Context, stack string) error
}

// localSnapshots are those of a stack on this machine.
type localSnapshots struct{}

func (localSnapshots) List(ctx context.Context, stack string) ([]snapshot.Info, error) {
	return localcloud.Snapshots(ctx, stack)
}

func (localSnapshots) Read(ctx context.Context, stack, name string, use func(io.Reader) error) error {
	return localcloud.ReadSnapshot(ctx, stack, name, use)
}

func (localSnapshots) MainNodes(ctx context.Context, stack string) ([]string, int, error) {
	return localcloud.MainNodes(ctx, stack)
}

func (localSnapshots) RemoveMainNodes(ctx context.Context, stack string) error {
	return localcloud.RemoveMainNodes(ctx, stack)
}

// saveTimeout bounds the way of a snapshot to this machine.
const saveTimeout = 5 * time.Minute

func newEtcdCommand(d *deps) *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "etcd",
		Short: "Save what etcd knows, and bring it back",
		Long: `etcd, on the main nodes, is all that the controllers know: what is deployed, what runs where, who may do what, and the
services' passwords. One main node that is lost is replaced; when all are lost, Redis and the endpoint go on without
them, and a snapshot brings the main nodes back.`,
		Example: `  devctl etcd snapshot list
  devctl etcd snapshot save before-the-move.db
  devctl etcd snapshot restore --latest`,
	}, newGroup(&cobra.Command{
		Use:   "snapshot",
		Short: "Take, list and restore snapshots of etcd",
		Long: `The leading controller takes a snapshot a few seconds after a change is done, and every quarter of an hour. On local
the last 24 are kept in a Docker volume of the stack, on AWS those of the last week in the stack's bucket: places that
outlive all main nodes and go with the stack. On DigitalOcean none are kept, for droplets have no rights in Spaces: save
some yourself. Snapshots hold passwords: their files are readable by their owner only.`,
		Example: `  devctl etcd snapshot list -o json | jq -r '.[0].name'
  devctl etcd snapshot save
  devctl etcd snapshot restore 20261121T075600.123Z`,
	}, newSnapshotSaveCommand(d), newSnapshotListCommand(d), newSnapshotRestoreCommand(d)))
}

func newSnapshotSaveCommand(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:   "save [FILE]",
		Short: "Take a snapshot of etcd to this machine",
		Long: `Takes a snapshot now and writes it to FILE, or into devctl's data folder, which keeps the last 24 of each stack. The
file appears only when it is whole and its hash is right. It holds the stack's passwords: only you can read it.`,
		Example: `  devctl etcd snapshot save
  devctl etcd snapshot save before-the-move.db`,
		Args: atMostOne("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runSnapshotSave(cmd.Context(), d, append(args, "")[0])
		},
	}
}

func newSnapshotListCommand(d *deps) *cobra.Command {
	var format output.Format
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the snapshots of etcd, the latest first",
		Long: `Lists the snapshots that the controllers have kept and those that "devctl etcd snapshot save" has put into devctl's data
folder. No main node has to run for it.`,
		Example: `  devctl etcd snapshot list
  devctl etcd snapshot list -o json | jq -r '.[0].name'`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runSnapshotList(cmd.Context(), d, format) },
	}
	addFormat(cmd, &format)
	return cmd
}

// snapshotView is one snapshot in `devctl etcd snapshot list`.
type snapshotView struct {
	snapshot.Info
	Where string `json:"where"` // a Docker volume, or a file

	file string // "" in a volume
}

// savedSnapshots is the folder of the stack's snapshots on this machine.
func savedSnapshots(d *deps, stack string) (snapshot.Dir, error) {
	home, err := dataDir(d.getenv)
	if err != nil {
		return "", err
	}
	return snapshot.Dir(filepath.Join(home, "snapshots", stack)), nil
}

// allSnapshots lists the stack's snapshots wherever they are, the latest first.
func allSnapshots(ctx context.Context, d *deps, spec *stacks.Spec) ([]snapshotView, error) {
	dir, err := savedSnapshots(d, spec.Stack)
	if err != nil {
		return nil, err
	}
	saved, err := dir.List()
	if err != nil {
		return nil, err
	}
	all := []snapshotView{}
	for _, s := range saved {
		file := filepath.Join(string(dir), snapshot.Data(s.Name))
		all = append(all, snapshotView{Info: s, Where: file, file: file})
	}
	switch spec.Provider {
	case stacks.ProviderLocal:
		kept, err := d.snapshots.List(ctx, spec.Stack)
		if err != nil {
			return nil, err
		}
		for _, s := range kept {
			all = append(all, snapshotView{Info: s, Where: "volume " + localcloud.SnapshotVolume(spec.Stack)})
		}
	case stacks.ProviderAWS:
		kept, err := d.bucketSnapshots(ctx, spec)
		if err != nil {
			return nil, err
		}
		for _, s := range kept {
			all = append(all, snapshotView{Info: s, Where: clouds.SnapshotFolder(spec) + "/" + s.Object()})
		}
	}
	slices.SortStableFunc(all, func(a, b snapshotView) int { return strings.Compare(b.Name, a.Name) })
	return all, nil
}

func runSnapshotList(ctx context.Context, d *deps, format output.Format) error {
	spec, err := d.spec()
	if err != nil {
		return err
	}
	all, err := allSnapshots(ctx, d, spec)
	if err != nil {
		return err
	}
	return output.Write(d.streams.Out, format, all, func(w io.Writer) error {
		if len(all) == 0 {
			_, err := fmt.Fprintf(w, "There is no snapshot of stack %s.\n", spec.Stack)
			return err
		}
		g := output.NewGrid("NAME", "AGE", "SIZE", "REVISION", "SHA256", "WHERE")
		for _, s := range all {
			g.Row(s.Name, d.now().Sub(s.Time).Round(time.Second).String(), fmt.Sprintf("%d KiB", (s.Size+1023)/1024), fmt.Sprint(s.Revision), s.SHA256[:12], s.Where)
		}
		return g.Write(w)
	})
}

func runSnapshotSave(ctx context.Context, d *deps, file string) error {
	spec, err := d.spec()
	if err != nil {
		return err
	}
	c, _, err := d.reach(ctx, spec.Stack)
	if err != nil {
		return err
	}
	defer c.Close()
	arrived, err := os.CreateTemp("", "devctl-snapshot-*") // 0600
	if err != nil {
		return fmt.Errorf("save a snapshot: %w", err)
	}
	defer func() { _ = errors.Join(arrived.Close(), os.Remove(arrived.Name())) }()
	limited, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	begun := d.now()
	revision, err := c.Snapshot(limited, arrived)
	if err != nil {
		return withNext(err, d.command("status")+" shows whether etcd has a quorum")
	}
	if _, err := arrived.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("save a snapshot: %w", err)
	}
	if file == "" {
		dir, err := savedSnapshots(d, spec.Stack)
		if err != nil {
			return err
		}
		info, err := dir.Add(limited, begun, revision, arrived)
		if err != nil {
			return err
		}
		file = filepath.Join(string(dir), snapshot.Data(info.Name))
	} else if _, err := snapshot.Write(file, arrived); err != nil {
		return err
	}
	d.say("Saved what etcd of stack %s knows at revision %d to %s. It holds passwords: keep it to yourself.", spec.Stack, revision, file)
	return nil
}
