package standin

import (
	"context"
	"errors"
	"fmt"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// provider translates between the engine, the schema and the world.
type provider struct {
	schema *schema
	world  *World // nil: previews only
	lookup func(key string) string
}

func (s *provider) plugin() p.Provider {
	return p.Provider{
		CheckConfig: s.checkConfig,
		Invoke:      s.invoke,
		Check:       s.check,
		Diff:        s.diff,
		Create:      s.create,
		Read:        s.read,
		Update:      s.update,
		Delete:      s.delete,
	}
}

// checkConfig takes credentials, regions and the like as they are: none of them matters here.
func (*provider) checkConfig(_ context.Context, req p.CheckRequest) (p.CheckResponse, error) {
	return p.CheckResponse{Inputs: req.Inputs}, nil
}

func (s *provider) check(ctx context.Context, req p.CheckRequest) (p.CheckResponse, error) {
	resp := p.CheckResponse{Inputs: req.Inputs}
	r, err := s.schema.resourceType(string(req.Urn.Type()))
	if err != nil {
		return resp, err
	}
	found := r.check(req.Inputs)
	for _, failure := range found.failures {
		// A failure with a property is shown with the property's value, be it a secret or not.
		resp.Failures = append(resp.Failures, p.CheckFailure{Reason: failure})
	}
	for _, doubt := range found.doubts {
		p.GetLogger(ctx).Warning(doubt)
	}
	return resp, nil
}

func (s *provider) diff(_ context.Context, req p.DiffRequest) (p.DiffResponse, error) {
	r, err := s.schema.resourceType(string(req.Urn.Type()))
	if err != nil {
		return p.DiffResponse{}, err
	}
	d := r.diff(req.State, req.OldInputs, req.Inputs)
	first := r.DeleteFirst == "always" || !req.Inputs.Get(r.DeleteFirst).IsNull()
	return p.DiffResponse{HasChanges: len(d) > 0, DeleteBeforeReplace: first && d.replaces(), DetailedDiff: d}, nil
}

func (s *provider) create(_ context.Context, req p.CreateRequest) (p.CreateResponse, error) {
	r, err := s.schema.resourceType(string(req.Urn.Type()))
	if err != nil {
		return p.CreateResponse{}, err
	}
	if req.DryRun {
		return p.CreateResponse{Properties: r.planned(req.Properties)}, nil
	}
	if s.world == nil {
		return p.CreateResponse{}, s.previewsOnly("create", req.Urn)
	}
	t, err := s.world.create(r, req.Urn, req.Properties)
	return p.CreateResponse{ID: t.ID, Properties: t.Outputs}, err
}

// read finds a resource as it is. Inputs that the program leaves to the cloud are not added to its inputs.
func (s *provider) read(_ context.Context, req p.ReadRequest) (p.ReadResponse, error) {
	if s.world == nil {
		return p.ReadResponse{ID: req.ID, Properties: req.Properties, Inputs: req.Inputs}, nil
	}
	t, found := s.world.read(string(req.Urn.Type()), req.ID)
	if !found {
		return p.ReadResponse{}, nil
	}
	return p.ReadResponse{ID: t.ID, Properties: t.Outputs, Inputs: t.Inputs}, nil
}

func (s *provider) update(_ context.Context, req p.UpdateRequest) (p.UpdateResponse, error) {
	r, err := s.schema.resourceType(string(req.Urn.Type()))
	if err != nil {
		return p.UpdateResponse{}, err
	}
	if req.DryRun {
		return p.UpdateResponse{Properties: r.updated(req.State, req.OldInputs, req.Inputs)}, nil
	}
	if s.world == nil {
		return p.UpdateResponse{}, s.previewsOnly("update", req.Urn)
	}
	t, err := s.world.update(r, req.Urn, req.ID, req.Inputs)
	return p.UpdateResponse{Properties: t.Outputs}, err
}

func (s *provider) delete(_ context.Context, req p.DeleteRequest) error {
	r, err := s.schema.resourceType(string(req.Urn.Type()))
	if err != nil {
		return err
	}
	if s.world == nil {
		return s.previewsOnly("delete", req.Urn)
	}
	return s.world.remove(r, req.Urn, req.ID)
}

func (s *provider) previewsOnly(verb string, urn resource.URN) error {
	return fmt.Errorf("%s %s %s: the stand-in for %s only previews", verb, urn.Type(), urn.Name(), s.schema.Provider)
}

// The lookup of a machine image, and the filter that names the image.
const (
	lookupAMI  = "aws:ec2/getAmi:getAmi"
	nameFilter = "name"
)

// invoke answers the one lookup that devctl needs. Whatever else a program asks, nobody without the cloud can answer.
func (s *provider) invoke(_ context.Context, req p.InvokeRequest) (p.InvokeResponse, error) {
	if req.Token != lookupAMI {
		return p.InvokeResponse{}, fmt.Errorf("the stand-in for %s cannot answer %s: it does not know what is in the cloud", s.schema.Provider, req.Token)
	}
	name, err := imageName(req.Args)
	if err != nil {
		return p.InvokeResponse{}, err
	}
	id := s.lookup(name)
	return p.InvokeResponse{Return: req.Args.Set("id", property.New(id)).Set("imageId", property.New(id)).Set("name", property.New(name))}, nil
}

// imageName is the name of the image that is looked up.
func imageName(args property.Map) (string, error) {
	if filters := args.Get("filters"); filters.IsArray() {
		for _, filter := range filters.AsArray().All {
			f := filter.AsMap()
			if f.Get("name").AsString() == nameFilter && f.Get("values").AsArray().Len() == 1 {
				return f.Get("values").AsArray().Get(0).AsString(), nil
			}
		}
	}
	return "", errors.New("look up an image: name exactly one with the filter " + nameFilter)
}
