package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"devctl/internal/cli/output"
)

// Verdicts of a check.
const (
	verdictOK   = "ok"
	verdictWarn = "warn"
	verdictFail = "fail"
)

// finding is what a check found.
type finding struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"` // ok | warn | fail
	Detail  string `json:"detail"`
	Fix     string `json:"fix,omitempty"` // what to do about it; never empty when the verdict is fail
}

// check looks at one thing that devctl needs. It changes nothing.
type check struct {
	name string
	run  func(context.Context) finding
}

func ok(detail string) finding        { return finding{Verdict: verdictOK, Detail: detail} }
func warn(detail, fix string) finding { return finding{Verdict: verdictWarn, Detail: detail, Fix: fix} }
func fail(detail, fix string) finding { return finding{Verdict: verdictFail, Detail: detail, Fix: fix} }

type doctorOptions struct {
	format output.Format
}

func newDoctorCommand(d *deps) *cobra.Command {
	var opts doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check this machine, the project and the state for what keeps devctl from working",
		Long: `Checks this machine (Docker, binaries, disk, memory, cgroups, capabilities), the project's spec, and what earlier runs
may have left behind. It changes nothing and says how to put right what it finds. The exit code is 1 when a check
failed; a warning is no failure.`,
		Example: `  devctl doctor
  devctl doctor -o json | jq -r '.[] | select(.verdict != "ok") | .fix'`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd.Context(), d, opts) },
	}
	addFormat(cmd, &opts.format)
	return cmd
}

func runDoctor(ctx context.Context, d *deps, opts doctorOptions) error {
	findings, failed := []finding{}, false
	for _, c := range d.checks() {
		f := c.run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.Check = c.name
		failed = failed || f.Verdict == verdictFail
		findings = append(findings, f)
	}
	err := output.Write(d.streams.Out, opts.format, findings, func(w io.Writer) error { return findingGrid(findings, d.outStyle()).Write(w) })
	if err == nil && failed {
		return &exitError{code: exitFailed}
	}
	return err
}

func findingGrid(findings []finding, s output.Style) *output.Grid {
	g := output.NewGrid()
	for _, f := range findings {
		paint := map[string]func(string) string{verdictOK: s.Good, verdictWarn: s.Warn, verdictFail: s.Bad}[f.Verdict]
		g.Row(paint(f.Verdict), f.Check, f.Detail)
		if f.Fix != "" {
			g.Row(" ", " ", "fix: "+f.Fix)
		}
	}
	return g
}
