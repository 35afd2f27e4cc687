package hostos

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Firewall is what the host lets in from outside. It is kept in a chain of its own; the rules of
// others stay as they are (spec/device-api.md 1.2, spec/cloud.md 6.2).
type Firewall struct {
	Port   int  // of the device API, TCP
	Open   bool // the API is for every interface, not for the VPN and containers alone
	Strict bool // what is neither for the API nor for the services of the host's own is refused
}

const firewallChain = "BALENA-FIREWALL"

// HasFirewall tells whether the host whose root is mounted at root has the program that Apply needs.
func HasFirewall(root string) bool {
	for _, dir := range [...]string{"usr/sbin", "sbin"} {
		// Not what a link leads to: that is meant for a process of the host.
		if _, err := os.Lstat(filepath.Join(root, dir, "iptables-restore")); err == nil {
			return true
		}
	}
	return false
}

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
	if runIn(root, program, "", wait, "--check", "INPUT", "--jump", firewallChain) != nil {
		rules += "-I INPUT -j " + firewallChain + "\n"
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

// rules are those of the chain in the language of iptables-restore.
func (f Firewall) rules(v6 bool) string {
	var b strings.Builder
	b.WriteString("*filter\n:" + firewallChain + " - [0:0]\n-F " + firewallChain + "\n")
	add := func(rule string) { b.WriteString("-A " + firewallChain + " " + rule + "\n") }
	add("-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
	add("-m addrtype --src-type LOCAL -j ACCEPT")

	api := "-p tcp --dport " + strconv.Itoa(f.Port)
	if f.Open {
		add(api + " -j ACCEPT")
	} else {
		for _, name := range [...]string{"resin-vpn", "tun0", "docker0", "lo", "supervisor0"} {
			add("-i " + name + " " + api + " -j ACCEPT")
		}
		add(api + " -j REJECT")
	}

	add("-p tcp --dport 22222 -j ACCEPT") // SSH
	add("-p udp --dport 5353 -j ACCEPT")  // multicast DNS
	// The host answers the containers' questions for names. A plus stands for any ending.
	for _, bridge := range [...]string{"docker0", "balena0", "supervisor0", "br-+"} {
		add("-i " + bridge + " -p udp --dport 53 -j ACCEPT")
		add("-i " + bridge + " -p tcp --dport 53 -j ACCEPT")
	}
	// What keeps the host on the network: control messages, in IPv6 the discovery of neighbours and
	// routers too; groups of multicast; leases, whose offers do not look like answers.
	if v6 {
		add("-p ipv6-icmp -j ACCEPT")
		add("-s fe80::/10 -p udp --dport 546 -j ACCEPT")
	} else {
		add("-p icmp -j ACCEPT")
		add("-p 2 -j ACCEPT") // IGMP, whose name not every host knows
		add("-p udp --sport 67 --dport 68 -j ACCEPT")
	}

	if f.Strict {
		add("-j REJECT")
	} else {
		add("-j RETURN")
	}
	return b.String()
}
