package components

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"devctl/internal/api"
)

// Authority is a stack's certificate authority with the certificates that exist before any node does.
// Every private key is a Pulumi secret. The resource is served by devctl's own provider on every cloud.
type Authority struct {
	pulumi.CustomResourceState

	CACert         pulumi.StringOutput    `pulumi:"caCert"`
	CAKey          pulumi.StringOutput    `pulumi:"caKey"`
	AdminCert      pulumi.StringOutput    `pulumi:"adminCert"`
	AdminKey       pulumi.StringOutput    `pulumi:"adminKey"`
	BootstrapCerts pulumi.StringMapOutput `pulumi:"bootstrapCerts"` // by role
	BootstrapKeys  pulumi.StringMapOutput `pulumi:"bootstrapKeys"`  // by role
}

// NewAuthority makes the certificate authority of a stack. It is made once and kept in the stack's state.
func NewAuthority(ctx *pulumi.Context, stack string) (*Authority, error) {
	var a Authority
	args := pulumi.Map{"stack": pulumi.String(stack)}
	err := ctx.RegisterResource("devctl:pki:Authority", "authority", args, &a,
		pulumi.AdditionalSecretOutputs([]string{"caKey", "adminKey", "bootstrapKeys"}))
	if err != nil {
		return nil, fmt.Errorf("register certificate authority of stack %q: %w", stack, err)
	}
	return &a, nil
}

// Bootstrap returns the certificate and the key that nodes of a role join with.
func (a *Authority) Bootstrap(role api.Role) (cert, key pulumi.StringOutput) {
	return a.BootstrapCerts.MapIndex(pulumi.String(role)), a.BootstrapKeys.MapIndex(pulumi.String(role))
}

// Password is a password: random, or one that was given.
type Password struct {
	pulumi.CustomResourceState

	Result pulumi.StringOutput `pulumi:"result"` // a Pulumi secret
}

// NewPassword makes a password once and keeps it in the stack's state. Given, unless nil, is the password that is wanted.
func NewPassword(ctx *pulumi.Context, name string, given pulumi.StringInput) (*Password, error) {
	var p Password
	args := pulumi.Map{"length": pulumi.Int(32)}
	if given != nil {
		args["value"] = pulumi.ToSecret(given)
	}
	err := ctx.RegisterResource("devctl:pki:Password", name, args, &p, pulumi.AdditionalSecretOutputs([]string{"result"}))
	if err != nil {
		return nil, fmt.Errorf("register password %q: %w", name, err)
	}
	return &p, nil
}
