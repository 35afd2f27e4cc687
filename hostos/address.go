package hostos

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// readIPs lists the addresses under which the device can be reached from outside, in the kernel's
// order (spec/cloud.md 4.7). Link-local IPv6 is left out: it has a scope id. An interface that is
// down or without a link has no address to offer.
func readIPs() ([]string, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	ips := []string{}
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback != 0 || i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 || isInternal(i.Name) {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue // the interface went away meanwhile
		}
		ips = append(ips, reachable(addresses)...)
	}
	return ips, nil
}

func reachable(addresses []net.Addr) []string {
	var ips []string
	for _, address := range addresses {
		network, ok := address.(*net.IPNet)
		if !ok || network.IP.To4() == nil && network.IP.IsLinkLocalUnicast() {
			continue
		}
		ips = append(ips, network.IP.String())
	}
	return ips
}

// readMACs lists the hardware addresses of the Ethernet-like interfaces in dir (/sys/class/net) that
// belong to no bridge or bond, in upper case, by interface name (spec/cloud.md 4.7). Interfaces that
// cannot be read are skipped.
func readMACs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err // names operation and path
	}
	macs, seen := []string{}, map[string]bool{"": true}
	for _, entry := range entries {
		mac := readMAC(filepath.Join(dir, entry.Name()))
		if isInternal(entry.Name()) || seen[mac] {
			continue
		}
		seen[mac] = true
		macs = append(macs, mac)
	}
	return macs, nil
}

// readMAC returns an empty text for an interface that does not count.
func readMAC(dir string) string {
	kind, err := os.ReadFile(filepath.Join(dir, "type"))
	if err != nil || strings.TrimSpace(string(kind)) != "1" {
		return ""
	}
	if _, err := os.Lstat(filepath.Join(dir, "master")); err == nil {
		return ""
	}
	address, err := os.ReadFile(filepath.Join(dir, "address"))
	if err != nil {
		return ""
	}
	return strings.ToUpper(strings.TrimSpace(string(address)))
}

// isInternal reports whether the name is one of the interfaces that the engine, the VPN and the
// supervisor make for themselves (the pattern of spec/cloud.md 4.7).
func isInternal(name string) bool {
	switch name {
	case "lo", "resin-vpn", "resin-dns", "supervisor0", "balena-redsocks", "resin-redsocks":
		return true
	}
	if id, found := strings.CutPrefix(name, "br-"); found {
		return len(id) == 12 && strings.Trim(id, "0123456789abcdef") == ""
	}
	for _, prefix := range []string{"balena", "docker", "rce", "tun"} {
		if number, found := strings.CutPrefix(name, prefix); found {
			return number != "" && strings.Trim(number, "0123456789") == ""
		}
	}
	return false
}
