package aws

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"strconv"
)

// Group is an Auto Scaling group.
type Group struct {
	Tags      map[string]string
	Desired   int // how many machines it should have
	Instances []Instance
}

// Instance is a machine of a group.
type Instance struct {
	ID    string `xml:"InstanceId"`
	State string `xml:"LifecycleState"` // Pending, InService, Terminating …
}

const autoScaling = "autoscaling"

// Group looks a group up by its name.
func (c Client) Group(ctx context.Context, name string) (Group, error) {
	form := url.Values{"AutoScalingGroupNames.member.1": {name}}
	answer, err := c.scale(ctx, "DescribeAutoScalingGroups", form)
	if err != nil {
		return Group{}, fmt.Errorf("look up autoscaling group %s: %w", name, err)
	}
	var found struct {
		Groups []struct {
			Name    string `xml:"AutoScalingGroupName"`
			Desired int    `xml:"DesiredCapacity"`
			Tags    []struct {
				Key, Value string
			} `xml:"Tags>member"`
			Instances []Instance `xml:"Instances>member"`
		} `xml:"DescribeAutoScalingGroupsResult>AutoScalingGroups>member"`
	}
	if err := xml.Unmarshal(answer, &found); err != nil {
		return Group{}, fmt.Errorf("look up autoscaling group %s: read the answer: %w", name, err)
	}
	if len(found.Groups) != 1 || found.Groups[0].Name != name {
		return Group{}, fmt.Errorf("look up autoscaling group %s: there is none in %s", name, c.Region)
	}
	g := Group{Tags: map[string]string{}, Desired: found.Groups[0].Desired, Instances: found.Groups[0].Instances}
	for _, tag := range found.Groups[0].Tags {
		g.Tags[tag.Key] = tag.Value
	}
	return g, nil
}

// Terminate ends a machine of a group whose size stays, so that another one takes its place; with fewer the size shrinks with it.
// Protection from scale-in does not protect from it.
func (c Client) Terminate(ctx context.Context, instance string, fewer bool) error {
	form := url.Values{"InstanceId": {instance}, "ShouldDecrementDesiredCapacity": {strconv.FormatBool(fewer)}}
	if _, err := c.scale(ctx, "TerminateInstanceInAutoScalingGroup", form); err != nil {
		return fmt.Errorf("terminate instance %s: %w", instance, err)
	}
	return nil
}

// Resize says how many machines a group should have. AWS refuses what is not between the group's least and most.
func (c Client) Resize(ctx context.Context, group string, size int) error {
	form := url.Values{"AutoScalingGroupName": {group}, "DesiredCapacity": {strconv.Itoa(size)}}
	if _, err := c.scale(ctx, "SetDesiredCapacity", form); err != nil {
		return fmt.Errorf("resize autoscaling group %s to %d: %w", group, size, err)
	}
	return nil
}

// scale calls an action of Auto Scaling. When AWS denies it, the error says which permission is missing.
func (c Client) scale(ctx context.Context, action string, form url.Values) ([]byte, error) {
	form.Set("Action", action)
	form.Set("Version", "2011-01-01")
	answer, err := c.query(ctx, autoScaling, form)
	var r refusal
	if errors.As(err, &r) && (r.code == "AccessDenied" || r.code == "AccessDeniedException" || r.code == "UnauthorizedOperation") {
		return nil, fmt.Errorf("the permission %s:%s is missing: %w", autoScaling, action, err)
	}
	return answer, err
}
