package clouds_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"devctl/internal/clouds"
	"devctl/stacks"
)

func TestCheckCredentials(t *testing.T) {
	const refused = `<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>The security token included in the request is invalid.</Message></Error></ErrorResponse>`
	for name, tc := range map[string]struct {
		key, answer string
		status      int
		closed      bool
		says        string // how the error begins; empty: there is none
	}{
		"taken":     {key: "AKIATEST", status: http.StatusOK, answer: "<GetCallerIdentityResponse/>"},
		"none":      {says: "there are no AWS credentials where the AWS CLI looks for them; sign in with `aws sso login`, "},
		"refused":   {key: "AKIATEST", status: http.StatusForbidden, answer: refused, says: "AWS does not take the credentials: InvalidClientTokenId (403): The security token included in the request is invalid.; sign in with "},
		"broken":    {key: "AKIATEST", status: http.StatusBadGateway, says: "AWS does not answer; `preview --offline` asks nobody: Bad Gateway (502)"},
		"no answer": {key: "AKIATEST", closed: true, says: "AWS does not answer; `preview --offline` asks nobody: Post "},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := r.ParseForm(); err != nil || r.Form.Get("Action") != "GetCallerIdentity" {
					t.Errorf("asked for %v, %v", r.Form, err)
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.answer)
			}))
			defer server.Close()
			if tc.closed {
				server.Close()
			}
			for key, value := range map[string]string{
				"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": tc.key, "AWS_SECRET_ACCESS_KEY": tc.key, "AWS_PROFILE": "",
				"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true",
			} {
				t.Setenv(key, value)
			}
			err := clouds.CheckCredentials(t.Context(), &stacks.Spec{Stack: "prod", Provider: stacks.ProviderAWS, AWS: stacks.AWS{Region: "eu-west-1"}})
			switch {
			case tc.says == "" && err != nil:
				t.Error(err)
			case tc.says != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.says)):
				t.Errorf("it says %v, not %s…", err, tc.says)
			}
		})
	}
	if err := clouds.CheckCredentials(t.Context(), &stacks.Spec{Provider: stacks.ProviderDigitalOcean}); err != nil {
		t.Error(err)
	}
}
