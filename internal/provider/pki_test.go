package provider_test

import (
	"path/filepath"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/components"
	"devctl/internal/engine"
	"devctl/internal/provider"
)

// TestPasswords runs the real engine over passwords that are drawn, given, given anew and no longer given.
func TestPasswords(t *testing.T) {
	t.Parallel()
	port, _, err := provider.Serve(t.Context(), provider.Options{}) // no cloud: there are certificates and passwords all the same
	if err != nil {
		t.Fatal(err)
	}
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	run := func(given pulumi.StringInput) (map[engine.Op]int, string, []engine.PropertyChange) {
		t.Helper()
		s, err := engine.Open(t.Context(), engine.Options{
			Project: "test", Stack: "passwords", Home: home, BinDir: bin, Providers: map[string]int{provider.Name: port},
			Program: func(ctx *pulumi.Context) error {
				password, err := components.NewPassword(ctx, "redis-app", given)
				if err == nil {
					ctx.Export("password", password.Result)
				}
				return err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		var differences []engine.PropertyChange
		summary, err := s.Up(t.Context(), func(e engine.Event) {
			if e.Kind == engine.KindStarted {
				differences = append(differences, e.Diff...)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		outputs, err := s.Outputs(t.Context())
		if err != nil || !outputs["password"].Secret {
			t.Fatalf("outputs: %v, %v", outputs, err)
		}
		return summary.Changes, outputs["password"].Value.(string), differences
	}

	_, drawn, _ := run(nil)
	if len(drawn) != 32 {
		t.Errorf("drew %q", drawn)
	}
	for _, step := range []struct {
		name    string
		given   pulumi.StringInput
		updates int
		want    string
	}{
		{"nothing new", nil, 0, drawn},
		{"given", pulumi.String("first-first-first"), 1, "first-first-first"},
		{"given again", pulumi.String("first-first-first"), 0, "first-first-first"},
		{"given anew", pulumi.String("second-second-second"), 1, "second-second-second"},
		{"no longer given", nil, 0, "second-second-second"},
		{"what there is", pulumi.String("second-second-second"), 0, "second-second-second"},
	} {
		changes, got, differences := run(step.given)
		if changes[engine.OpUpdate] != step.updates || changes[engine.OpReplace] != 0 || got != step.want {
			t.Errorf("%s: changes %v, password %q, want %q", step.name, changes, got, step.want)
		}
		for _, d := range differences {
			if d.Path != "value" || d.New != "[secret]" || d.Replaces {
				t.Errorf("%s: difference %+v", step.name, d)
			}
		}
	}
}
