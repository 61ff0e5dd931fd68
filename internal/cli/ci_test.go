package cli

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// These tests read docs/ci.md: whatever is in it must be what GitHub and GitLab take, and what devctl has.

// ciFiles are the configurations in docs/ci.md: what follows "# github: " or "# gitlab: " in their first line, and the rest.
func ciFiles(t *testing.T, system string) map[string]map[string]any {
	t.Helper()
	page, err := os.ReadFile("../../docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]map[string]any{}
	for _, found := range regexp.MustCompile("(?s)```yaml\n# (\\w+): (\\S+)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		if found[1] != system {
			continue
		}
		var content map[string]any
		if err := yaml.Unmarshal([]byte(found[3]), &content); err != nil {
			t.Fatalf("%s: %v", found[2], err)
		}
		files[found[2]] = content
	}
	if len(files) == 0 {
		t.Fatalf("docs/ci.md has nothing for %s", system)
	}
	return files
}

// keys checks that a mapping has all that is needed, and nothing that does not exist.
func keys(t *testing.T, where string, in map[string]any, needed, optional []string) {
	t.Helper()
	for _, key := range needed {
		if in[key] == nil {
			t.Errorf("%s has no %s", where, key)
		}
	}
	for key := range in {
		if !slices.Contains(needed, key) && !slices.Contains(optional, key) {
			t.Errorf("%s: there is no key %s", where, key)
		}
	}
}

func mapping(t *testing.T, where string, v any) map[string]any {
	t.Helper()
	m, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("%s is %T, not a mapping", where, v)
	}
	return m
}

// texts are the strings of a list, or the one string.
func texts(v any) []string {
	var all []string
	switch v := v.(type) {
	case string:
		all = []string{v}
	case []any:
		for _, item := range v {
			all = append(all, fmt.Sprint(item))
		}
	}
	return all
}

func TestGitHubWorkflows(t *testing.T) {
	t.Parallel()
	files := ciFiles(t, "github")
	if len(files) != 3 {
		t.Errorf("there are %d workflows", len(files))
	}
	uses := regexp.MustCompile(`^[\w-]+/[\w-]+@v\d+$`)
	levels := []string{"read", "write", "none"}
	for name, workflow := range files {
		if !regexp.MustCompile(`^\.github/workflows/\w+\.yml$`).MatchString(name) {
			t.Errorf("GitHub looks for no workflow in %s", name)
		}
		keys(t, name, workflow, []string{"name", "on", "jobs", "permissions"}, []string{"env", "concurrency", "defaults"})
		keys(t, name+": on", mapping(t, name+": on", workflow["on"]), nil, []string{"pull_request", "workflow_run", "push"})
		for scope, level := range mapping(t, name+": permissions", workflow["permissions"]) {
			if !slices.Contains([]string{"actions", "contents", "id-token", "pull-requests"}, scope) || !slices.Contains(levels, fmt.Sprint(level)) {
				t.Errorf("%s: permission %s: %v", name, scope, level)
			}
		}
		jobs := mapping(t, name+": jobs", workflow["jobs"])
		for id, job := range jobs {
			where := name + ": job " + id
			job := mapping(t, where, job)
			keys(t, where, job, []string{"runs-on", "steps", "timeout-minutes"}, []string{"name", "if", "needs", "env", "environment", "permissions"})
			for _, needed := range texts(job["needs"]) {
				if jobs[needed] == nil {
					t.Errorf("%s needs %s, which there is not", where, needed)
				}
			}
			steps, _ := job["steps"].([]any)
			for i, step := range steps {
				at := fmt.Sprintf("%s: step %d", where, i+1)
				step := mapping(t, at, step)
				keys(t, at, step, nil, []string{"name", "uses", "with", "run", "env", "if", "id"})
				action, isAction := step["uses"].(string)
				script, isScript := step["run"].(string)
				if isAction == isScript {
					t.Errorf("%s must be one of uses and run", at)
				}
				if isAction && !uses.MatchString(action) {
					t.Errorf("%s uses %q", at, action)
				}
				if strings.Contains(script, "${{") {
					t.Errorf("%s puts an expression into a script: whoever names a branch could run commands", at)
				}
				if _, given := step["with"]; given && !isAction {
					t.Errorf("%s has inputs for no action", at)
				}
			}
		}
	}
	preview := files[".github/workflows/preview.yml"]
	if got := fmt.Sprint(preview["permissions"]); got != "map[contents:read]" {
		t.Errorf("a pull request's own code may %s", got)
	}
	if strings.Contains(fmt.Sprint(preview), "secrets.") {
		t.Error("a pull request's own code gets secrets")
	}
}

func TestGitLabPipeline(t *testing.T) {
	t.Parallel()
	pipeline := ciFiles(t, "gitlab")[".gitlab-ci.yml"]
	stages := texts(pipeline["stages"])
	jobs := 0
	for id, job := range pipeline {
		if slices.Contains([]string{"stages", "default", "variables"}, id) {
			continue
		}
		job := mapping(t, id, job)
		optional := []string{"extends", "cache", "before_script", "stage", "timeout", "rules", "script", "artifacts", "needs", "environment", "resource_group", "id_tokens"}
		if strings.HasPrefix(id, ".") { // only to be extended
			keys(t, id, job, nil, optional)
			continue
		}
		jobs++
		keys(t, id, job, []string{"stage", "script", "rules"}, optional)
		if !slices.Contains(stages, fmt.Sprint(job["stage"])) {
			t.Errorf("job %s: there is no stage %v", id, job["stage"])
		}
		for _, other := range slices.Concat(texts(job["needs"]), texts(job["extends"])) {
			if pipeline[other] == nil {
				t.Errorf("job %s needs %s, which there is not", id, other)
			}
		}
		for _, rule := range job["rules"].([]any) {
			keys(t, id+": rule", mapping(t, id+": rule", rule), []string{"if"}, []string{"when", "allow_failure", "changes"})
		}
		if artifacts, given := job["artifacts"]; given {
			keys(t, id+": artifacts", mapping(t, id, artifacts), []string{"paths"}, []string{"expose_as", "expire_in", "when", "name"})
		}
		for _, line := range texts(job["script"]) {
			if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "map[") {
				t.Errorf("job %s: a line of its script is no text: %q", id, line)
			}
		}
	}
	if jobs != 4 {
		t.Errorf("there are %d jobs", jobs)
	}
}

// TestCommandsInCI parses every command line of devctl on the page as devctl would.
func TestCommandsInCI(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, found := range regexp.MustCompile("(?m)(?:`|bin/)devctl ((?:-|[a-z])[^`|\n]*)").FindAllStringSubmatch(string(page), -1) {
		line := strings.TrimSpace(found[1])
		line, _, _ = strings.Cut(line, " >") // where its output goes is the shell's business
		seen[line] = true
	}
	for _, line := range slices.Sorted(maps.Keys(seen)) {
		w := newWorld(t)
		root := newRootCommand(w.deps)
		words := strings.Fields(strings.ReplaceAll(line, `"$STACK"`, "aws"))
		command, rest, err := root.Find(words)
		if err == nil {
			err = command.ParseFlags(rest)
		}
		if err == nil {
			err = command.ValidateArgs(command.Flags().Args())
		}
		if err != nil || command == root {
			t.Errorf("devctl %s: %v", line, err)
		}
	}
	for _, needed := range []string{"--against ../base -o markdown", "--save-plan plan.json", "up --plan plan.json --yes", "--detailed-exitcode"} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(line string) bool { return strings.Contains(line, needed) }) {
			t.Errorf("no command line has %s: %q", needed, slices.Sorted(maps.Keys(seen)))
		}
	}
}
