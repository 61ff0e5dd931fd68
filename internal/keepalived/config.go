// Package keepalived renders the configuration of keepalived, which keeps the stack's virtual IP on one load balancer
// that serves.
package keepalived

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"devctl/internal/api"
)

// Files returns keepalived's configuration on the balancer self. Peers are the other balancers, statsPort is where
// HAProxy answers /livez, and priority (1–254) must differ between the balancers.
//
// A balancer that dies is replaced after three advertisements of 0.2 s, one whose HAProxy is dead or hung after the
// check has failed twice: both within a second. None takes the address back by itself.
//
// Where a cloud moves the address, keepalived only decides who should hold it. It says so by an address that leads nowhere, and
// takes longer, a second to an advertisement: what comes after it takes seconds as well, and machines of a cloud stop for a
// moment now and then.
func Files(ep api.EndpointSpec, statsPort int, self api.Identity, peers []api.Identity, priority int) []api.File {
	return []api.File{{
		Path:    path.Join(api.ServicesDir, "keepalived.service", "keepalived.conf"),
		Mode:    0o644,
		Content: config(ep, statsPort, self, peers, priority),
	}}
}

func config(ep api.EndpointSpec, statsPort int, self api.Identity, peers []api.Identity, priority int) string {
	device := cmp.Or(ep.Interface, "eth0")
	interval, address := "0.2", fmt.Sprintf("%s/%d dev %s", ep.Address, ep.Prefix, device)
	if ep.Platform.Cloud() {
		device = api.DevicePlaceholder
		interval, address = "1", api.EndpointMarker+"/32 dev lo scope host"
	}
	return fmt.Sprintf(`# The stack's virtual IP on %[1]s. Rendered by devctl.
global_defs {
    router_id %[1]s
    vrrp_version 3
    # The script runs as keepalived does, which has next to no capabilities; 2.2.7 ends itself in a configuration test
    # when it is another user.
    enable_script_security
    script_user root
    # Neighbours that missed the first announcement of a move hear it again.
    vrrp_garp_master_delay 1
    vrrp_garp_master_refresh 10
}

# One run watches for most of a second and ends at the second failure: see the script.
vrrp_script haproxy {
    script "/usr/local/bin/check-haproxy %[2]d"
    interval 1
    timeout 3
    fall 1
    rise 1
    init_fail
}

vrrp_instance endpoint {
    state BACKUP
    nopreempt
    interface %[3]s
    virtual_router_id %[4]d
    priority %[5]d
    advert_int %[6]s
%[7]s    virtual_ipaddress {
        %[8]s
    }
    track_script {
        haproxy
    }
}
`, self.Name, statsPort, device, ep.RouterID, priority, interval, unicast(self, peers), address)
}

// unicast names the peers: neither clouds nor every container network carry multicast. A balancer without peers has
// nobody to tell.
func unicast(self api.Identity, peers []api.Identity) string {
	if len(peers) == 0 {
		return ""
	}
	var out strings.Builder
	fmt.Fprintf(&out, "    unicast_src_ip %s\n    unicast_peer {\n", self.Address)
	for _, p := range peers {
		fmt.Fprintf(&out, "        %s\n", p.Address)
	}
	out.WriteString("    }\n")
	return out.String()
}
