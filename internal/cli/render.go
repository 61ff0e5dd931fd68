package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"devctl/components"
	"devctl/ignition"
	"devctl/images"
	"devctl/internal/api"
	"devctl/internal/atomicfile"
	"devctl/internal/plan"
	"devctl/stacks"
	"devctl/units"
)

type renderOptions struct {
	role roleFlag
	node string
	dir  string
}

// rendered is one file that a machine is made from.
type rendered struct {
	name string // relative
	text string
}

func newRenderCommand(d *deps) *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "render",
		Short: "Print the Ignition configs, Butane and systemd units that nodes are made from",
		Long: `Prints exactly what nodes are made from, rendered from the spec alone: no cluster, no Docker and no network is
needed. Secrets are shown by name only.`,
		Example: `  devctl render butane --role main
  devctl render units --node data-1 -o rendered`,
	},
		newRenderKind(d, "ignition", "Print Ignition configs",
			`Prints the Ignition config of a role, which is the same for all of its machines and holds no secret; or, with --node,
the config of one machine: the role's, the secret files of the role (by name only) and the machine's identity.`,
			`  devctl render ignition --role main | jq '.systemd.units[].name'
  devctl render ignition --node data-1 | ignition-validate -`, renderer.ignition),
		newRenderKind(d, "butane", "Print the Butane configs that Ignition is made from",
			`Prints the Butane config of a role, the readable form of its Ignition config; or, with --node, those of the
role and of its secret files (by name only).`,
			`  devctl render butane --role data
  devctl render butane -o rendered`, renderer.butane),
		newRenderKind(d, "units", "Print the systemd units of nodes and the files of services",
			`Prints the systemd units that come with a machine, and the units and files that are deployed on it when every node
of the spec is there. Secrets in files are placeholders, as they are until the node's agent writes them.`,
			`  devctl render units --node data-1
  devctl render units --role worker -o rendered`, renderer.units),
	)
}

func newRenderKind(d *deps, kind, short, long, example string, render func(renderer) ([]rendered, error)) *cobra.Command {
	var opts renderOptions
	cmd := &cobra.Command{
		Use:     kind,
		Short:   short,
		Long:    long,
		Example: example,
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			spec, err := d.spec()
			if err != nil {
				return err
			}
			if err := opts.complete(cmd, spec); err != nil {
				return err
			}
			set, err := d.images()
			if err != nil {
				return err
			}
			files, err := render(renderer{spec, set, d.cloudOf(spec, set, nil).Boot(), opts})
			if err != nil {
				return fmt.Errorf("render %s of stack %q: %w", kind, spec.Stack, err)
			}
			return writeRendered(d, opts.dir, files)
		},
	}
	cmd.Flags().Var(&opts.role, "role", "only this role: main, worker or data")
	cmd.Flags().StringVar(&opts.node, "node", "", "only this node, for example data-1")
	cmd.Flags().StringVarP(&opts.dir, "output", "o", "", "write files into this folder instead of stdout")
	mustRegister(cmd, "role", cobra.FixedCompletions(roleNames(), cobra.ShellCompDirectiveNoFileComp))
	mustRegister(cmd, "node", completeNodes(d))
	return cmd
}

// complete checks --node against the spec and takes the role from it.
func (o *renderOptions) complete(cmd *cobra.Command, spec *stacks.Spec) error {
	if o.node == "" {
		return nil
	}
	if err := knownNode(spec, o.node); err != nil {
		return &usageError{command: cmd.CommandPath(), err: err}
	}
	role := roleOf(spec, o.node)
	if o.role != "" && api.Role(o.role) != role {
		return usagef(cmd, "--role does not take %q: %s is a %s node", o.role, o.node, role)
	}
	o.role = roleFlag(role)
	return nil
}

// roleOf is the role of a node that the spec has.
func roleOf(spec *stacks.Spec, node string) api.Role {
	all := spec.Identities()
	return all[slices.IndexFunc(all, func(id api.Identity) bool { return id.Name == node })].Role
}

// roles are the roles to render.
func (o *renderOptions) roles() []api.Role {
	if o.role != "" {
		return []api.Role{api.Role(o.role)}
	}
	return api.Roles()
}

// identities are the nodes to render.
func (o *renderOptions) identities(spec *stacks.Spec) []api.Identity {
	return slices.DeleteFunc(spec.Identities(), func(id api.Identity) bool {
		return o.node != "" && id.Name != o.node || o.role != "" && id.Role != api.Role(o.role)
	})
}

// placeholders stand for the secret files of a role.
func placeholders(role api.Role) ignition.SecretFiles {
	s := ignition.SecretFiles{
		CACert:        "<certificate ca.crt>",
		BootstrapCert: fmt.Sprintf("<certificate bootstrap-%s.crt>", role),
		BootstrapKey:  fmt.Sprintf("<secret bootstrap-%s.key>", role),
	}
	if role == api.RoleMain {
		s.CAKey = "<secret ca.key>"
	}
	return s
}

// renderer renders what the options ask for.
type renderer struct {
	spec *stacks.Spec
	set  *images.Set
	boot components.Boot
	opts renderOptions
}

// role renders the public and the secret config of a role.
func (r renderer) role(role api.Role) (public, secrets ignition.Rendered, err error) {
	if public, err = ignition.Role(r.spec.RoleConfig(role, r.set.Etcd(), r.boot)); err != nil {
		return public, secrets, err
	}
	secrets, err = ignition.Secrets(role, placeholders(role))
	return public, secrets, err
}

func (r renderer) ignition() ([]rendered, error) {
	var files []rendered
	for _, role := range r.opts.roles() {
		public, secrets, err := r.role(role)
		if err != nil {
			return nil, err
		}
		if r.opts.node == "" {
			files = append(files, rendered{string(role) + ".ign", indentJSON(public.Ignition)})
			continue
		}
		machine, err := r.machine(public, secrets, r.opts.identities(r.spec)[0])
		if err != nil {
			return nil, err
		}
		files = append(files, rendered{r.opts.node + ".ign", indentJSON(machine)})
	}
	return files, nil
}

// machine renders what one node is made from: on clouds with the place of its secrets left out, which only a run knows.
func (r renderer) machine(public, secrets ignition.Rendered, node api.Identity) ([]byte, error) {
	if scheme, _, fetched := strings.Cut(r.boot.Registry, "://"); fetched {
		return ignition.CloudMachine(public.Ignition, ignition.Source{URL: scheme + "://secrets-of-" + string(node.Role)}, node)
	}
	etcd := ""
	if node.Role == api.RoleMain {
		etcd = ignition.EtcdNew
	}
	return ignition.Machine(public.Ignition, secrets.Ignition, node, etcd)
}

func (r renderer) butane() ([]rendered, error) {
	var files []rendered
	for _, role := range r.opts.roles() {
		public, secrets, err := r.role(role)
		if err != nil {
			return nil, err
		}
		files = append(files, rendered{string(role) + ".bu", string(public.Butane)})
		if r.opts.node != "" {
			files = append(files, rendered{string(role) + "-secrets.bu", string(secrets.Butane)})
		}
	}
	return files, nil
}

func (r renderer) units() ([]rendered, error) {
	var files []rendered
	assigned := assignments(r.spec, r.set.Deployed())
	for _, id := range r.opts.identities(r.spec) {
		for _, unit := range units.Node(id.Role, units.NodeArgs{Platform: r.boot.Platform, EtcdImage: r.set.Etcd(), Images: r.boot.Images}) {
			files = append(files, rendered{filepath.Join(id.Name, unit.Name), unit.Text})
		}
		for _, a := range assigned {
			if a.Node != id.Name {
				continue
			}
			files = append(files, rendered{filepath.Join(id.Name, a.Unit), a.Text})
			for _, f := range a.Files {
				files = append(files, rendered{filepath.Join(id.Name, f.Path), f.Content})
			}
		}
	}
	return files, nil
}

// assignments is what the controller gives the nodes to run when all of them are there and none runs anything.
func assignments(spec *stacks.Spec, refs api.ServiceImages) []api.Assignment {
	var all []api.Assignment
	for _, op := range plan.Assignments(spec.Deployment(refs, nil), nil) {
		all = append(all, op.Assignment)
	}
	return all
}

func indentJSON(data []byte) string {
	var v any
	if json.Unmarshal(data, &v) != nil {
		return string(data)
	}
	pretty, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return string(data)
	}
	return string(pretty) + "\n"
}

// writeRendered writes files into a folder; without one to stdout, with headers when there are several.
func writeRendered(d *deps, dir string, files []rendered) error {
	if dir == "" {
		return printRendered(d.streams.Out, files)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("create the folder of %s: %w", path, err)
		}
		if err := atomicfile.Write(path, []byte(f.text), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	fmt.Fprintf(d.streams.Err, "%s written to %s\n", count(len(files), "file", "files"), dir)
	return nil
}

func printRendered(w io.Writer, files []rendered) error {
	for i, f := range files {
		header := ""
		if len(files) > 1 {
			header = fmt.Sprintf("==> %s <==\n", f.name)
			if i > 0 {
				header = "\n" + header
			}
		}
		if _, err := io.WriteString(w, header+strings.TrimRight(f.text, "\n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// roleFlag is a role given on the command line; "" is none.
type roleFlag string

func (r *roleFlag) String() string { return string(*r) }
func (r *roleFlag) Type() string   { return "role" }

func (r *roleFlag) Set(name string) error {
	if !slices.Contains(roleNames(), name) {
		return fmt.Errorf("use %s%s", strings.Join(roleNames(), ", "), didYouMean(name, roleNames()))
	}
	*r = roleFlag(name)
	return nil
}

func roleNames() []string {
	var names []string
	for _, role := range api.Roles() {
		names = append(names, string(role))
	}
	return names
}
