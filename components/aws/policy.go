package aws

import (
	"encoding/json"
	"fmt"

	"devctl/components"
	"devctl/internal/api"
)

// document is an IAM policy. Maps are encoded in the order of their keys: the same policy is the same text.
type document struct {
	Version   string      `json:"Version"`
	Statement []statement `json:"Statement"`
}

type statement struct {
	Sid       string                         `json:"Sid"`
	Effect    string                         `json:"Effect"`
	Principal any                            `json:"Principal,omitempty"` // of what is attached to a resource
	Action    []string                       `json:"Action"`
	Resource  []string                       `json:"Resource,omitempty"`
	Condition map[string]map[string][]string `json:"Condition,omitempty"`
}

func policy(statements ...statement) string {
	text, err := json.Marshal(document{Version: "2012-10-17", Statement: statements})
	if err != nil {
		panic(fmt.Sprintf("encode a policy: %v", err)) // there is nothing in it but text
	}
	return string(text)
}

func bucketARN(bucket string) string { return "arn:aws:s3:::" + bucket }

func objectsARN(bucket, prefix string) string { return bucketARN(bucket) + "/" + prefix + "*" }

// assumePolicy lets machines have a role.
func assumePolicy() string {
	return policy(statement{
		Sid: "Machines", Effect: "Allow", Principal: map[string]string{"Service": "ec2.amazonaws.com"}, Action: []string{"sts:AssumeRole"},
	})
}

// bucketPolicy refuses whoever does not encrypt what is on the wire. It allows nothing.
func bucketPolicy(bucket string) string {
	return policy(statement{
		Sid: "TLSOnly", Effect: "Deny", Principal: "*", Action: []string{"s3:*"},
		Resource:  []string{bucketARN(bucket), objectsARN(bucket, "")},
		Condition: map[string]map[string][]string{"Bool": {"aws:SecureTransport": {"false"}}},
	}, statement{
		Sid: "NoOldTLS", Effect: "Deny", Principal: "*", Action: []string{"s3:*"},
		Resource:  []string{bucketARN(bucket), objectsARN(bucket, "")},
		Condition: map[string]map[string][]string{"NumericLessThan": {"s3:TlsVersion": {"1.2"}}},
	})
}

// endpointPolicy bounds what the VPC's endpoint for S3 is good for: this bucket. Who may do what there is up to the roles.
// Ignition asks for the bucket's region first, which is the right to list it.
func endpointPolicy(bucket string) string {
	return policy(statement{
		Sid: "OwnBucket", Effect: "Allow", Principal: "*",
		Action:   []string{"s3:GetObject", "s3:ListBucket", "s3:PutObject"},
		Resource: []string{bucketARN(bucket), objectsARN(bucket, "")},
	})
}

// servicesOf are the services whose images the machines of a role run.
var servicesOf = map[api.Role][]string{
	api.RoleMain:   {"etcd"},
	api.RoleWorker: {"haproxy", "keepalived"},
	api.RoleData:   {"redis"},
}

// rolePolicy is what the machines of a role may. allocation is the ID of the endpoint's Elastic IP.
func rolePolicy(o Options, stack string, role api.Role, allocation string) string {
	statements := []statement{{
		Sid: "Boot", Effect: "Allow", Action: []string{"s3:GetObject"},
		Resource: []string{
			objectsARN(o.Bucket, components.FolderArtifacts+"/"),
			objectsARN(o.Bucket, folderConfig+"/"+string(role)+"/"),
		},
	}}
	for _, service := range servicesOf[role] { // whichever version of it is deployed
		statements[0].Resource = append(statements[0].Resource, objectsARN(o.Bucket, components.FolderImages+"/"+service+"-"))
	}
	switch role {
	case api.RoleMain:
		founding := objectsARN(o.Bucket, components.Registry(o.CIDR)+"/"+api.RegistryFounding+"/")
		snapshots := objectsARN(o.Bucket, api.BucketSnapshots+"/")
		statements = append(statements,
			statement{Sid: "Founded", Effect: "Allow", Action: []string{"s3:GetObject"}, Resource: []string{founding}},
			// Nothing there is ever written twice: a main node that could, could found a second cluster.
			statement{
				Sid: "FoundOnce", Effect: "Allow", Action: []string{"s3:PutObject"}, Resource: []string{founding},
				Condition: map[string]map[string][]string{"Null": {"s3:if-none-match": {"false"}}},
			},
			statement{Sid: "Snapshot", Effect: "Allow", Action: []string{"s3:PutObject"}, Resource: []string{snapshots}},
			// The number of workers is the controllers'.
			statement{
				Sid: "ScaleWorkers", Effect: "Allow", Action: []string{"autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"},
				Resource: []string{"arn:aws:autoscaling:" + o.Region + ":*:autoScalingGroup:*:autoScalingGroupName/" + api.ResourceName(stack, string(api.RoleWorker))},
			},
			// AWS lets nobody look at one group only.
			statement{Sid: "SeeGroups", Effect: "Allow", Action: []string{"autoscaling:DescribeAutoScalingGroups"}, Resource: []string{"*"}},
		)
	case api.RoleWorker:
		ec2 := func(kind string) string { return "arn:aws:ec2:" + o.Region + ":*:" + kind }
		statements = append(statements,
			statement{Sid: "TakeEndpoint", Effect: "Allow", Action: []string{"ec2:AssociateAddress"}, Resource: []string{ec2("elastic-ip/" + allocation)}},
			statement{
				Sid: "GiveItToWorkers", Effect: "Allow", Action: []string{"ec2:AssociateAddress"},
				Resource: []string{ec2("instance/*"), ec2("network-interface/*")},
				Condition: map[string]map[string][]string{"StringEquals": {
					"aws:ResourceTag/devctl:role":  {string(role)},
					"aws:ResourceTag/devctl:stack": {stack},
				}},
			},
		)
	}
	return policy(statements...)
}
