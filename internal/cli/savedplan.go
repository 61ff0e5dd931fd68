package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"devctl/internal/cli/planview"
	"devctl/internal/engine"
	"devctl/internal/planfile"
	"devctl/internal/version"
	"devctl/stacks"
)

// readPlan reads the plan of up --plan; nil without one.
func readPlan(d *deps, path string) (*planfile.File, error) {
	if path == "" {
		return nil, nil
	}
	f, err := planfile.Read(path)
	if err != nil {
		return nil, withNext(fmt.Errorf("nothing was touched: %w", err), d.command("preview --save-plan FILE")+" makes a plan")
	}
	return &f, nil
}

// savePlan writes what a preview found to a file.
func savePlan(ctx context.Context, d *deps, env previewer, spec *stacks.Spec, found previewed, opts previewOptions) error {
	if err := guard(d, spec, found.plan.Losses, opts.allowReplace); err != nil {
		missing := &nextError{}
		if errors.As(err, &missing) {
			missing.next = strings.Replace(missing.next, d.command("up"), d.command("preview --save-plan "+quoted(opts.savePlan)), 1)
		}
		return fmt.Errorf("no plan was saved: %w", err)
	}
	f, err := newPlan(ctx, d, env, spec, found)
	if err != nil {
		return err
	}
	f.AllowReplace = opts.allowReplace
	if err := planfile.Write(opts.savePlan, f); err != nil {
		return withNext(err, "give --save-plan a file in a folder that you may write to")
	}
	d.say("The plan is in %s: %s carries it out, as long as nothing moves on.", opts.savePlan, d.command("up --plan "+quoted(opts.savePlan)))
	return nil
}

// keyOutput is a secret that every stack has from its first update to its end: digests of secrets are keyed by it.
const keyOutput = "adminKey"

// newPlan is what a preview found, with all that it rests on.
func newPlan(ctx context.Context, d *deps, env previewer, spec *stacks.Spec, found previewed) (planfile.File, error) {
	project, err := stacks.FindProject(d.global.dir)
	if err != nil {
		return planfile.File{}, err
	}
	basis, err := env.Basis(ctx, keyOutput)
	if err != nil {
		return planfile.File{}, err
	}
	program, err := programBasis(d)
	if err != nil {
		return planfile.File{}, err
	}
	values, err := specValues(spec)
	if err != nil {
		return planfile.File{}, err
	}
	f := planfile.File{
		Project: project.Name, Stack: spec.Stack, Created: d.now().UTC(), Source: planfile.Live,
		Spec: values, Program: program, Secrets: map[string]string{}, State: map[string]planfile.Resource{},
		Operations: operations(found.events, found.placeholders), DeploymentKnown: found.deployment.known,
	}
	if found.offline {
		f.Source = planfile.Offline
	}
	for name, value := range basis.Secrets {
		if name, imported := strings.CutPrefix(name, stacks.SecretNamespace+":"); imported {
			f.Secrets[name] = secretDigest(basis.Key, value)
		}
	}
	for _, r := range basis.Resources {
		digests := map[string]string{}
		for name, p := range r.Properties {
			digests[name] = planfile.Digest(p.Value)
			if p.Secret {
				digests[name] = secretDigest(basis.Key, p.Value)
			}
		}
		f.State[r.URN] = planfile.Resource{Label: planview.Noun(r.Type, r.Name), Properties: digests}
	}
	for _, op := range found.deployment.ops {
		a := op.Assignment
		f.Deployment = append(f.Deployment, planfile.Deployed{Op: string(op.Kind), Node: a.Node, Unit: a.Unit, Hash: a.Hash})
	}
	return f, nil
}

// secretDigest tells secrets apart for those who have the key. Without one it says only that there is a value.
func secretDigest(key string, value any) string {
	if key == "" {
		return "set"
	}
	return planfile.Keyed([]byte(key), value)
}

// programBasis is what a plan was computed by and with.
func programBasis(d *deps) (map[string]string, error) {
	set, err := d.images()
	if err != nil {
		return nil, err
	}
	program := map[string]string{
		"devctl": version.Version, "pulumi": engine.Version(), "node image": set.Node.Ref, "artifacts": set.Store,
	}
	for _, s := range set.Services {
		program["image "+s.Name] = s.Ref
	}
	return program, nil
}

// specValues are the values of a spec by their keys, defaults included; each as JSON.
func specValues(spec *stacks.Spec) (map[string]string, error) {
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encode the spec of stack %q: %w", spec.Stack, err)
	}
	var tree map[string]json.RawMessage
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, fmt.Errorf("encode the spec of stack %q: %w", spec.Stack, err)
	}
	delete(tree, "stack")
	values := map[string]string{}
	flatten("devctl:", tree, values)
	return values, nil
}

// flatten puts the leaves of a tree of mappings under their paths.
func flatten(prefix string, tree map[string]json.RawMessage, into map[string]string) {
	for name, value := range tree {
		var branch map[string]json.RawMessage
		if json.Unmarshal(value, &branch) == nil && branch != nil {
			flatten(prefix+name+".", branch, into)
			continue
		}
		into[prefix+name] = string(value)
	}
}

// operations are the planned ones that change something, with digests in place of values.
func operations(events []engine.Event, placeholders []string) []planfile.Operation {
	all := []planfile.Operation{}
	for _, e := range events {
		switch e.Op {
		case engine.OpCreate, engine.OpUpdate, engine.OpReplace, engine.OpDelete:
		default:
			continue
		}
		if e.Kind != engine.KindPlanned {
			continue
		}
		op := planfile.Operation{Op: string(e.Op), URN: e.URN, Label: planview.Noun(e.Type, e.Name), Diff: map[string]planfile.Change{}}
		for _, p := range e.Diff {
			op.Diff[p.Path] = planfile.Change{Replaces: p.Replaces, Old: valueDigest(p.Old, placeholders), New: valueDigest(p.New, placeholders)}
		}
		all = append(all, op)
	}
	// The engine works on several at a time, and tells of them in another order every time.
	slices.SortFunc(all, func(a, b planfile.Operation) int { return strings.Compare(a.URN, b.URN) })
	return all
}

// valueDigest is the digest of a property as the engine writes it. What holds something that only the update will know has none.
func valueDigest(text string, placeholders []string) string {
	if text == "" {
		return ""
	}
	for _, unknown := range append([]string{"[unknown]"}, placeholders...) {
		if strings.Contains(text, unknown) {
			return planfile.Unknown
		}
	}
	return planfile.Digest(text)
}
