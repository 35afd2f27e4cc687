package hostos

import (
	"errors"
	"os"
	"strconv"
	"strings"
)

// Firewall is the host's filter for incoming traffic. Its rules are in their own chain; other rules stay unchanged
// (docs/spec/device-api.md 1.2, docs/spec/cloud.md 6.2).
type Firewall struct {
	Port   int  // TCP port of the device API
	Open   bool // accept API requests on every interface, not only from the VPN and containers
	Strict bool // reject all traffic except for the API and the host's own services
}

// HasFirewall reports whether the host whose root is mounted at root has the program that Apply needs.
func HasFirewall(root string) bool { return programIn(root, "iptables-restore") != "" }

// Apply puts the rules into effect. It runs the host's iptables, so that the rules are of the kind (nftables or legacy)
// that the host's tools show. IPv4 and IPv6 are independent; Apply skips IPv6 on a kernel without it.
func (f Firewall) Apply(root string) error {
	err := f.apply(root, "iptables", f.rules(false))
	if _, none := os.Stat("/proc/net/if_inet6"); none != nil {
		return err
	}
	return errors.Join(err, f.apply(root, "ip6tables", f.rules(true)))
}

// apply puts all rules into effect atomically. It does not move an existing jump to the chain, so that rules that a user
// has put before the jump stay before it.
func (f Firewall) apply(root, program, rules string) error {
	const wait = "--wait=10" // seconds to wait for other programs that change rules
	if runIn(root, program, "", wait, "--check", "INPUT", "--jump", "BALENA-FIREWALL") != nil {
		rules += "-I INPUT -j BALENA-FIREWALL\n"
	}
	rules += "COMMIT\n"
	err := runIn(root, program+"-restore", rules, "--noflush", wait)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return err
	}
	// some kernels lack the REJECT target
	if runIn(root, program+"-restore", strings.ReplaceAll(rules, "-j REJECT", "-j DROP"), "--noflush", wait) == nil {
		return nil
	}
	return err
}

// rules returns the rules of the chain in the format of iptables-restore, in the order of docs/spec/host.md 6. In the
// templates below @ stands for adding a rule.
func (f Firewall) rules(v6 bool) string {
	text, control, leases := beginRules, "icmp", leasesV4
	if v6 {
		control, leases = "ipv6-icmp", leasesV6
	}
	if f.Open {
		text += "@ -p tcp --dport PORT -j ACCEPT\n"
	} else {
		text += closedRules
	}
	text += hostRules + leases
	if f.Strict {
		text += "@ -j REJECT\n"
	} else {
		text += "@ -j RETURN\n"
	}
	return strings.NewReplacer("@", "-A BALENA-FIREWALL", "PORT", strconv.Itoa(f.Port), "CONTROL", control).Replace(text)
}

const (
	// beginRules make or empty the chain, and accept open connections and traffic from the host itself.
	beginRules = `*filter
:BALENA-FIREWALL - [0:0]
-F BALENA-FIREWALL
@ -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
@ -m addrtype --src-type LOCAL -j ACCEPT
`
	closedRules = `@ -i resin-vpn -p tcp --dport PORT -j ACCEPT
@ -i tun0 -p tcp --dport PORT -j ACCEPT
@ -i docker0 -p tcp --dport PORT -j ACCEPT
@ -i lo -p tcp --dport PORT -j ACCEPT
@ -i supervisor0 -p tcp --dport PORT -j ACCEPT
@ -p tcp --dport PORT -j REJECT
`
	// hostRules accept SSH, the engine of a development image, multicast, ICMP (which IPv6 needs for neighbour
	// discovery), and DNS queries of containers to the host. A plus matches any suffix.
	hostRules = `@ -p tcp --dport 22222 -j ACCEPT
@ -p tcp --dport 2375 -j ACCEPT
@ -m addrtype --dst-type MULTICAST -j ACCEPT
@ -p CONTROL -j ACCEPT
@ -i balena0 -p udp --dport 53 -j ACCEPT
@ -i balena0 -p tcp --dport 53 -j ACCEPT
@ -i br+ -p udp --dport 53 -j ACCEPT
@ -i br+ -p tcp --dport 53 -j ACCEPT
@ -i docker0 -p udp --dport 53 -j ACCEPT
@ -i docker0 -p tcp --dport 53 -j ACCEPT
@ -i supervisor0 -p udp --dport 53 -j ACCEPT
@ -i supervisor0 -p tcp --dport 53 -j ACCEPT
`
	// leasesV4 and leasesV6 accept DHCP offers, which connection tracking does not recognize as replies.
	leasesV4 = "@ -p udp --sport 67 --dport 68 -j ACCEPT\n"
	leasesV6 = "@ -s fe80::/10 -p udp --dport 546 -j ACCEPT\n"
)
