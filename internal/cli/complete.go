package cli

import (
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"devctl/stacks"
)

// Completions never fail loudly: a shell that asks has nowhere to show an error, so there is nothing to offer.

// completeStacks offers the stacks of the project.
func completeStacks(d *deps) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		project, err := stacks.FindProject(d.global.dir)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, err := project.Stacks()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return startingWith(toComplete, names), cobra.ShellCompDirectiveNoFileComp
	}
}

// startingWith keeps the offers that begin as the word does.
func startingWith(word string, offers []string) []string {
	return slices.DeleteFunc(offers, func(offer string) bool { return !strings.HasPrefix(offer, word) })
}

// completeNodes offers the nodes of the stack as the only argument.
func completeNodes(d *deps) cobra.CompletionFunc {
	return completeSpec(d, func(spec *stacks.Spec, args []string) []string {
		if len(args) > 0 {
			return nil
		}
		var offers []string
		for _, id := range spec.Identities() {
			offers = append(offers, cobra.CompletionWithDesc(id.Name, string(id.Role)+" in zone "+id.Zone))
		}
		return offers
	})
}

// completeLogs offers nodes and units as the first argument, and units that are not there yet after it.
func completeLogs(d *deps) cobra.CompletionFunc {
	return completeSpec(d, func(spec *stacks.Spec, args []string) []string {
		var offers []string
		if len(args) == 0 {
			offers = nodeNames(spec)
		}
		for _, unit := range unitNames(spec) {
			if !slices.Contains(args, unit) {
				offers = append(offers, unit)
			}
		}
		return offers
	})
}

// completeSpec offers something that the spec alone tells.
func completeSpec(d *deps, offer func(*stacks.Spec, []string) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if err := d.bind(cmd); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		spec, err := d.spec()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return startingWith(toComplete, offer(spec, args)), cobra.ShellCompDirectiveNoFileComp
	}
}

// bashWords stands in for the one function that the script for bash takes from the package bash-completion, which a
// fresh Debian does not have. It must come first: what is there already stays.
const bashWords = `if ! declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref() {
        cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
    }
fi

`

func newCompletionCommand(d *deps) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	cmd := &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a completion script for a shell",
		Long: `Prints the script that lets a shell complete devctl's commands, flags, stacks, nodes, units and roles. Completion
reads the spec only; it asks no cluster.`,
		Example: `  source <(devctl completion bash)                        # this shell
  devctl completion bash > /etc/bash_completion.d/devctl  # every shell
  devctl completion zsh > "${fpath[1]}/_devctl"
  devctl completion fish > ~/.config/fish/completions/devctl.fish
  devctl completion powershell | Out-String | Invoke-Expression`,
		ValidArgs: shells,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := exactly("a shell")(cmd, args); err != nil {
				return err
			}
			if !slices.Contains(shells, args[0]) {
				return usagef(cmd, "there is no completion for %q%s (shells: bash, zsh, fish, powershell)", args[0], didYouMean(args[0], shells))
			}
			return nil
		},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		root, out := cmd.Root(), d.streams.Out
		switch args[0] {
		case "bash":
			if _, err := io.WriteString(out, bashWords); err != nil {
				return err
			}
			return root.GenBashCompletionV2(out, true)
		case "zsh":
			return root.GenZshCompletion(out)
		case "fish":
			return root.GenFishCompletion(out, true)
		default:
			return root.GenPowerShellCompletionWithDesc(out)
		}
	}
	return cmd
}
