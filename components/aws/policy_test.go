package aws

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

// documents are all policies that a stack has, by where they are.
func documents(t *testing.T) map[string]document {
	t.Helper()
	r, _ := register(t, loadSpec(t, nil))
	all := map[string]document{}
	for key, made := range r.resources {
		for name, value := range made.Inputs {
			text, ok := value.(string)
			if !ok || !strings.Contains(strings.ToLower(name), "policy") {
				continue
			}
			decoder := json.NewDecoder(strings.NewReader(text))
			decoder.DisallowUnknownFields()
			var d document
			if err := decoder.Decode(&d); err != nil {
				t.Errorf("%s of %s is no policy: %v\n%s", name, key, err, text)
			}
			all[key+" "+name] = d
		}
	}
	return all
}

// An action names one thing to do at one service. A resource names a kind of thing, at least.
var (
	actionPattern   = regexp.MustCompile(`^[a-z0-9]+:[A-Z][A-Za-z]+$`)
	resourcePattern = regexp.MustCompile(`^arn:aws:[a-z0-9]+:[a-z0-9-]*:[0-9*]*:[^*]+`)
)

func TestPolicies(t *testing.T) {
	t.Parallel()
	all := documents(t)
	if len(all) != 8 { // three roles: who may have it, what it may; the bucket's; the endpoint's
		t.Errorf("there are %d policies, want 8", len(all))
	}
	for where, d := range all {
		if d.Version != "2012-10-17" || len(d.Statement) == 0 {
			t.Errorf("%s: version %q with %d statements", where, d.Version, len(d.Statement))
		}
		sids := map[string]bool{}
		for _, s := range d.Statement {
			if s.Sid == "" || sids[s.Sid] {
				t.Errorf("%s: statement %q has no name of its own", where, s.Sid)
			}
			sids[s.Sid] = true
			if len(s.Action) == 0 || len(s.Resource) == 0 && !strings.HasSuffix(where, "assumeRolePolicy") {
				t.Errorf("%s: statement %s is about nothing", where, s.Sid)
			}
			if s.Effect == "Deny" {
				continue // as much as possible
			}
			if s.Effect != "Allow" {
				t.Errorf("%s: statement %s has effect %q", where, s.Sid, s.Effect)
			}
			for _, action := range s.Action {
				if !actionPattern.MatchString(action) {
					t.Errorf("%s: statement %s allows %s", where, s.Sid, action)
				}
			}
			if s.Sid == "SeeGroups" { // AWS takes nothing else for a list
				continue
			}
			for _, on := range s.Resource {
				if !resourcePattern.MatchString(on) {
					t.Errorf("%s: statement %s allows something on %s", where, s.Sid, on)
				}
			}
		}
	}
}

// TestRights is all that machines may, as a list for people: any more has to be added here.
func TestRights(t *testing.T) {
	t.Parallel()
	const bucket, ec2 = "arn:aws:s3:::devctl-aws-aws-example-com/", "arn:aws:ec2:eu-central-1:*:"
	const workersGroup = "arn:aws:autoscaling:eu-central-1:*:autoScalingGroup:*:autoScalingGroupName/devctl-aws-worker"
	workers := map[string]map[string][]string{"StringEquals": {
		"aws:ResourceTag/devctl:role": {"worker"}, "aws:ResourceTag/devctl:stack": {"aws"},
	}}
	want := map[api.Role][]string{
		api.RoleMain: {
			"s3:GetObject on " + bucket + "artifacts/*",
			"s3:GetObject on " + bucket + "config/main/*",
			"s3:GetObject on " + bucket + "images/etcd-*",
			"s3:GetObject on " + bucket + "registry/10-10-0-0-16/founding/*",
			"s3:PutObject on " + bucket + "registry/10-10-0-0-16/founding/* if map[Null:map[s3:if-none-match:[false]]]",
			"s3:PutObject on " + bucket + "snapshots/*",
			"autoscaling:SetDesiredCapacity on " + workersGroup,
			"autoscaling:TerminateInstanceInAutoScalingGroup on " + workersGroup,
			"autoscaling:DescribeAutoScalingGroups on *",
		},
		api.RoleWorker: {
			"s3:GetObject on " + bucket + "artifacts/*",
			"s3:GetObject on " + bucket + "config/worker/*",
			"s3:GetObject on " + bucket + "images/haproxy-*",
			"s3:GetObject on " + bucket + "images/keepalived-*",
			"ec2:AssociateAddress on " + ec2 + "elastic-ip/eipalloc-endpoint",
			"ec2:AssociateAddress on " + ec2 + "instance/* if " + fmt.Sprint(workers),
			"ec2:AssociateAddress on " + ec2 + "network-interface/* if " + fmt.Sprint(workers),
		},
		api.RoleData: {
			"s3:GetObject on " + bucket + "artifacts/*",
			"s3:GetObject on " + bucket + "config/data/*",
			"s3:GetObject on " + bucket + "images/redis-*",
		},
	}
	all := documents(t)
	for role, rights := range want {
		var got []string
		for _, s := range all["RolePolicy "+string(role)+" policy"].Statement {
			for _, action := range s.Action {
				for _, on := range s.Resource {
					right := action + " on " + on
					if s.Condition != nil {
						right += fmt.Sprintf(" if %v", s.Condition)
					}
					got = append(got, right)
				}
			}
		}
		if diff := cmp.Diff(rights, got); diff != "" {
			t.Errorf("rights of %s nodes (-want +got):\n%s", role, diff)
		}
	}
}

// TestBucketRefusesPlainText: and it lets nobody in.
func TestBucketRefusesPlainText(t *testing.T) {
	t.Parallel()
	d := documents(t)["BucketPolicy artifacts policy"]
	for _, s := range d.Statement {
		if s.Effect != "Deny" || fmt.Sprint(s.Principal) != "*" || len(s.Resource) != 2 {
			t.Errorf("statement %+v of the bucket is not about everybody and everything in it", s)
		}
	}
	if len(d.Statement) == 0 || d.Statement[0].Condition["Bool"]["aws:SecureTransport"][0] != "false" {
		t.Errorf("the bucket serves who does not encrypt: %+v", d)
	}
}
