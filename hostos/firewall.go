package hostos

import (
	"errors"
	"os"
	"strconv"
	"strings"
)

// Firewall is what the host lets in from outside. It is kept in a chain of its own; the rules of
// others stay as they are (docs/spec/device-api.md 1.2, docs/spec/cloud.md 6.2).
type Firewall struct {
	Port   int  // of the device API, TCP
	Open   bool // the API is for every interface, not for the VPN and containers alone
	Strict bool // what is neither for the API nor for the services of the host's own is refused
}

// HasFirewall tells whether the host whose root is mounted at root has the program that Apply needs.
func HasFirewall(root string) bool { return programIn(root, "iptables-restore") != "" }

// Apply makes the host filter so. The programs are the host's own: of the two kinds of rules that
// kernels have, users look for those of their host's. IPv4 and IPv6 do not hinder one another. A kernel
// without IPv6 lets nothing in that way.
func (f Firewall) Apply(root string) error {
	err := f.apply(root, "iptables", f.rules(false))
	if _, none := os.Stat("/proc/net/if_inet6"); none != nil {
		return err
	}
	return errors.Join(err, f.apply(root, "ip6tables", f.rules(true)))
}

// apply puts rules in force, all or none. The jump to them stays where it is: what somebody has put
// before it stays before it.
func (f Firewall) apply(root, program, rules string) error {
	const wait = "--wait=10" // seconds, for others that change rules
	if runIn(root, program, "", wait, "--check", "INPUT", "--jump", "BALENA-FIREWALL") != nil {
		rules += "-I INPUT -j BALENA-FIREWALL\n"
	}
	rules += "COMMIT\n"
	err := runIn(root, program+"-restore", rules, "--noflush", wait)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return err
	}
	// Not every kernel can refuse with an answer.
	if runIn(root, program+"-restore", strings.ReplaceAll(rules, "-j REJECT", "-j DROP"), "--noflush", wait) == nil {
		return nil
	}
	return err
}

// rules are those of the chain in the language of iptables-restore, in the order of docs/spec/host.md 6. In
// the texts @ stands for adding a rule.
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
	// The chain is made, or emptied. Connections go on, and what the host sends to itself comes in.
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
	// SSH, the engine of a development image, all of multicast, control messages (in IPv6 the discovery of
	// neighbours and routers is among them), and containers that ask the host for names. A plus stands for any
	// ending.
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
	// Leases of addresses, whose offers do not look like answers.
	leasesV4 = "@ -p udp --sport 67 --dport 68 -j ACCEPT\n"
	leasesV6 = "@ -s fe80::/10 -p udp --dport 546 -j ACCEPT\n"
)
