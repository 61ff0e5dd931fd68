package stacks

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v5"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

func TestSchemaGolden(t *testing.T) {
	t.Parallel()
	golden := filepath.Join("testdata", "schema.json")
	if *update {
		if err := os.WriteFile(golden, Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(Schema())); diff != "" {
		t.Errorf("%s (-want +got, -update accepts it):\n%s", golden, diff)
	}
}

// TestSchemaAgreesWithParse runs the same bad files against both.
func TestSchemaAgreesWithParse(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	for _, tt := range badSpecs() {
		if !tt.schema {
			continue // only Parse can tell
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := schema.Validate(toJSON(t, decodeYAML(t, tt.file))); err == nil {
				t.Errorf("the schema accepts what Parse refuses:\n%s", tt.file)
			}
		})
	}
}

func TestSchemaAcceptsValidFiles(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	shipped, err := os.ReadFile("Pulumi.local.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{
		"the shipped file": string(shipped),
		"the least on AWS": awsSpec, "the least on DigitalOcean": digitaloceanSpec,
		"the least":     local,
		"Pulumi's keys": "encryptionsalt: v1:x\n" + local + "  aws:region: eu-central-1\n",
	} {
		if err := schema.Validate(toJSON(t, decodeYAML(t, file))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKeys checks the table of keys itself: each has what the schema and the messages are made of, and both the
// schema and Parse accept its example.
func TestKeys(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	for _, k := range keys() {
		if k.doc == "" || k.want == "" {
			t.Errorf("%s lacks a description or what is valid", k.path)
		}
		if k.field == nil {
			continue
		}
		base := map[string]string{"": local, ProviderLocal: local, ProviderAWS: awsSpec, ProviderDigitalOcean: digitaloceanSpec}[k.provider]
		if strings.HasSuffix(k.path, ".machineType") || k.path == "devctl:endpoint.clientCidrs" {
			base = awsSpec // refused on local
		}
		config := decodeYAML(t, base).(map[string]any)["config"].(map[string]any)
		into, name := config, k.path
		for top, rest, found := strings.Cut(name, "."); found; top, rest, found = strings.Cut(name, ".") {
			if into[top] == nil {
				into[top] = map[string]any{}
			}
			into, name = into[top].(map[string]any), rest
		}
		if k.path == "devctl:digitalocean.coreos.url" {
			delete(into, "imageId") // it is the one or the other
		}
		into[name] = k.example
		file, err := yaml.Marshal(map[string]any{"config": config})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse("example.yaml", file, "local"); err != nil {
			t.Errorf("example of %s: %v", k.path, err)
		}
		if err := schema.Validate(toJSON(t, decodeYAML(t, string(file)))); err != nil {
			t.Errorf("example of %s: %v", k.path, err)
		}
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.CompileString("schema.json", string(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// toJSON turns what the YAML decoder made into the types that the validator knows.
func toJSON(t *testing.T, value any) any {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var plain any
	if err := decoder.Decode(&plain); err != nil {
		t.Fatal(err)
	}
	return plain
}
