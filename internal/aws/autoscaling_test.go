package aws_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"devctl/internal/aws"
)

// scaling stands for Auto Scaling: it checks the signature, keeps what was asked, and gives one answer.
func scaling(t *testing.T, status int, answer string) (aws.Client, *url.Values) {
	t.Helper()
	asked := &url.Values{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if problem := signed(r, body, "autoscaling"); problem != "" {
			t.Error(problem)
		}
		if r.Method != http.MethodPost || r.URL.Path != "/" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded; charset=utf-8" {
			t.Errorf("%s %s of %q", r.Method, r.URL, r.Header.Get("Content-Type"))
		}
		if *asked, err = url.ParseQuery(string(body)); err != nil {
			t.Error(err)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	credentials := sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) {
		return sdk.Credentials{AccessKeyID: "ASIA1", SecretAccessKey: secret, SessionToken: "t0ken"}, nil
	})
	return aws.Client{Credentials: credentials, Region: region, Endpoint: func(string) string { return server.URL }}, asked
}

const oneGroup = `<DescribeAutoScalingGroupsResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">
  <DescribeAutoScalingGroupsResult><AutoScalingGroups><member>
    <AutoScalingGroupName>devctl-prod-main-1</AutoScalingGroupName><DesiredCapacity>1</DesiredCapacity>
    <Tags>
      <member><Key>devctl:stack</Key><Value>prod</Value><ResourceId>devctl-prod-main-1</ResourceId></member>
      <member><Key>devctl:node</Key><Value>main-1</Value></member>
    </Tags>
    <Instances><member>
      <LaunchTemplate><Version>3</Version><LaunchTemplateId>lt-1</LaunchTemplateId></LaunchTemplate>
      <InstanceId>i-0123</InstanceId><LifecycleState>InService</LifecycleState><ProtectedFromScaleIn>true</ProtectedFromScaleIn>
    </member></Instances>
  </member></AutoScalingGroups></DescribeAutoScalingGroupsResult>
</DescribeAutoScalingGroupsResponse>`

func TestGroup(t *testing.T) {
	t.Parallel()
	client, asked := scaling(t, http.StatusOK, oneGroup)
	got, err := client.Group(t.Context(), "devctl-prod-main-1")
	if err != nil {
		t.Fatal(err)
	}
	want := aws.Group{
		Tags:      map[string]string{"devctl:stack": "prod", "devctl:node": "main-1"},
		Desired:   1,
		Instances: []aws.Instance{{ID: "i-0123", State: "InService"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(url.Values{
		"Action": {"DescribeAutoScalingGroups"}, "Version": {"2011-01-01"}, "AutoScalingGroupNames.member.1": {"devctl-prod-main-1"},
	}, *asked); d != "" {
		t.Error(d)
	}
	// Whatever the answer is about, another group's machines are none of ours.
	if _, err := client.Group(t.Context(), "devctl-prod-main-2"); err == nil || err.Error() != "look up autoscaling group devctl-prod-main-2: there is none in eu-central-1" {
		t.Errorf("error is %v", err)
	}
}

func TestTerminate(t *testing.T) {
	t.Parallel()
	for _, fewer := range []bool{false, true} {
		client, asked := scaling(t, http.StatusOK, `<TerminateInstanceInAutoScalingGroupResponse/>`)
		if err := client.Terminate(t.Context(), "i-0123", fewer); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(url.Values{
			"Action": {"TerminateInstanceInAutoScalingGroup"}, "Version": {"2011-01-01"}, "InstanceId": {"i-0123"},
			"ShouldDecrementDesiredCapacity": {strconv.FormatBool(fewer)},
		}, *asked); d != "" {
			t.Error(d)
		}
	}
}

func TestResize(t *testing.T) {
	t.Parallel()
	client, asked := scaling(t, http.StatusOK, `<SetDesiredCapacityResponse/>`)
	if err := client.Resize(t.Context(), "devctl-prod-worker", 4); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(url.Values{
		"Action": {"SetDesiredCapacity"}, "Version": {"2011-01-01"}, "AutoScalingGroupName": {"devctl-prod-worker"}, "DesiredCapacity": {"4"},
	}, *asked); d != "" {
		t.Error(d)
	}
	client, _ = scaling(t, http.StatusBadRequest, `<ErrorResponse><Error><Code>ValidationError</Code><Message>9 is above max value 6</Message></Error></ErrorResponse>`)
	if err := client.Resize(t.Context(), "g", 9); err == nil || err.Error() != "resize autoscaling group g to 9: ValidationError (400): 9 is above max value 6" {
		t.Errorf("error is %v", err)
	}
}

func TestScalingRefusals(t *testing.T) {
	t.Parallel()
	refusal := func(code, message string) string {
		return "<ErrorResponse><Error><Type>Sender</Type><Code>" + code + "</Code><Message>" + message + "</Message></Error></ErrorResponse>"
	}
	for _, tc := range []struct {
		status       int
		answer, want string
	}{
		{http.StatusForbidden, refusal("AccessDenied", "User: ada is not authorized"),
			"terminate instance i-0123: the permission autoscaling:TerminateInstanceInAutoScalingGroup is missing: AccessDenied (403): User: ada is not authorized"},
		{http.StatusForbidden, refusal("ExpiredToken", "The security token is expired"), "terminate instance i-0123: ExpiredToken (403): The security token is expired"},
		{http.StatusBadRequest, refusal("ScalingActivityInProgress", "Activity is in progress"), "terminate instance i-0123: ScalingActivityInProgress (400): Activity is in progress"},
	} {
		client, _ := scaling(t, tc.status, tc.answer)
		if err := client.Terminate(t.Context(), "i-0123", false); err == nil || err.Error() != tc.want {
			t.Errorf("error is %v, want %s", err, tc.want)
		}
	}
	client, _ := scaling(t, http.StatusForbidden, refusal("AccessDenied", "no"))
	if _, err := client.Group(t.Context(), "g"); err == nil || !strings.Contains(err.Error(), "the permission autoscaling:DescribeAutoScalingGroups is missing") {
		t.Errorf("error is %v", err)
	}
	client, _ = scaling(t, http.StatusOK, "busy")
	if _, err := client.Group(t.Context(), "g"); err == nil || !strings.HasPrefix(err.Error(), "look up autoscaling group g: read the answer: ") {
		t.Errorf("error is %v", err)
	}
}
