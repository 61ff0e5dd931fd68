package metadata

import (
	"context"
	"errors"
	"net/http"
)

// DigitalOcean is the metadata service of droplets.
type DigitalOcean struct {
	Base string // without a slash at the end
}

func (d DigitalOcean) get(ctx context.Context, path string) (string, error) {
	return ask(ctx, http.MethodGet, d.Base+"/metadata/v1/"+path, nil)
}

// Machine asks who the machine is.
func (d DigitalOcean) Machine(ctx context.Context) (Machine, error) {
	var m Machine
	var err error
	for path, into := range map[string]*string{"id": &m.ID, "region": &m.Region, "interfaces/private/0/ipv4/address": &m.Address} {
		if *into, err = d.get(ctx, path); err != nil {
			return Machine{}, err
		}
	}
	m.Zone = m.Region
	return m.check()
}

// PublicAddress is the reserved IP that is assigned to the droplet, "" when there is none.
func (d DigitalOcean) PublicAddress(ctx context.Context) (string, error) {
	active, err := d.get(ctx, "reserved_ip/ipv4/active")
	if err != nil || active != "true" {
		if errors.Is(err, errNone) {
			err = nil
		}
		return "", err
	}
	return d.get(ctx, "reserved_ip/ipv4/ip_address")
}
