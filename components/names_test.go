package components

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/api"
)

func TestTags(t *testing.T) {
	t.Parallel()
	stack := NewTags("prod", "data", "volume")
	want := Tags{"Name": "devctl-prod-data-volume", "devctl:stack": "prod"}
	if diff := cmp.Diff(want, stack); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	node := stack.OfNode(api.Identity{Name: "data-2", Role: api.RoleData})
	want = Tags{"Name": "devctl-prod-data-volume", "devctl:stack": "prod", "devctl:role": "data", "devctl:node": "data-2"}
	if diff := cmp.Diff(want, node); diff != "" {
		t.Errorf("tags of a slot (-want +got):\n%s", diff)
	}
	if len(stack) != 2 {
		t.Errorf("the tags of the stack have become %v", stack)
	}
}

// bucketName is what both S3 and Spaces take.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`)

func TestBucket(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("very-", 10) + "long.example.com"
	seen := map[string]string{}
	for domain, want := range map[string]string{
		"example.com":      "devctl-prod-example-com",
		"shop.example.com": "devctl-prod-shop-example-com",
		long:               "devctl-prod-very-very-very-very-very-very-very-ver-623de648257e",
		"other." + long:    "",
		strings.Repeat("a-", 20) + ".example.com": "",
	} {
		got := Bucket("prod", domain)
		if want != "" && got != want {
			t.Errorf("Bucket(prod, %s) = %s, want %s", domain, got, want)
		}
		if !bucketName.MatchString(got) {
			t.Errorf("Bucket(prod, %s) = %s, which is no name of a bucket", domain, got)
		}
		if other, found := seen[got]; found {
			t.Errorf("domains %s and %s have the same bucket %s", domain, other, got)
		}
		seen[got] = domain
	}
}
