package planfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Unknown stands in an operation for the digest of a value that nobody could know when it was planned.
const Unknown = "unknown"

// Compare lists what is different now from what it was when the plan was made: one sentence each, which names the field;
// none when the plan may run. What could not be known at one of the two times is no difference.
func Compare(plan, now File) []string {
	if plan.Project != now.Project || plan.Stack != now.Stack {
		return []string{fmt.Sprintf("the plan is for stack %q of project %q, and this is stack %q of project %q", plan.Stack, plan.Project, now.Stack, now.Project)}
	}
	out := values("spec", plan.Spec, now.Spec)
	out = append(out, values("program", plan.Program, now.Program)...)
	out = append(out, secrets(plan.Secrets, now.Secrets)...)
	out = append(out, states(plan.State, now.State)...)
	out = append(out, operations(plan.Operations, now.Operations)...)
	if plan.DeploymentKnown && now.DeploymentKnown {
		out = append(out, deployments(plan.Deployment, now.Deployment)...)
	}
	return out
}

// keys are those of both maps, sorted.
func keys[V any](a, b map[string]V) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}

func values(part string, was, is map[string]string) []string {
	var out []string
	for _, key := range keys(was, is) {
		before, had := was[key]
		after, has := is[key]
		switch {
		case !had:
			out = append(out, fmt.Sprintf("%s: %s was not set in the plan, is %s", part, key, after))
		case !has:
			out = append(out, fmt.Sprintf("%s: %s was %s in the plan, is not set", part, key, before))
		case before != after:
			out = append(out, fmt.Sprintf("%s: %s was %s in the plan, is %s", part, key, before, after))
		}
	}
	return out
}

func secrets(was, is map[string]string) []string {
	var out []string
	for _, name := range keys(was, is) {
		before, had := was[name]
		after, has := is[name]
		switch {
		case !had:
			out = append(out, fmt.Sprintf("secrets: %s was not imported when the plan was made", name))
		case !has:
			out = append(out, fmt.Sprintf("secrets: %s was imported when the plan was made, and is not any more", name))
		case before != after:
			out = append(out, fmt.Sprintf("secrets: %s has another value than in the plan", name))
		}
	}
	return out
}

// maxNamed is how many resources that came or went are named one by one.
const maxNamed = 5

func states(was, is map[string]Resource) []string {
	var out, came, gone []string
	for _, urn := range keys(was, is) {
		before, had := was[urn]
		after, has := is[urn]
		switch {
		case !had:
			came = append(came, after.Label)
			continue
		case !has:
			gone = append(gone, before.Label)
			continue
		}
		var changed []string
		for _, property := range keys(before.Properties, after.Properties) {
			if before.Properties[property] != after.Properties[property] {
				changed = append(changed, property)
			}
		}
		if len(changed) > 0 {
			out = append(out, fmt.Sprintf("state: %s: %s changed since the plan was made", before.Label, strings.Join(changed, ", ")))
		}
	}
	switch {
	case len(came) > 0 && len(was) == 0:
		out = append(out, fmt.Sprintf("state: the plan was made without any state, and now there is %s", listed(came)))
	case len(came) > 0:
		out = append(out, fmt.Sprintf("state: not there when the plan was made: %s", listed(came)))
	}
	if len(gone) > 0 {
		out = append(out, fmt.Sprintf("state: there when the plan was made, and not any more: %s", listed(gone)))
	}
	return out
}

func listed(names []string) string {
	if len(names) > maxNamed {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
	}
	return strings.Join(names, ", ")
}

func operations(was, is []Operation) []string {
	before, after := map[string]Operation{}, map[string]Operation{}
	for _, o := range was {
		before[o.URN] = o
	}
	for _, o := range is {
		after[o.URN] = o
	}
	var out []string
	for _, urn := range keys(before, after) {
		b, had := before[urn]
		a, has := after[urn]
		switch {
		case !had:
			out = append(out, fmt.Sprintf("operations: would %s %s%s, which is not in the plan", a.Op, a.Label, paths(a.Diff)))
		case !has:
			out = append(out, fmt.Sprintf("operations: the plan would %s %s%s, and there is nothing to do there now", b.Op, b.Label, paths(b.Diff)))
		case a.Op != b.Op:
			out = append(out, fmt.Sprintf("operations: the plan would %s %s, and now it would be a %s%s", b.Op, b.Label, a.Op, paths(a.Diff)))
		default:
			out = append(out, changes(b, a)...)
		}
	}
	return out
}

// paths are the properties of a difference in brackets; none for all the properties of what comes or goes as a whole.
func paths(diff map[string]Change) string {
	if len(diff) == 0 || len(diff) > maxNamed {
		return ""
	}
	return " (" + strings.Join(slices.Sorted(maps.Keys(diff)), ", ") + ")"
}

func changes(was, is Operation) []string {
	var out []string
	for _, path := range keys(was.Diff, is.Diff) {
		before, had := was.Diff[path]
		after, has := is.Diff[path]
		switch {
		case !had:
			out = append(out, fmt.Sprintf("operations: %s %s: %s changes too, which is not in the plan", was.Op, was.Label, path))
		case !has:
			out = append(out, fmt.Sprintf("operations: %s %s: %s does not change any more", was.Op, was.Label, path))
		case before.Replaces != after.Replaces:
			out = append(out, fmt.Sprintf("operations: %s %s: whether %s replaces it is not as in the plan", was.Op, was.Label, path))
		case differ(before.Old, after.Old) || differ(before.New, after.New):
			out = append(out, fmt.Sprintf("operations: %s %s: %s changes otherwise than in the plan", was.Op, was.Label, path))
		}
	}
	return out
}

func differ(a, b string) bool { return a != b && a != Unknown && b != Unknown }

func deployments(was, is []Deployed) []string {
	index := func(all []Deployed) map[string]Deployed {
		m := map[string]Deployed{}
		for _, d := range all {
			m[d.Unit+" on "+d.Node] = d
		}
		return m
	}
	before, after := index(was), index(is)
	var out []string
	for _, what := range keys(before, after) {
		b, had := before[what]
		a, has := after[what]
		switch {
		case !had:
			out = append(out, fmt.Sprintf("deployment: would %s %s, which is not in the plan", a.Op, what))
		case !has:
			out = append(out, fmt.Sprintf("deployment: the plan would %s %s, and there is nothing to do there now", b.Op, what))
		case a != b:
			out = append(out, fmt.Sprintf("deployment: %s changes otherwise than in the plan", what))
		}
	}
	return out
}
