package daemon

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
	"devctl/internal/aws"
	"devctl/internal/metadata"
)

func TestWhoResizesTheWorkers(t *testing.T) {
	t.Parallel()
	for _, platform := range []api.Platform{"", api.PlatformLocal, api.PlatformAWS, api.PlatformDigitalOcean} {
		n := node{Platform: platform, Identity: api.Identity{Stack: "prod", Name: "main-1"}}
		group, is := workersOf(n).(scalingGroup)
		if is != (platform == api.PlatformAWS) || is && group.name != "devctl-prod-worker" || !is && workersOf(n) != nil {
			t.Errorf("on %q the group is %+v", platform, workersOf(n))
		}
	}
}

// TestScalingGroup: with the machine's rights, in the machine's region, and machines that are ending are none.
func TestScalingGroup(t *testing.T) {
	t.Parallel()
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text, ok := mainOnAWS[strings.TrimPrefix(r.URL.Path, "/latest/")]; ok {
			_, _ = io.WriteString(w, text)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			t.Error(err)
		}
		form.Del("Version")
		asked = append(asked, form.Encode())
		if !strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/autoscaling/") {
			t.Errorf("signed for another place: %s", r.Header.Get("Authorization"))
		}
		_, _ = io.WriteString(w, `<R><DescribeAutoScalingGroupsResult><AutoScalingGroups><member>
			<AutoScalingGroupName>devctl-prod-worker</AutoScalingGroupName><DesiredCapacity>3</DesiredCapacity><Instances>
			<member><InstanceId>i-1</InstanceId><LifecycleState>InService</LifecycleState></member>
			<member><InstanceId>i-2</InstanceId><LifecycleState>Pending</LifecycleState></member>
			<member><InstanceId>i-3</InstanceId><LifecycleState>Terminating:Wait</LifecycleState></member>
			</Instances></member></AutoScalingGroups></DescribeAutoScalingGroupsResult></R>`)
	}))
	t.Cleanup(server.Close)
	group := scalingGroup{client: aws.Client{Metadata: metadata.AWS{Base: server.URL}, Endpoint: func(string) string { return server.URL + "/aws" }}, name: "devctl-prod-worker"}
	ids, wanted, err := group.Machines(t.Context())
	if err != nil || wanted != 3 {
		t.Errorf("%d are wanted: %v", wanted, err)
	}
	if d := cmp.Diff([]string{"i-1", "i-2"}, ids); d != "" {
		t.Error(d)
	}
	if err := group.Resize(t.Context(), 4); err != nil {
		t.Error(err)
	}
	if err := group.End(t.Context(), "i-2"); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{
		"Action=DescribeAutoScalingGroups&AutoScalingGroupNames.member.1=devctl-prod-worker",
		"Action=SetDesiredCapacity&AutoScalingGroupName=devctl-prod-worker&DesiredCapacity=4",
		"Action=TerminateInstanceInAutoScalingGroup&InstanceId=i-2&ShouldDecrementDesiredCapacity=true",
	}, asked); d != "" {
		t.Error(d)
	}
}
