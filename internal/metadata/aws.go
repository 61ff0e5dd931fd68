package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// AWS is the instance metadata service of EC2, version 2: the one that wants a token.
type AWS struct {
	Base string // without a slash at the end
}

// session lets one make several requests with one token, which is good for a minute.
type session struct {
	base  string
	token string
}

func (a AWS) session(ctx context.Context) (session, error) {
	token, err := ask(ctx, http.MethodPut, a.Base+"/latest/api/token", http.Header{"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": {"60"}})
	return session{a.Base, token}, err
}

func (s session) get(ctx context.Context, path string) (string, error) {
	return ask(ctx, http.MethodGet, s.base+"/latest/meta-data/"+path, http.Header{"X-Aws-Ec2-Metadata-Token": {s.token}})
}

// Machine asks who the machine is.
func (a AWS) Machine(ctx context.Context) (Machine, error) {
	s, err := a.session(ctx)
	if err != nil {
		return Machine{}, err
	}
	var m Machine
	for path, into := range map[string]*string{
		"instance-id": &m.ID, "placement/region": &m.Region, "placement/availability-zone": &m.Zone, "local-ipv4": &m.Address,
	} {
		if *into, err = s.get(ctx, path); err != nil {
			return Machine{}, err
		}
	}
	return m.check()
}

// Credentials are those of the instance's role.
type Credentials struct {
	AccessKeyID, SecretAccessKey, Token string
	Expires                             time.Time
}

// Credentials asks for the rights that the machine has.
func (a AWS) Credentials(ctx context.Context) (Credentials, error) {
	const path = "iam/security-credentials/"
	s, err := a.session(ctx)
	if err != nil {
		return Credentials{}, err
	}
	role, err := s.get(ctx, path)
	if err != nil {
		return Credentials{}, err
	}
	text, err := s.get(ctx, path+role)
	if err != nil {
		return Credentials{}, err
	}
	var got struct {
		Code                   string
		AccessKeyID            string `json:"AccessKeyId"`
		SecretAccessKey, Token string
		Expiration             time.Time
	}
	// The cause could quote the answer, and the answer is a secret.
	if json.Unmarshal([]byte(text), &got) != nil {
		return Credentials{}, errors.New("the metadata service's answer about the machine's credentials is no JSON")
	}
	if got.Code != "Success" || got.AccessKeyID == "" || got.SecretAccessKey == "" || got.Token == "" {
		return Credentials{}, fmt.Errorf("the metadata service has no credentials for the machine: code %q", got.Code)
	}
	return Credentials{got.AccessKeyID, got.SecretAccessKey, got.Token, got.Expiration}, nil
}

// Interface is the ID of the machine's first network interface.
func (a AWS) Interface(ctx context.Context) (string, error) {
	s, err := a.session(ctx)
	if err != nil {
		return "", err
	}
	mac, err := s.get(ctx, "mac")
	if err != nil {
		return "", err
	}
	return s.get(ctx, "network/interfaces/macs/"+mac+"/interface-id")
}

// PublicAddress is the public IPv4 of the machine's first network interface, which an Elastic IP is as soon as it is
// associated; "" when there is none.
func (a AWS) PublicAddress(ctx context.Context) (string, error) {
	s, err := a.session(ctx)
	if err != nil {
		return "", err
	}
	address, err := s.get(ctx, "public-ipv4")
	if errors.Is(err, errNone) {
		return "", nil
	}
	return address, err
}
