package standin

import (
	"maps"
	"regexp"
	"slices"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// TestSchemasAreWhole checks what Go's types do not: that every name in a schema means something.
func TestSchemasAreWhole(t *testing.T) {
	t.Parallel()
	all, err := loadSchemas()
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, []string{"aws", "digitalocean"}) {
		t.Errorf("there are schemas of %v", got)
	}
	token := regexp.MustCompile(`^(aws|digitalocean):[a-z0-9]+/[a-zA-Z0-9]+:[A-Z][a-zA-Z0-9]+$`)
	for name, s := range all {
		if s.Provider == "" || s.Version == "" || s.Source == "" {
			t.Errorf("%s does not say where it comes from", name)
		}
		for typ, r := range s.Resources {
			if !token.MatchString(typ) {
				t.Errorf("%s is no type token", typ)
			}
			if r.ID == "" {
				t.Errorf("%s has no ids", typ)
			}
			names := slices.Clone(r.Unique)
			if r.DeleteFirst != "" && r.DeleteFirst != "always" {
				names = append(names, r.DeleteFirst)
			}
			for _, name := range names {
				if r.Inputs[name] == nil {
					t.Errorf("%s: %s is no input", typ, name)
				}
			}
			object(t, typ, r.Inputs)
			for output, o := range r.Outputs {
				if r.Inputs[output] != nil {
					t.Errorf("%s: %s is an input, too", typ, output)
				}
				kind(t, typ+" "+output, o.Type)
			}
		}
	}
}

func object(t *testing.T, at string, fields map[string]*field) {
	t.Helper()
	for name, rule := range fields {
		at := at + " " + name
		rules(t, at, rule)
		for _, others := range [][]string{rule.Conflicts, rule.ExactlyOne, rule.With} {
			for _, other := range others {
				if fields[other] == nil {
					t.Errorf("%s: there is no %s beside it", at, other)
				}
			}
		}
		// check reports a choice once, at its first member.
		if c := rule.ExactlyOne; len(c) > 0 && (!slices.Contains(c, name) || fields[c[0]] == nil || !slices.Equal(fields[c[0]].ExactlyOne, c)) {
			t.Errorf("%s: the choice %v is not the same for all its members", at, c)
		}
	}
}

func rules(t *testing.T, at string, rule *field) {
	t.Helper()
	kind(t, at, rule.Type)
	if holds := rule.Type == kindList || rule.Type == kindSet || rule.Type == kindMap; holds != (rule.Of != nil) {
		t.Errorf("%s: a %s with elements %v", at, rule.Type, rule.Of)
	}
	if rule.Of != nil {
		rules(t, at+"[]", rule.Of)
	}
	if rule.Fields != nil && rule.Type != kindObject {
		t.Errorf("%s: a %s with fields", at, rule.Type)
	}
	object(t, at, rule.Fields)
	if len(rule.Enum)+len(rule.Known) > 0 && rule.Type != kindString {
		t.Errorf("%s: a %s with words", at, rule.Type)
	}
	if rule.Default != nil {
		v, err := property.Any(rule.Default)
		if err != nil || !rule.fits(v) {
			t.Errorf("%s: the default %v is no %s (%v)", at, rule.Default, rule.Type, err)
		}
	}
}

func kind(t *testing.T, at, kind string) {
	t.Helper()
	if !slices.Contains([]string{kindString, kindInt, kindNumber, kindBool, kindList, kindSet, kindMap, kindObject, kindAsset}, kind) {
		t.Errorf("%s: there is no type %q", at, kind)
	}
}

func TestUnknownPackages(t *testing.T) {
	t.Parallel()
	_, err := Types("gcp")
	if err == nil || err.Error() != `there is no stand-in for the provider "gcp", only for aws, digitalocean` {
		t.Errorf("got error %v", err)
	}
	s, err := schemaOf("aws")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.resourceType("aws:ec2/instance:Instance")
	if err == nil || err.Error() != "the stand-in for pulumi-aws does not know aws:ec2/instance:Instance: add it to internal/standin/schemas" {
		t.Errorf("got error %v", err)
	}
}
