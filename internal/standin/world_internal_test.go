package standin

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/urn"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
)

func urnOf(token, name string) urn.URN {
	return urn.New("stack", "project", "", tokens.Type(token), name)
}

func TestWorldIsLikeACloud(t *testing.T) {
	t.Parallel()
	w := NewWorld()
	const typeSecurityGroup, typeInterface = "aws:ec2/securityGroup:SecurityGroup", "aws:ec2/networkInterface:NetworkInterface"
	group, card := typeOf(t, "aws", typeSecurityGroup), typeOf(t, "aws", typeInterface)
	want := func(what string, err error, text string) {
		t.Helper()
		if got := fmt.Sprint(err); got != text && (err != nil || text != "") {
			t.Errorf("%s: got error %v, want %q", what, err, text)
		}
	}

	first, err := w.create(group, urnOf(typeSecurityGroup, "a"), inputs(values{"name": "same", "vpcId": "vpc-1"}))
	want("create", err, "")
	_, err = w.create(group, urnOf(typeSecurityGroup, "b"), inputs(values{"name": "same", "vpcId": "vpc-1"}))
	want("a name twice", err, "there is another "+typeSecurityGroup+" with the same name and vpcId")
	elsewhere, err := w.create(group, urnOf(typeSecurityGroup, "b"), inputs(values{"name": "same", "vpcId": "vpc-2"}))
	want("a name in another network", err, "")
	want("delete it", w.remove(group, urnOf(typeSecurityGroup, "b"), elsewhere.ID), "")
	eni, err := w.create(card, urnOf(typeInterface, "card"), inputs(values{"securityGroups": []any{first.ID}}))
	want("refer", err, "")
	want("delete what is in use", w.remove(group, urnOf(typeSecurityGroup, "a"), first.ID), first.ID+" is in use by "+typeInterface+" card")
	_, err = w.update(card, urnOf(typeInterface, "card"), eni.ID, inputs(values{}))
	want("let go", err, "")
	want("delete", w.remove(group, urnOf(typeSecurityGroup, "a"), first.ID), "")
	want("delete again", w.remove(group, urnOf(typeSecurityGroup, "a"), first.ID), "")
	_, err = w.update(group, urnOf(typeSecurityGroup, "a"), first.ID, inputs(values{"name": "same", "vpcId": "vpc-1"}))
	want("update what is gone", err, "there is no "+typeSecurityGroup+" "+first.ID+" (any more)")

	w.Fail("create", typeSecurityGroup, 2, "no more")
	second, err := w.create(group, urnOf(typeSecurityGroup, "a"), inputs(values{"name": "same", "vpcId": "vpc-1"}))
	want("create again", err, "")
	if second.ID == first.ID {
		t.Error("an id was given twice")
	}
	_, err = w.create(group, urnOf(typeSecurityGroup, "c"), inputs(values{"name": "c"}))
	want("the second creation", err, "no more")
	_, err = w.create(group, urnOf(typeSecurityGroup, "c"), inputs(values{"name": "c"}))
	want("the third", err, "")

	if diff := cmp.Diff([]string{
		"create " + typeSecurityGroup + " a", "create " + typeSecurityGroup + " b", "delete " + typeSecurityGroup + " b", "create " + typeInterface + " card", "update " + typeInterface + " card",
		"delete " + typeSecurityGroup + " a", "create " + typeSecurityGroup + " a", "create " + typeSecurityGroup + " c",
	}, w.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if w.Lose(typeSecurityGroup, "nobody") || w.Change(typeSecurityGroup, "nobody", "name", secret) {
		t.Error("what there is not was lost or changed")
	}
}
