package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// ErrRefused is that AWS does not take the credentials.
var ErrRefused = errors.New("AWS does not take the credentials")

// Caller asks AWS whether it takes the client's credentials, which everybody may ask. It returns ErrRefused, with AWS's words, when
// it does not, and another error when it gives no answer.
func (c Client) Caller(ctx context.Context) error {
	_, err := c.query(ctx, "sts", url.Values{"Action": {"GetCallerIdentity"}, "Version": {"2011-06-15"}})
	var no refusal
	if errors.As(err, &no) && no.status < 500 && no.status != http.StatusTooManyRequests && !strings.HasPrefix(no.code, "Throttl") {
		return fmt.Errorf("%w: %s", ErrRefused, no)
	}
	return err
}
