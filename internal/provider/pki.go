package provider

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"time"

	p "github.com/pulumi/pulumi-go-provider"
	"github.com/pulumi/pulumi-go-provider/infer"

	"devctl/internal/api"
	"devctl/internal/pki"
)

// lifetime of the certificates that stand in a stack's state: as long as the authority's, which cuts it short. Those
// on machines are renewed by the machines.
const lifetime = 100 * 365 * 24 * time.Hour

// authority is the certificate authority of a stack and what it signs for people and for new machines.
type authority struct{}

type authorityArgs struct {
	Stack string `pulumi:"stack"`
}

type authorityState struct {
	authorityArgs
	CACert         string            `pulumi:"caCert"`
	CAKey          string            `pulumi:"caKey" provider:"secret"`
	AdminCert      string            `pulumi:"adminCert"`
	AdminKey       string            `pulumi:"adminKey" provider:"secret"`
	BootstrapCerts map[string]string `pulumi:"bootstrapCerts"` // by role
	BootstrapKeys  map[string]string `pulumi:"bootstrapKeys" provider:"secret"`
}

func (*authority) Annotate(a infer.Annotator) { a.SetToken("pki", "Authority") }

// Create makes all keys. There is nothing to delete: they exist in the state only.
func (authority) Create(_ context.Context, req infer.CreateRequest[authorityArgs]) (infer.CreateResponse[authorityState], error) {
	resp := infer.CreateResponse[authorityState]{ID: req.Inputs.Stack, Output: authorityState{authorityArgs: req.Inputs}}
	if req.DryRun {
		return resp, nil
	}
	now := time.Now()
	ca, err := pki.NewAuthority(req.Inputs.Stack, now)
	if err != nil {
		return resp, err
	}
	admin, err := ca.Issue(pki.Profile{CommonName: "admin", Organization: "devctl:admin", Client: true, Validity: lifetime}, now)
	if err != nil {
		return resp, err
	}
	out := &resp.Output
	out.CACert, out.CAKey, out.AdminCert, out.AdminKey = ca.Cert, ca.Key, admin.Cert, admin.Key
	out.BootstrapCerts, out.BootstrapKeys = map[string]string{}, map[string]string{}
	for _, role := range api.Roles() {
		pair, err := ca.Issue(pki.Profile{
			CommonName: "bootstrap-" + string(role), Organization: "devctl:bootstrap", Client: true, Validity: lifetime,
		}, now)
		if err != nil {
			return resp, err
		}
		out.BootstrapCerts[string(role)], out.BootstrapKeys[string(role)] = pair.Cert, pair.Key
	}
	return resp, nil
}

// password is a random password, or one that was given.
type password struct{}

type passwordArgs struct {
	Length int `pulumi:"length"` // of a random one
	// Value is the password that is wanted. Without one, what is there stays, and a new one is random.
	Value *string `pulumi:"value,optional" provider:"secret"`
}

type passwordState struct {
	passwordArgs
	Result string `pulumi:"result" provider:"secret"`
}

func (*password) Annotate(a infer.Annotator) { a.SetToken("pki", "Password") }

// alphabet needs no quoting in a shell, a URL, an environment file or a configuration file.
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// Create draws the password, unless one is given.
func (password) Create(_ context.Context, req infer.CreateRequest[passwordArgs]) (infer.CreateResponse[passwordState], error) {
	resp := infer.CreateResponse[passwordState]{ID: req.Name, Output: passwordState{passwordArgs: req.Inputs}}
	if req.Inputs.Value != nil {
		resp.Output.Result = *req.Inputs.Value
		return resp, nil
	}
	if req.DryRun {
		return resp, nil
	}
	drawn := make([]byte, req.Inputs.Length)
	for i := range drawn {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			return resp, fmt.Errorf("draw password %q: %w", req.Name, err)
		}
		drawn[i] = alphabet[n.Int64()]
	}
	resp.Output.Result = string(drawn)
	return resp, nil
}

// Update takes over the password that is given now.
func (password) Update(_ context.Context, req infer.UpdateRequest[passwordArgs, passwordState]) (infer.UpdateResponse[passwordState], error) {
	out := passwordState{passwordArgs: req.Inputs, Result: req.State.Result}
	if req.Inputs.Value != nil {
		out.Result = *req.Inputs.Value
	}
	return infer.UpdateResponse[passwordState]{Output: out}, nil
}

// Diff compares what is wanted with the password itself, not with what was wanted before: who works on the stack from a
// machine where nothing was imported changes nothing.
func (password) Diff(_ context.Context, req infer.DiffRequest[passwordArgs, passwordState]) (infer.DiffResponse, error) {
	differences := map[string]p.PropertyDiff{}
	if req.Inputs.Length != req.State.Length {
		differences["length"] = replaced()
	}
	if wanted := req.Inputs.Value; wanted != nil && *wanted != req.State.Result {
		differences["value"] = changed()
	}
	return infer.DiffResponse{HasChanges: len(differences) > 0, DetailedDiff: differences}, nil
}
