package controller

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"time"

	"devctl/internal/api"
	"devctl/internal/pki"
	"devctl/internal/plan"
)

// postJoin gives a new node a certificate of its own, and makes it known to etcd.
func (c *controller) postJoin(w http.ResponseWriter, r *http.Request) error {
	var req api.JoinRequest
	if err := readJSON(r, &req); err != nil {
		return err
	}
	bootstrap, _ := holderOf(r)
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return fmt.Errorf("read the address of a client: %w", err)
	}
	if err := checkJoin(c.self.Stack, bootstrap, peer, req.Identity); err != nil {
		return err
	}
	s, err := c.read(r.Context())
	if err != nil {
		return c.unavailable(r.Context(), err)
	}
	if err := s.checkPlace(req.Identity); err != nil {
		return err
	}
	certificate, err := c.authority.Sign(req.CSR, pki.Profile{
		CommonName: req.Name, Organization: "devctl:" + string(req.Role), Addresses: []string{req.Address}, Server: true, Client: true,
	}, time.Now())
	if err != nil {
		return &api.Error{Status: http.StatusBadRequest, Message: err.Error()}
	}
	ctx, cancel := context.WithTimeout(r.Context(), authTimeout)
	defer cancel()
	if err := c.ensureNodeUser(ctx, req.Name, req.Role); err != nil {
		return c.unavailable(r.Context(), err)
	}
	c.log.Info("node has a certificate", "node", req.Name, "address", req.Address)
	writeJSON(w, http.StatusOK, api.JoinResponse{Certificate: certificate})
	return nil
}

// checkJoin checks a request against itself: the certificate's role, the name's form, and that the node has the
// address that it says it has.
func checkJoin(stack, bootstrap, peer string, id api.Identity) error {
	refuse := func(format string, args ...any) error {
		return &api.Error{Status: http.StatusForbidden, Message: fmt.Sprintf(format, args...)}
	}
	if id.Stack != stack {
		return refuse("%q is a node of stack %q, and this is stack %q", id.Name, id.Stack, stack)
	}
	if id.Role != api.RoleWorker && id.Role != api.RoleData {
		return refuse("nodes of role %q do not join: main nodes make their own certificates", id.Role)
	}
	if bootstrap != "bootstrap-"+string(id.Role) {
		return refuse("the certificate of %q is not for nodes of role %q", bootstrap, id.Role)
	}
	asked, err := netip.ParseAddr(id.Address)
	if err != nil || !asked.Is4() {
		return refuse("%q is no IPv4 address", id.Address)
	}
	if from, err := netip.ParseAddr(peer); err != nil || from.Unmap() != asked {
		return refuse("%s asks from %s for a certificate for %s", id.Name, peer, id.Address)
	}
	return nil
}

// checkPlace checks a node against the others: a node that the deployment names must be as it says, and neither a name
// nor an address may be another's.
func (s state) checkPlace(id api.Identity) error {
	conflict := func(format string, args ...any) error {
		return &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf(format, args...)}
	}
	var d api.Deployment
	if s.deployment != nil {
		d = *s.deployment
	}
	if id.Role == api.RoleWorker && d.Workers != nil {
		if !plan.IsElastic(d, id) {
			return &api.Error{Status: http.StatusForbidden, Message: fmt.Sprintf("%s at %s is no elastic worker of the stack: those are in %s, and called after the end of their machine's ID", id.Name, id.Address, d.Workers.Network)}
		}
	} else if !regexp.MustCompile(`^` + string(id.Role) + `-[1-9][0-9]{0,3}$`).MatchString(id.Name) {
		return &api.Error{Status: http.StatusForbidden, Message: fmt.Sprintf("%q is no name of a node of role %q: want %s-1, %s-2 …", id.Name, id.Role, id.Role, id.Role)}
	}
	for _, n := range d.Nodes {
		if n.Name == id.Name && n.Address != id.Address {
			return conflict("the deployment has %s at %s, not at %s", n.Name, n.Address, id.Address)
		}
		if n.Name != id.Name && n.Address == id.Address {
			return conflict("the deployment has %s at %s, not %s", n.Name, n.Address, id.Name)
		}
	}
	for _, n := range s.nodes {
		if n.Name == id.Name && n.Address != id.Address {
			return conflict("%s is alive at %s; it cannot be at %s too", n.Name, n.Address, id.Address)
		}
		if n.Name != id.Name && n.Address == id.Address {
			return conflict("%s is alive at %s; %s cannot be there too", n.Name, n.Address, id.Name)
		}
	}
	return nil
}
