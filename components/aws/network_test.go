package aws

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWayOut: machines reach one another and the bucket. Only workers, which ask AWS for the endpoint's address, reach anybody
// else, and by HTTPS alone. What gets in is components.Access's to say: TestInputs compares every rule.
func TestWayOut(t *testing.T) {
	t.Parallel()
	r, _ := register(t, loadSpec(t, nil))
	var got []string
	for _, name := range r.ofType("SecurityGroupRule") {
		in := r.resources["SecurityGroupRule "+name].Inputs
		switch {
		case in["type"] == "egress":
			got = append(got, fmt.Sprintf("%s: %v-%v/%v %v%v", name, in["fromPort"], in["toPort"], in["protocol"], in["cidrBlocks"], in["prefixListIds"]))
		case strings.Contains(fmt.Sprint(in["cidrBlocks"]), "/0"):
			t.Errorf("%s lets everybody in", name)
		}
	}
	want := []string{
		"data-to-nodes: 0-0/-1 [10.10.0.0/16]<nil>", "data-to-s3: 443-443/tcp <nil>[pl-s3]",
		"main-to-https: 443-443/tcp [0.0.0.0/0]<nil>", "main-to-nodes: 0-0/-1 [10.10.0.0/16]<nil>",
		"worker-to-https: 443-443/tcp [0.0.0.0/0]<nil>", "worker-to-nodes: 0-0/-1 [10.10.0.0/16]<nil>",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ways out (-want +got):\n%s", diff)
	}
}
