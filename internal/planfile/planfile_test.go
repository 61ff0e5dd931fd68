package planfile

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var key = []byte("what only readers of the stack's secrets know")

// testPlan is one of everything.
func testPlan() File {
	return File{
		Project: "devctl", Stack: "prod", Created: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), Source: Live,
		AllowReplace: []string{"data-4"},
		Spec:         map[string]string{"devctl:nodes.data.count": "3", "devctl:network.zones": `["a","b","c"]`},
		Program:      map[string]string{"devctl": "0.1.0", "image redis": "localhost/devctl/redis:1"},
		Secrets:      map[string]string{"redis-app": Keyed(key, "hunter2hunter2hunter2")},
		State: map[string]Resource{
			"urn:network": {Label: "network", Properties: map[string]string{"cidr": Digest("10.0.0.0/16")}},
			"urn:data":    {Label: "data nodes", Properties: map[string]string{"config": Digest("{}"), "secrets": Keyed(key, "hunter2")}},
		},
		Operations: []Operation{
			{Op: "update", URN: "urn:data", Label: "data nodes", Diff: map[string]Change{"config": {Old: Digest("{}"), New: Digest("{1}")}}},
			{Op: "create", URN: "urn:bucket", Label: "bucket", Diff: map[string]Change{"name": {New: Unknown}}},
		},
		Deployment: []Deployed{{Op: "put", Node: "data-1", Unit: "redis-1.service", Hash: "abc"}}, DeploymentKnown: true,
	}
}

func TestFileComesBackAsItWas(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "plan.json")
	if err := Write(path, testPlan()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode is %v, want 0600", info.Mode())
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want := testPlan()
	want.Format, want.Version, want.Sum = Format, Version, got.Sum
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := Compare(got, testPlan()); len(d) > 0 {
		t.Errorf("differs from itself: %v", d)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("hunter2")) {
		t.Errorf("a secret is in the file:\n%s", data)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "good.json")
	if err := Write(path, testPlan()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	for name, tc := range map[string]struct{ content, want string }{
		"empty":         {" \n", "is empty, and no plan of devctl"},
		"no JSON":       {"#!/bin/sh\n", "is no plan of devctl: invalid character '#'"},
		"other JSON":    {`{"resource_changes": []}`, `is no plan of devctl: its format is "", not "devctl-plan"`},
		"a list":        {`[1]`, "is no plan of devctl: json: cannot unmarshal array"},
		"newer":         {strings.Replace(good, `"version": 1`, `"version": 2`, 1), "was made by a newer devctl: its version is 2, and this devctl reads 1"},
		"no version":    {`{"format": "devctl-plan"}`, "is damaged: there is no version 0 of plans"},
		"cut off":       {good[:len(good)/2], "is damaged: unexpected end of JSON input"},
		"edited":        {strings.Replace(good, `"devctl:nodes.data.count": "3"`, `"devctl:nodes.data.count": "4"`, 1), "is damaged or was edited: its content is not what its checksum says"},
		"another field": {strings.Replace(good, `"stack"`, `"stck"`, 1), `is damaged: json: unknown field "stck"`},
		"two plans":     {good + good, "is damaged: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "plan.json")
			if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Read(path)
			if want := path + " " + tc.want; err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	}
	if _, err := Read(filepath.Join(dir, "none.json")); err == nil || !strings.HasPrefix(err.Error(), "read plan: open ") {
		t.Errorf("error %v", err)
	}
}

func TestWriteNamesTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none", "plan.json")
	if err := Write(path, testPlan()); err == nil || !strings.HasPrefix(err.Error(), "write plan "+path+": ") {
		t.Errorf("error %v", err)
	}
}

func TestCompareNamesWhatMovedOn(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*File)
		want   []string
	}{
		"nothing": {func(*File) {}, nil},
		"another stack": {func(f *File) { f.Stack, f.Spec = "local", nil }, []string{
			`the plan is for stack "prod" of project "devctl", and this is stack "local" of project "devctl"`}},
		"spec": {func(f *File) {
			f.Spec = map[string]string{"devctl:nodes.data.count": "4", "devctl:sshKeys": "[]"}
		}, []string{
			`spec: devctl:network.zones was ["a","b","c"] in the plan, is not set`,
			"spec: devctl:nodes.data.count was 3 in the plan, is 4",
			"spec: devctl:sshKeys was not set in the plan, is []",
		}},
		"program": {func(f *File) { f.Program["image redis"] = "localhost/devctl/redis:2" }, []string{
			"program: image redis was localhost/devctl/redis:1 in the plan, is localhost/devctl/redis:2"}},
		"a secret has another value": {func(f *File) { f.Secrets["redis-app"] = Keyed(key, "other") }, []string{
			"secrets: redis-app has another value than in the plan"}},
		"secrets come and go": {func(f *File) { f.Secrets = map[string]string{"redis-admin": Keyed(key, "x")} }, []string{
			"secrets: redis-admin was not imported when the plan was made",
			"secrets: redis-app was imported when the plan was made, and is not any more"}},
		"a property in the state": {func(f *File) {
			f.State["urn:data"] = Resource{Label: "data nodes", Properties: map[string]string{"config": Digest("{2}"), "secrets": Keyed(key, "other")}}
		}, []string{"state: data nodes: config, secrets changed since the plan was made"}},
		"resources come and go": {func(f *File) {
			f.State["urn:vpc"] = Resource{Label: "vpc"}
			delete(f.State, "urn:network")
		}, []string{
			"state: not there when the plan was made: vpc",
			"state: there when the plan was made, and not any more: network"}},
		"another operation": {func(f *File) {
			f.Operations = append(f.Operations, Operation{Op: "replace", URN: "urn:network", Label: "network", Diff: map[string]Change{"cidr": {Replaces: true}}})
		}, []string{"operations: would replace network (cidr), which is not in the plan"}},
		"an operation less": {func(f *File) { f.Operations = f.Operations[1:] }, []string{
			"operations: the plan would update data nodes (config), and there is nothing to do there now"}},
		"another kind of operation": {func(f *File) { f.Operations[0].Op = "replace" }, []string{
			"operations: the plan would update data nodes, and now it would be a replace (config)"}},
		"inside of an operation": {func(f *File) {
			f.Operations[0].Diff = map[string]Change{"image": {Old: "a", New: "b"}}
		}, []string{
			"operations: update data nodes: config does not change any more",
			"operations: update data nodes: image changes too, which is not in the plan"}},
		"another value": {func(f *File) {
			f.Operations[0].Diff = map[string]Change{"config": {Old: Digest("{}"), New: Digest("{2}")}}
		}, []string{"operations: update data nodes: config changes otherwise than in the plan"}},
		"a change that replaces": {func(f *File) {
			f.Operations[0].Diff = map[string]Change{"config": {Replaces: true, Old: Digest("{}"), New: Digest("{1}")}}
		}, []string{"operations: update data nodes: whether config replaces it is not as in the plan"}},
		"what was not known and now is": {func(f *File) { f.Operations[1].Diff = map[string]Change{"name": {New: Digest("devctl-prod")}} }, nil},
		"a deployment that moved on": {func(f *File) {
			f.Deployment = []Deployed{{Op: "put", Node: "data-1", Unit: "redis-1.service", Hash: "def"}, {Op: "delete", Node: "data-2", Unit: "redis-2.service"}}
		}, []string{
			"deployment: redis-1.service on data-1 changes otherwise than in the plan",
			"deployment: would delete redis-2.service on data-2, which is not in the plan"}},
		"a deployment that is done": {func(f *File) { f.Deployment = nil }, []string{
			"deployment: the plan would put redis-1.service on data-1, and there is nothing to do there now"}},
		"a deployment that nobody knows": {func(f *File) { f.Deployment, f.DeploymentKnown = nil, false }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := testPlan()
			tc.change(&now)
			if d := cmp.Diff(tc.want, Compare(testPlan(), now)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPlanWithoutStateOfAStackThatIsThere(t *testing.T) {
	t.Parallel()
	plan, now := testPlan(), testPlan()
	plan.State = nil
	want := []string{"state: the plan was made without any state, and now there is data nodes, network"}
	if d := cmp.Diff(want, Compare(plan, now)); d != "" {
		t.Error(d)
	}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		now.State[name] = Resource{Label: name}
	}
	want = []string{"state: the plan was made without any state, and now there is a, b, c, d, e and 2 more"}
	if d := cmp.Diff(want, Compare(plan, now)); d != "" {
		t.Error(d)
	}
}

func TestDigests(t *testing.T) {
	t.Parallel()
	if Digest("a") == Digest("b") || Digest(map[string]any{"x": 1, "y": 2}) != Digest(map[string]any{"y": 2, "x": 1}) {
		t.Error("digests do not tell values apart, or the order of a map counts")
	}
	if Keyed(key, "a") == Keyed([]byte("other"), "a") || Keyed(key, "a") == Digest("a") {
		t.Error("the key does not count")
	}
}

func FuzzRead(f *testing.F) {
	plan := testPlan()
	plan.Format, plan.Version = Format, Version
	plan.Sum = plan.sum()
	data, err := json.Marshal(plan)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format": "devctl-plan", "version": 1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		plan, err := parse(data)
		if err != nil {
			return
		}
		if d := Compare(plan, plan); len(d) > 0 {
			t.Errorf("differs from itself: %v", d)
		}
	})
}
