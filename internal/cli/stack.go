package cli

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"devctl/internal/cli/output"
	"devctl/internal/engine"
	"devctl/stacks"
)

// stackView is one stack in `devctl stack ls`.
type stackView struct {
	Name     string     `json:"name"`
	Provider string     `json:"provider"` // "" when the spec cannot be read
	State    string     `json:"state"`    // not created | created | changing | unknown
	Nodes    int        `json:"nodes"`    // that the spec wants
	Updated  *time.Time `json:"updated"`  // when the last update ended; null if there was none
	Spec     string     `json:"spec"`     // ok | missing | invalid
	Selected bool       `json:"selected"` // commands work on it unless they are told otherwise
}

func newStackCommand(d *deps) *cobra.Command {
	return newGroup(&cobra.Command{
		Use:   "stack",
		Short: "Make, select, move and forget stacks",
		Long: `A stack is one environment. Its spec is stacks/Pulumi.<stack>.yaml in the project; its state is where the spec's
devctl:state.backend says, or in devctl's data folder.`,
		Example: `  devctl stack init alpha --from local
  devctl stack select alpha
  devctl stack ls`,
	}, newStackInitCommand(d), newStackListCommand(d), newStackSelectCommand(d), newStackRemoveCommand(d),
		newStackExportCommand(d), newStackImportCommand(d), newStackUnlockCommand(d))
}

func newStackListCommand(d *deps) *cobra.Command {
	var format output.Format
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the stacks of the project and those that exist",
		Long: `Lists every stack that has a spec in the project, and every one that was brought up and not destroyed, whether or
not its spec is still there. The selected one, which commands work on unless they are told otherwise, has an asterisk.`,
		Example: `  devctl stack ls
  devctl stack ls -o json | jq -r '.[] | select(.state == "created") | .name'`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runStackList(cmd.Context(), d, format) },
	}
	addFormat(cmd, &format)
	return cmd
}

func runStackList(ctx context.Context, d *deps, format output.Format) error {
	project, err := stacks.FindProject(d.global.dir)
	if err != nil {
		return err
	}
	names, err := project.Stacks()
	if err != nil {
		return err
	}
	existing, err := d.list(ctx)
	if err != nil {
		return err
	}
	views := map[string]stackView{}
	for _, name := range names {
		v := stackView{Name: name, State: "not created", Spec: "ok"}
		if spec, err := project.Load(name); err != nil {
			v.Spec = "invalid"
		} else {
			v.Provider, v.Nodes = spec.Provider, spec.Size()
		}
		views[name] = v
	}
	for _, info := range existing {
		v, hasSpec := views[info.Name]
		if !hasSpec && stackState(info) == "not created" {
			continue // somebody asked for a preview of it once
		}
		if !hasSpec {
			v = stackView{Name: info.Name, Spec: "missing"}
		}
		v.State = stackState(info)
		if info.Unknown != nil {
			d.say("%sstack %s is unknown: %s", d.errStyle().Warn("warning: "), info.Name, info.Unknown)
		}
		if !info.LastUpdate.IsZero() {
			v.Updated = &info.LastUpdate
		}
		views[info.Name] = v
	}
	all := []stackView{}
	for _, name := range sortedKeys(views) {
		v := views[name]
		v.Selected = name == d.global.selected
		all = append(all, v)
	}
	return output.Write(d.streams.Out, format, all, func(w io.Writer) error {
		g := output.NewGrid("STACK", "PROVIDER", "STATE", "NODES", "LAST UPDATE", "SPEC")
		for _, v := range all {
			updated := ""
			if v.Updated != nil {
				updated = v.Updated.Local().Format(time.DateTime)
			}
			name := v.Name
			if v.Selected {
				name += " *"
			}
			g.Row(name, v.Provider, v.State, strconv.Itoa(v.Nodes), updated, v.Spec)
		}
		return g.Write(w)
	})
}

// stackState is how far a stack in the state is. The engine keeps one resource for the stack itself.
func stackState(info engine.StackInfo) string {
	switch {
	case info.Unknown != nil:
		return "unknown"
	case info.Updating:
		return "changing"
	case info.Resources <= 1:
		return "not created"
	default:
		return "created"
	}
}
