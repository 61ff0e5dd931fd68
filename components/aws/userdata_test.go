package aws

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"devctl/ignition"
	"devctl/ignition/ignitiontest"
	"devctl/stacks"
)

func decode(t *testing.T, userData string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(userData)
	if err != nil {
		t.Fatalf("user data is no base64: %v", err)
	}
	return data
}

// TestUserData: what machines boot with is Ignition, the same for the slots of a role but for who they are, and far enough
// below AWS's limit. Run with -v to see how far.
func TestUserData(t *testing.T) {
	t.Parallel()
	r, _ := register(t, loadSpec(t, nil))
	names := r.ofType("LaunchTemplate")
	if want := []string{"data-1", "data-2", "data-3", "main-1", "main-2", "main-3", "worker"}; !slices.Equal(names, want) {
		t.Errorf("launch templates: %v, want %v", names, want)
	}
	for _, name := range names {
		data := decode(t, r.resources["LaunchTemplate "+name].Inputs["userData"].(string))
		t.Logf("%s: %d of %d bytes", name, len(data), ignition.LimitAWS)
		if room := ignition.LimitAWS - len(data); room < 1024 {
			t.Errorf("%s: user data has %d bytes, which leaves room for %d", name, len(data), room)
		}
		if err := ignitiontest.Validate(t, data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(string(data), "devctl-aws-aws-example-com/config/") != strings.Contains(string(data), "/secrets.ign") {
			t.Errorf("%s fetches no secrets from the stack's bucket:\n%s", name, data)
		}
	}
}

// TestLargeUserData: a config that fits no other way goes to the bucket, before the machine.
func TestLargeUserData(t *testing.T) {
	t.Parallel()
	r, _ := register(t, loadSpec(t, func(s *stacks.Spec) {
		for i := range 200 { // nothing that compresses
			noise := make([]byte, 51)
			for j := range noise {
				noise[j] = byte((i*7919 + j*104729 + i*j*31) >> (j % 7))
			}
			s.SSHKeys = append(s.SSHKeys, "ssh-ed25519 "+base64.StdEncoding.EncodeToString(noise)+" somebody")
		}
	}))
	for _, name := range []string{"main-2", "worker"} {
		data := decode(t, r.resources["LaunchTemplate "+name].Inputs["userData"].(string))
		object := r.resources["BucketObjectv2 "+name+"-config"]
		url := fmt.Sprintf("s3://devctl-aws-aws-example-com/%v", object.Inputs["key"])
		if len(data) > 1024 || !strings.Contains(string(data), url) {
			t.Errorf("user data of %s is no pointer to %s: %s", name, url, data)
		}
		for _, config := range [][]byte{data, []byte(fmt.Sprint(object.Inputs["content"]))} {
			if err := ignitiontest.Validate(t, config); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if after := r.resources["Group "+name].DependsOn; !slices.Contains(after, "BucketObjectv2 "+name+"-config") {
			t.Errorf("%s boots before its config is in the bucket", name)
		}
	}
}
