package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"devctl/internal/atomicfile"
	"devctl/stacks"
)

// defaultStack is the stack of commands when nobody says or has selected another.
const defaultStack = "local"

func newStackSelectCommand(d *deps) *cobra.Command {
	return &cobra.Command{
		Use:   "select NAME",
		Short: "Make a stack the one that commands work on",
		Long: `Remembers the stack for this project, on this machine: every command works on it unless --stack or DEVCTL_STACK says
otherwise. "devctl stack select local" goes back to where it began.`,
		Example: `  devctl stack select staging
  devctl status                  # of staging
  devctl status -s prod          # of prod`,
		Args:              exactly("NAME"),
		ValidArgsFunction: firstStack(d),
		RunE:              func(_ *cobra.Command, args []string) error { return runStackSelect(d, args[0]) },
	}
}

func runStackSelect(d *deps, stack string) error {
	project, err := stacks.FindProject(d.global.dir)
	if err != nil {
		return err
	}
	names, err := project.Stacks()
	if err != nil {
		return err
	}
	if !slices.Contains(names, stack) {
		return withNext(&stacks.NotFoundError{Stack: stack, Project: project, Existing: names}, d.command("stack ls")+" lists the stacks")
	}
	if err := d.remember(project, stack); err != nil {
		return err
	}
	d.say("Commands in this project work on stack %s now, unless --stack or DEVCTL_STACK says otherwise.", stack)
	return nil
}

// selections are the selected stacks, by the absolute path of the project; "" is the built-in project.
type selections map[string]string

// loadSelections reads the file of selections. A missing one is an empty one.
func loadSelections(home string) (selections, error) {
	s := selections{}
	data, err := os.ReadFile(selectionsFile(home))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return s, nil // a folder that is none is for those to tell who need it
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return nil, fmt.Errorf("read which stack is selected: %w; remove %s to select none", err, selectionsFile(home))
	}
	return s, nil
}

func selectionsFile(home string) string { return filepath.Join(home, "selected.json") }

// projectKey is how selections call a project.
func projectKey(p *stacks.Project) (string, error) {
	if p.Root == "" {
		return "", nil
	}
	root, err := filepath.Abs(p.Root)
	if err != nil {
		return "", fmt.Errorf("select a stack: %w", err)
	}
	return root, nil
}

// remember selects a stack for a project; the default one needs no remembering.
func (d *deps) remember(p *stacks.Project, stack string) error {
	home, err := dataDir(d.getenv)
	if err != nil {
		return err
	}
	key, err := projectKey(p)
	if err != nil {
		return err
	}
	selected, err := loadSelections(home)
	if err != nil {
		return err
	}
	selected[key] = stack
	if stack == defaultStack {
		delete(selected, key)
	}
	data, err := json.MarshalIndent(selected, "", "  ")
	if err != nil {
		return fmt.Errorf("select a stack: %w", err)
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return fmt.Errorf("select a stack: %w", err)
	}
	return atomicfile.Write(selectionsFile(home), append(data, '\n'), 0o600)
}

// bind completes the global flags: from the environment, and the stack from what is selected.
func (d *deps) bind(cmd *cobra.Command) error {
	d.global.selected = defaultStack
	if err := bindEnvironment(cmd, d.getenv); err != nil {
		return err
	}
	home, err := dataDir(d.getenv)
	if err != nil {
		return nil // what needs the folder says so
	}
	project, err := stacks.FindProject(d.global.dir)
	if err != nil {
		return nil // what needs a project says so
	}
	key, err := projectKey(project)
	if err != nil {
		return err
	}
	selected, err := loadSelections(home)
	if err != nil {
		return err
	}
	if selected[key] == "" {
		return nil
	}
	d.global.selected = selected[key]
	if !cmd.Root().PersistentFlags().Changed("stack") && d.getenv("DEVCTL_STACK") == "" {
		d.global.stack = d.global.selected
	}
	return nil
}

// firstStack offers the stacks of the project as the only argument.
func firstStack(d *deps) cobra.CompletionFunc {
	all := completeStacks(d)
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return all(cmd, args, toComplete)
	}
}
