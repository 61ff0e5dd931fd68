package clouds

import (
	"context"
	"errors"
	"fmt"
	"time"

	"devctl/internal/aws"
	"devctl/stacks"
)

// credentialsTimeout bounds looking for credentials, on a machine at AWS too, and asking whether they are taken.
const credentialsTimeout = 5 * time.Second

// CheckCredentials tells whether the cloud takes the credentials of this machine; its error says what to do about it. Only AWS's
// are the machine's: other providers' are secrets of the stack.
func CheckCredentials(ctx context.Context, spec *stacks.Spec) error {
	if spec.Provider != stacks.ProviderAWS {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	const signIn = "sign in with `aws sso login`, choose a profile with AWS_PROFILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	client, err := awsClient(ctx, spec.AWS.Region)
	if err == nil {
		_, err = client.Credentials.Retrieve(ctx)
	}
	if err != nil {
		return fmt.Errorf("there are no AWS credentials where the AWS CLI looks for them; %s: %w", signIn, err)
	}
	switch err := client.Caller(ctx); {
	case errors.Is(err, aws.ErrRefused):
		return fmt.Errorf("%w; %s", err, signIn)
	case err != nil:
		return fmt.Errorf("AWS does not answer; `preview --offline` asks nobody: %w", err)
	}
	return nil
}
