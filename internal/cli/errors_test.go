package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/cli/output"
	"devctl/stacks"
)

func TestExitCodeAndMessage(t *testing.T) {
	t.Parallel()
	spec := &stacks.SpecError{Problems: []stacks.Problem{
		{File: "stacks/Pulumi.local.yaml", Line: 6, Column: 12, Path: "devctl:nodes.main.count", Value: "4", Message: "is 4, must be an odd number"},
		{File: "stacks/Pulumi.local.yaml", Line: 9, Path: "devctl:rediss", Message: "is no key of devctl"},
	}}
	for name, tc := range map[string]struct {
		err  error
		code int
		text string
	}{
		"done":                    {nil, 0, ""},
		"failed":                  {errors.New("create network: boom"), 1, "error: create network: boom\n"},
		"next":                    {withNext(errors.New("create network: boom"), "devctl doctor"), 1, "error: create network: boom\nnext: devctl doctor\n"},
		"wrapped":                 {fmt.Errorf("bring up: %w", withNext(errors.New("boom"), "devctl doctor")), 1, "error: bring up: boom\nnext: devctl doctor\n"},
		"the first advice stands": {withNext(withNext(errors.New("boom"), "devctl doctor"), "devctl up"), 1, "error: boom\nnext: devctl doctor\n"},
		"usage":                   {&usageError{command: "devctl stack", err: errors.New("bad")}, 2, "error: bad\nnext: bin/devctl stack --help\n"},
		"spec":                    {fmt.Errorf("load: %w", spec), 2, "error: 2 problems in the spec, nothing was touched:\n  stacks/Pulumi.local.yaml:6:12: devctl:nodes.main.count: is 4, must be an odd number\n  stacks/Pulumi.local.yaml:9: devctl:rediss: is no key of devctl\nnext: bin/devctl config schema describes every key, bin/devctl config check stacks/Pulumi.local.yaml checks the file again\n"},
		"declined":                {&cancelledError{what: "nothing was changed"}, 130, "cancelled: nothing was changed\n"},
		"interrupted":             {fmt.Errorf("get status: %w", context.Canceled), 130, "cancelled: interrupted\n"},
		"interrupted with advice": {withNext(context.Canceled, "devctl up"), 130, "cancelled: interrupted\nnext: devctl up\n"},
		"timed out":               {fmt.Errorf("get status: %w", context.DeadlineExceeded), 1, "error: get status: context deadline exceeded\n"},
		"passed on":               {&exitError{code: 42}, 42, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := exitCode(tc.err); got != tc.code {
				t.Errorf("exit code %d, want %d", got, tc.code)
			}
			var b bytes.Buffer
			explain(&b, output.Style{}, "bin/devctl", tc.err)
			if d := cmp.Diff(tc.text, b.String()); d != "" {
				t.Error(d)
			}
		})
	}
}
