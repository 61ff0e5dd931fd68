package clouds_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"devctl/internal/api"
	"devctl/internal/clouds"
	"devctl/stacks"
)

const group = `<R><DescribeAutoScalingGroupsResult><AutoScalingGroups><member><AutoScalingGroupName>devctl-prod-data-2</AutoScalingGroupName><Tags>
<member><Key>Name</Key><Value>devctl-prod-data-2</Value></member><member><Key>devctl:stack</Key><Value>prod</Value></member>
<member><Key>devctl:role</Key><Value>data</Value></member><member><Key>devctl:node</Key><Value>data-2</Value></member></Tags>
<Instances>INSTANCES</Instances></member></AutoScalingGroups></DescribeAutoScalingGroupsResult></R>`

func instance(id, state string) string {
	return "<member><InstanceId>" + id + "</InstanceId><LifecycleState>" + state + "</LifecycleState></member>"
}

func TestMachineOfASlot(t *testing.T) {
	node := api.Identity{Stack: "prod", Name: "data-2", Role: api.RoleData}
	for name, tc := range map[string]struct{ answer, id, state, err string }{
		"one":           {answer: strings.Replace(group, "INSTANCES", instance("i-1", "InService"), 1), id: "i-1", state: "InService"},
		"none":          {answer: strings.Replace(group, "INSTANCES", "", 1)},
		"two":           {answer: strings.Replace(group, "INSTANCES", instance("i-1", "Terminating")+instance("i-2", "Pending"), 1), err: "autoscaling group devctl-prod-data-2 has more than one instance: i-1 (Terminating), i-2 (Pending)"},
		"another stack": {answer: strings.Replace(group, "<Value>prod<", "<Value>dev<", 1), err: `autoscaling group devctl-prod-data-2 is not that of data-2: its tag devctl:stack is "dev", not "prod"`},
		"no group":      {answer: "<R/>", err: "look up autoscaling group devctl-prod-data-2: there is none in eu-west-1"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIATEST/") || !strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/autoscaling/") {
					t.Errorf("signed as %q", r.Header.Get("Authorization"))
				}
				_, _ = io.WriteString(w, tc.answer)
			}))
			defer server.Close()
			t.Setenv("AWS_ENDPOINT_URL", server.URL+"/")
			t.Setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
			slots, err := clouds.OpenSlots(t.Context(), &stacks.Spec{Stack: "prod", Provider: stacks.ProviderAWS, AWS: stacks.AWS{Region: "eu-west-1"}})
			if err != nil {
				t.Fatal(err)
			}
			id, state, err := slots.Machine(t.Context(), node)
			said := ""
			if err != nil {
				said = err.Error()
			}
			if id != tc.id || state != tc.state || said != tc.err {
				t.Errorf("machine %q %q, error %q", id, state, said)
			}
		})
	}
}

func TestSlotsAreAWSs(t *testing.T) {
	t.Parallel()
	if _, err := clouds.OpenSlots(t.Context(), &stacks.Spec{Provider: stacks.ProviderLocal}); err == nil || err.Error() != "provider local keeps no machines in slots" {
		t.Errorf("error is %v", err)
	}
}
