package cli

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

func TestMistakesOnTheCommandLine(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args string
		want string // of the message
	}{
		{"upp", `unknown command "upp" for "devctl"; did you mean "up"?`},
		{"statsu", `did you mean "status"?`},
		{"dest", `did you mean "destroy"?`},
		{"frobnicate", `unknown command "frobnicate" for "devctl"` + "\n"},
		{"help statsu", `did you mean "status"?`},
		{"stack", "devctl stack needs a subcommand: export, import, init, ls, rm, select, unlock"},
		{"stack lss", `unknown command "lss" for "devctl stack"; did you mean "ls"?`},
		{"render", "devctl render needs a subcommand: butane, ignition, units"},
		{"render unit", `unknown command "unit" for "devctl render"; did you mean "units"?`},
		{"config chekc", `did you mean "check"?`},
		{"status --jsno", `unknown flag --jsno of "devctl status"`},
		{"status --wacth", `unknown flag --wacth of "devctl status"; did you mean "--watch"?`},
		{"status -Z", `unknown flag -Z of "devctl status"`},
		{"status -o jsno", `--output does not take "jsno": use table, json, yaml`},
		{"status extra", `unexpected argument "extra": usage: devctl status [flags]`},
		{"up --timeout soon", `--timeout does not take "soon": use a duration, for example 90s or 5m` + "\n"},
		{"deploy --timeout 0s", `--timeout does not take "0s": use a duration above zero, for example 5m`},
		{"up --yes --timeout -5m", `--timeout does not take "-5m0s": use a duration above zero`},
		{"up --yes=perhaps", `--yes does not take "perhaps": use true or false` + "\n"},
		{"logs data-1 -n many", `--lines does not take "many": use a whole number` + "\n"},
		{"up --stack", `--stack needs a value`},
		{"render units --role maim", `--role does not take "maim": use main, worker, data; did you mean "main"?`},
		{"render units --node data-9", `stack "local" has no node "data-9"; did you mean "data-1"?`},
		{"render ignition --role main --node data-1", `--role does not take "main": data-1 is a data node`},
		{"config check nowhere.yaml", "read spec: open nowhere.yaml: no such file or directory"},
		{"logs data-9", `neither a node nor a unit "data-9"; did you mean "data-1"? (nodes: main-1, main-2,`},
		{"ssh", "NODE is missing: usage: devctl ssh NODE"},
		{"ssh dta-1", `stack "local" has no node "dta-1"; did you mean "data-1"?`},
		{"exec data-1", "a node and a command are needed"},
		{"exec data-1 --", "a node and a command are needed"},
		{"logs", "a node or a unit is needed"},
		{"logs reds-1", `neither a node nor a unit "reds-1"; did you mean "redis-1`},
		{"logs data-1 -n -3", `--lines does not take "-3"`},
		{"completion bas", `no completion for "bas"; did you mean "bash"?`},
		{"redis", "COMMAND is missing"},
		{"destroy", "devctl destroy asks before it changes anything, and there is no terminal to ask on: give --yes or set DEVCTL_YES=true"},
		{"up", "give --yes or set DEVCTL_YES=true"},
		{"roll", "give --yes or set DEVCTL_YES=true"},
		{"refresh", "give --yes or set DEVCTL_YES=true"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.run(strings.Fields(tc.args)...).want(t, exitUsage, tc.want, "next: devctl")
			if r.out != "" {
				t.Errorf("stdout %q", r.out)
			}
			if w.touched() {
				t.Error("something was touched")
			}
		})
	}
}

func TestBadEnvironment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.environ["DEVCTL_YES"] = "sure"
	w.run("destroy").want(t, exitUsage, `the environment variable DEVCTL_YES does not take "sure": use true or false`)
}

func TestFlagsComeBeforeTheEnvironment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.write("stacks/Pulumi.alpha.yaml", strings.Replace(localSpec, "local\n", "local\n  devctl:network: {cidr: 198.18.1.0/24}\n", 1))
	w.environ["DEVCTL_STACK"] = "alpha"
	w.run("config", "check").want(t, 0, "the spec of stack alpha is valid")
	w.run("config", "check", "-s", "local").want(t, 0, "the spec of stack local is valid")
	w.run("--stack=local", "config", "check").want(t, 0, "the spec of stack local is valid")
}

// allCommands walks the tree, hidden ones included.
func allCommands(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, sub := range cmd.Commands() {
		all = append(all, allCommands(sub)...)
	}
	return all
}

func TestEveryCommandExplainsItself(t *testing.T) {
	t.Parallel()
	for _, cmd := range allCommands(newRootCommand(newWorld(t).deps)) {
		path := cmd.CommandPath()
		if cmd.Short == "" || cmd.Long == "" || cmd.Example == "" {
			t.Errorf("%s lacks Short, Long or Example", path)
		}
		if strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: Short ends in a full stop", path)
		}
		for line := range strings.Lines(cmd.Long + "\n" + cmd.Example) {
			if len([]rune(strings.TrimRight(line, "\n"))) > 120 {
				t.Errorf("%s: a line of the help is longer than 120 characters: %q", path, line)
			}
		}
		if cmd.RunE == nil {
			t.Errorf("%s does nothing", path)
		}
	}
}

// A shorthand must mean the same thing everywhere, except -o: a format for data, a folder for files.
func TestShorthandsMeanOneThing(t *testing.T) {
	t.Parallel()
	meaning := map[string]string{}
	for _, cmd := range allCommands(newRootCommand(newWorld(t).deps)) {
		cmd.InitDefaultHelpFlag()
		for _, shorthand := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
			f := cmd.Flags().ShorthandLookup(string(shorthand))
			if f == nil {
				continue
			}
			if was := meaning[f.Shorthand]; was != "" && was != f.Name {
				t.Errorf("%s: -%s is --%s, elsewhere --%s", cmd.CommandPath(), f.Shorthand, f.Name, was)
			}
			meaning[f.Shorthand] = f.Name
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, cmd := range allCommands(newRootCommand(newWorld(t).deps)) {
		path := strings.Fields(cmd.CommandPath())[1:]
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			t.Parallel()
			r := newWorld(t).run(append(path, "--help")...).want(t, 0)
			if r.err != "" {
				t.Errorf("stderr %q", r.err)
			}
			golden(t, "help/"+strings.Join(append([]string{"devctl"}, path...), "-")+".txt", r.out)
			viaHelp := newWorld(t).run(append([]string{"help"}, path...)...).want(t, 0)
			if d := cmp.Diff(r.out, viaHelp.out); d != "" && !cmd.Hidden {
				t.Errorf("devctl help %s differs:\n%s", strings.Join(path, " "), d)
			}
		})
	}
	bare := newWorld(t).run().want(t, 0)
	if d := cmp.Diff(newWorld(t).run("--help").out, bare.out); d != "" {
		t.Error(d)
	}
}

func TestReferenceIsUpToDate(t *testing.T) {
	t.Parallel()
	const file = "../../docs/cli.md"
	var b bytes.Buffer
	if err := writeDocs(&b, newRootCommand(newWorld(t).deps)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(have), b.String()); d != "" {
		t.Errorf("docs/cli.md is stale: run `bin/devctl docs > docs/cli.md` (-have +want):\n%s", d)
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args string // the last word is being completed; _ is an empty one
		want string // candidates without descriptions
	}{
		{"__complete --stack _", "alpha local"},
		{"__complete ssh _", "main-1 main-2 main-3 worker-1 worker-2 data-1 data-2 data-3"},
		{"__complete ssh da", "data-1 data-2 data-3"},
		{"__complete ssh main-1 _", ""},
		{"__complete exec _", "main-1 main-2 main-3 worker-1 worker-2 data-1 data-2 data-3"},
		{"__complete logs red", "redis-1.service redis-2.service redis-3.service"},
		{"__complete logs data-1 hap", "haproxy.service"},
		{"__complete render units --role _", "main worker data"},
		{"__complete render units --node wor", "worker-1 worker-2"},
		{"__complete status -o _", "table json yaml"},
		{"__complete completion _", "bash zsh fish powershell"},
		{"__complete stack l", "ls"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.write("stacks/Pulumi.alpha.yaml", localSpec)
			args := strings.Fields(tc.args)
			if args[len(args)-1] == "_" {
				args[len(args)-1] = ""
			}
			r := w.run(append([]string{args[0], "-C", w.dir}, args[1:]...)...).want(t, 0)
			var got []string
			for line := range strings.Lines(r.out) {
				if word, _, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t"); word != "" && word[0] != ':' {
					got = append(got, word)
				}
			}
			if strings.Join(got, " ") != tc.want {
				t.Errorf("offers %q, want %q", strings.Join(got, " "), tc.want)
			}
		})
	}
}

// A bash without the package bash-completion, and one whose package is there before ours.
func TestCompletionInBash(t *testing.T) {
	t.Parallel()
	script := newWorld(t).run("completion", "bash").want(t, 0).out
	const ask = `
devctl() { [ "$*" = "__complete st" ] && printf 'stack\nstatus\n:4\n'; }
COMP_WORDS=(devctl st) COMP_CWORD=1 COMP_LINE="devctl st" COMP_POINT=9 COMP_TYPE=63
__start_devctl
echo "${COMPREPLY[*]}$by"
`
	for before, want := range map[string]string{
		"": "stack status\n",
		"_get_comp_words_by_ref() { by=' by the package'; cur=st words=(devctl st) cword=1; }\n": "stack status by the package\n",
	} {
		cmd := exec.CommandContext(t.Context(), "bash", "--norc", "--noprofile", "-c", before+script+ask)
		out, err := cmd.Output()
		if got := string(out); got != want {
			t.Errorf("%q: got %q, want %q (%v)", before, got, want, err)
		}
	}
}

func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		r := newWorld(t).run("completion", shell).want(t, 0)
		if !strings.Contains(r.out, "devctl") || r.err != "" {
			t.Errorf("%s: %d bytes, stderr %q", shell, len(r.out), r.err)
		}
	}
}
