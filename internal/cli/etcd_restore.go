package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"devctl/internal/api"
	"devctl/internal/cli/progress"
	"devctl/internal/engine"
	"devctl/internal/snapshot"
	"devctl/stacks"
)

const (
	// quorumTimeout is how long the controllers may take to say that there is a quorum.
	quorumTimeout = 5 * time.Second
	// recoverTimeout is how long everybody may take to be seen again.
	recoverTimeout = 3 * time.Minute
)

type restoreOptions struct {
	latest bool
	force  string // name of the stack whose main nodes may be thrown away though they live
}

func newSnapshotRestoreCommand(d *deps) *cobra.Command {
	var opts restoreOptions
	cmd := &cobra.Command{
		Use:   "restore [NAME|FILE]",
		Short: "Bring all main nodes back with a snapshot of etcd",
		Long: `Makes all main nodes anew, as one new etcd cluster with what the snapshot holds. It is for a stack whose main nodes are
all lost, or so many of them that the others have no quorum. What runs on the other nodes goes on meanwhile and is
found again; what the controllers were told after the snapshot, they have forgotten: "devctl up" tells them again.

While a quorum of main nodes answers, or runs, it is refused: one main node that is missing is replaced by "devctl up",
with nothing lost. --force STACK throws those away that live.

It is given the NAME of a snapshot (see "devctl etcd snapshot list"), a FILE, or --latest. Interrupted, it can be run
again: it begins anew. On local only.`,
		Example: `  devctl etcd snapshot restore --latest
  devctl etcd snapshot restore 20261121T075600.123Z
  devctl etcd snapshot restore before-the-move.db --yes
  devctl etcd snapshot restore --latest --force alpha -s alpha`,
		Args: atMostOne("NAME|FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.latest == (len(args) == 1) {
				return usagef(cmd, "give either the name or file of a snapshot, or --latest")
			}
			if err := mayAsk(cmd, d); err != nil {
				return err
			}
			return runSnapshotRestore(cmd.Context(), d, append(args, "")[0], opts)
		},
	}
	cmd.Flags().BoolVar(&opts.latest, "latest", false, "restore the latest snapshot")
	cmd.Flags().StringVar(&opts.force, "force", "", "throw away main nodes of `STACK` that live")
	return cmd
}

func runSnapshotRestore(ctx context.Context, d *deps, wanted string, opts restoreOptions) error {
	spec, err := preflight(ctx, d)
	if err != nil {
		return err
	}
	if spec.Provider != stacks.ProviderLocal {
		return fmt.Errorf("stack %q is on %s: main nodes are brought back with a snapshot on local only", spec.Stack, spec.Provider)
	}
	release, err := d.hold(spec.Stack, restoreOp)
	if err != nil {
		return err
	}
	defer release()
	out, err := d.outputs(ctx, spec.Stack)
	if err != nil {
		return err
	}
	chosen, err := chooseSnapshot(ctx, d, spec, wanted)
	if err != nil {
		return err
	}
	if err := mayRestore(ctx, d, spec, out, opts.force); err != nil {
		return err
	}
	dir, err := workFolder(d, spec.Stack)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// All that can fail before anything is touched.
	packed, err := prepareMembers(ctx, d, spec, chosen, dir)
	if err != nil {
		return err
	}
	question := fmt.Sprintf("This makes the %d main nodes of stack %s anew, with what etcd held in snapshot %s (%s old). Go on?",
		len(spec.Mains()), spec.Stack, chosen.Name, d.now().Sub(chosen.Time).Round(time.Second))
	if err := confirm(ctx, d, question); err != nil {
		return err
	}
	return restore(ctx, d, spec, out, chosen, packed)
}

// chooseSnapshot finds the snapshot with the name, or in the file; without either, the latest.
func chooseSnapshot(ctx context.Context, d *deps, spec *stacks.Spec, wanted string) (snapshotView, error) {
	all, err := allSnapshots(ctx, d, spec)
	if err != nil {
		return snapshotView{}, err
	}
	list := d.command("etcd snapshot list")
	if wanted == "" {
		if len(all) == 0 {
			return snapshotView{}, withNext(fmt.Errorf("there is no snapshot of stack %q", spec.Stack),
				"if you have one in a file, name that; otherwise only "+d.command("destroy")+" and "+d.command("up")+" make a control plane again, without the data")
		}
		return all[0], nil
	}
	if i := slices.IndexFunc(all, func(s snapshotView) bool { return s.Name == wanted }); i >= 0 {
		return all[i], nil
	}
	info, err := snapshot.Check(wanted)
	if errors.Is(err, os.ErrNotExist) {
		return snapshotView{}, withNext(fmt.Errorf("%q is neither the name of a snapshot of stack %q nor a file", wanted, spec.Stack), list+" shows the names")
	}
	if err != nil {
		return snapshotView{}, err
	}
	stat, err := os.Stat(wanted)
	if err != nil {
		return snapshotView{}, err
	}
	info.Name, info.Time = wanted, stat.ModTime()
	return snapshotView{Info: info, file: wanted}, nil
}

// mayRestore refuses to make a cluster where one lives, unless that one was named to be thrown away.
func mayRestore(ctx context.Context, d *deps, spec *stacks.Spec, out *stacks.Outputs, force string) error {
	if force != "" && force != spec.Stack {
		return &usageError{err: fmt.Errorf("--force names stack %q, and this is stack %q: nothing was touched", force, spec.Stack)}
	}
	names, running, err := d.snapshots.MainNodes(ctx, spec.Stack)
	if err != nil {
		return err
	}
	if force != "" || len(names) == 0 {
		return nil
	}
	why := ""
	if quorum := len(spec.Mains())/2 + 1; running >= quorum {
		why = fmt.Sprintf("%d of %d main nodes run, which are a quorum", running, len(spec.Mains()))
	} else if answers(ctx, d, out) {
		why = "a quorum of its main nodes answers"
	}
	if why == "" {
		return nil
	}
	return withNext(fmt.Errorf("nothing was restored, for stack %q is not lost: %s, and what they know is newer than any snapshot", spec.Stack, why),
		d.command("up")+" replaces main nodes that are missing; --force "+spec.Stack+" throws away those that live")
}

// answers tells whether a controller has etcd's quorum behind it.
func answers(ctx context.Context, d *deps, out *stacks.Outputs) bool {
	c, err := d.dial(out)
	if err != nil {
		return false
	}
	defer c.Close()
	limited, cancel := context.WithTimeout(ctx, quorumTimeout)
	defer cancel()
	_, err = c.Status(limited)
	return err == nil
}

// workFolder makes a folder for what holds secrets and nobody needs afterwards. One that a killed run left goes.
func workFolder(d *deps, stack string) (string, error) {
	home, err := dataDir(d.getenv)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(home, "restore-"+stack)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return "", fmt.Errorf("prepare to restore: %w", err)
	}
	return dir, nil
}

// prepareMembers makes every main node's etcd data out of the snapshot, each in an archive in dir: the files by node.
func prepareMembers(ctx context.Context, d *deps, spec *stacks.Spec, chosen snapshotView, dir string) (map[string]string, error) {
	file := filepath.Join(dir, "snapshot.db")
	copied := func(r io.Reader) error {
		got, err := snapshot.Write(file, r)
		if err == nil && got.SHA256 != chosen.SHA256 {
			err = fmt.Errorf("snapshot %s is not what it was: its SHA-256 is %s, not %s", chosen.Name, got.SHA256, chosen.SHA256)
		}
		return err
	}
	if chosen.file == "" {
		if err := d.snapshots.Read(ctx, spec.Stack, chosen.Name, copied); err != nil {
			return nil, err
		}
	} else {
		f, err := os.Open(chosen.file)
		if err != nil {
			return nil, fmt.Errorf("read snapshot: %w", err)
		}
		defer f.Close()
		if err := copied(f); err != nil {
			return nil, err
		}
	}
	r := snapshot.Restoration{
		Etcdutl: filepath.Join(binDir(d.getenv), "etcdutl"), File: file,
		Token: fmt.Sprintf("devctl-%s-%s", spec.Stack, d.now().UTC().Format(time.RFC3339Nano)),
	}
	for _, m := range spec.Mains() {
		r.Members = append(r.Members, snapshot.Member{Name: m.Name, Peer: "https://" + net.JoinHostPort(m.Address, strconv.Itoa(api.EtcdPeerPort))})
	}
	packed := map[string]string{}
	for _, m := range r.Members {
		data := filepath.Join(dir, m.Name)
		if err := r.Restore(ctx, m, data); err != nil {
			return nil, err
		}
		packed[m.Name] = data + ".tar.gz"
		if err := packFile(packed[m.Name], data); err != nil {
			return nil, err
		}
		if err := os.RemoveAll(data); err != nil {
			return nil, fmt.Errorf("prepare to restore: %w", err)
		}
	}
	return packed, nil
}

func packFile(file, data string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("prepare to restore: %w", err)
	}
	return errors.Join(snapshot.Pack(f, data, filepath.Base(api.EtcdDataDir)), f.Close())
}

// restore replaces the main nodes, and waits until everybody is seen again.
func restore(ctx context.Context, d *deps, spec *stacks.Spec, out *stacks.Outputs, chosen snapshotView, packed map[string]string) error {
	begun := d.now()
	show := d.display()
	defer show.Close()
	env, err := d.revive(ctx, spec, func(_ context.Context, node api.Identity) (io.ReadCloser, error) {
		return os.Open(packed[node.Name])
	})
	if err != nil {
		return err
	}
	defer env.Close()
	up := func(ctx context.Context, each func(engine.Event)) (engine.Summary, error) {
		// First of all nobody is left whom the new cluster could meet. From here on a run that ends is run again.
		if err := d.snapshots.RemoveMainNodes(ctx, spec.Stack); err != nil {
			return engine.Summary{}, err
		}
		summary, err := env.Up(ctx, each)
		summary.Op = restoreOp + " " + quoted(chosen.Name)
		if failed := (*engine.FailedError)(nil); errors.As(err, &failed) {
			failed.Op = restoreOp
		}
		return summary, err
	}
	if _, err := runOperation(ctx, d, show, up, "Restoring main nodes of stack "+spec.Stack, "Restored main nodes of stack "+spec.Stack); err != nil {
		return err
	}
	show.Start("Finding stack " + spec.Stack + " as it was")
	st, err := awaitEverybody(ctx, d, show, spec, out, begun)
	if err != nil {
		show.Close()
		return err
	}
	show.Done("Found stack " + spec.Stack)
	show.Close()
	d.say("Stack %s has its main nodes back, from snapshot %s: %d nodes, %d Redis shards, deployment %s.",
		spec.Stack, chosen.Name, len(st.Nodes), len(st.Redis.Shards), st.Deployed)
	return nil
}

// restoreOp is what people call a restore.
const restoreOp = "etcd snapshot restore"

// awaitEverybody waits until the stack is healthy by what its nodes have said since begun: what the snapshot has of them is
// not news.
func awaitEverybody(ctx context.Context, d *deps, show *progress.Display, spec *stacks.Spec, out *stacks.Outputs, begun time.Time) (api.Status, error) {
	c, err := d.dial(out)
	if err != nil {
		return api.Status{}, err
	}
	defer c.Close()
	limited, cancel := context.WithTimeout(ctx, recoverTimeout)
	defer cancel()
	var last api.Status
	for {
		st, err := c.Status(limited)
		if err == nil {
			last = st
			stale := slices.ContainsFunc(st.Nodes, func(n api.NodeStatus) bool { return !n.LastHeartbeat.After(begun) })
			if st.Healthy && st.Settled && !stale && st.Etcd.Healthy == len(spec.Mains()) {
				return st, nil
			}
			show.Rows(nodeRows(spec, st, d.errStyle()))
			show.Wait(waitingFor(spec, st))
		}
		select {
		case <-limited.Done():
			if ctx.Err() != nil {
				return last, withNext(ctx.Err(), "the main nodes are back: "+d.command("status --watch")+" shows how far the others are")
			}
			return last, withNext(&explainedError{text: fmt.Sprintf("the main nodes are back, and after %s stack %q is not yet as it was:%s",
				recoverTimeout, spec.Stack, problemLines(last)), cause: err}, d.command("status")+" shows more")
		case <-d.after(pollEvery):
		}
	}
}
