package hostos

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"resin-supervisor/hostos/file"
)

// readIPs returns the addresses at which the device can be reached from outside, in the kernel's order
// (docs/spec/cloud.md 4.7). It omits link-local IPv6 addresses, which need a scope id, and interfaces that are down
// or have no link.
func readIPs() ([]string, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	addresses, err := addressesOf()
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	ips := []string{}
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback != 0 || i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 || isInternal(i.Name) {
			continue
		}
		ips = append(ips, reachable(addresses[uint32(i.Index)])...)
	}
	return ips, nil
}

// addressesOf returns the addresses of all interfaces, by the interface's index. It asks the kernel once;
// net.Interface.Addrs would ask once per interface.
func addressesOf() (map[uint32][]net.IP, error) {
	answer, err := syscall.NetlinkRIB(syscall.RTM_GETADDR, syscall.AF_UNSPEC)
	if err != nil {
		return nil, err
	}
	return parseAddresses(answer)
}

// parseAddresses parses the kernel's answer, a list of netlink messages.
func parseAddresses(answer []byte) (map[uint32][]net.IP, error) {
	messages, err := syscall.ParseNetlinkMessage(answer)
	if err != nil {
		return nil, err
	}
	byIndex := make(map[uint32][]net.IP)
	for i := range messages {
		m := &messages[i]
		if m.Header.Type != syscall.RTM_NEWADDR || len(m.Data) < syscall.SizeofIfAddrmsg {
			continue
		}
		if ip := ownAddress(m.Data[syscall.SizeofIfAddrmsg:]); ip != nil {
			index := binary.NativeEndian.Uint32(m.Data[4:]) // struct ifaddrmsg
			byIndex[index] = append(byIndex[index], ip)
		}
	}
	return byIndex, nil
}

// ownAddress returns the interface's own address; a point-to-point link also has the address of the other end. It
// parses the attributes itself, because syscall.ParseNetlinkRouteAttr panics on a truncated one.
func ownAddress(attributes []byte) net.IP {
	var ip net.IP
	for len(attributes) >= syscall.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(attributes))
		kind := binary.NativeEndian.Uint16(attributes[2:])
		if size < syscall.SizeofRtAttr || size > len(attributes) {
			break
		}
		value := attributes[syscall.SizeofRtAttr:size]
		if len(value) == net.IPv4len || len(value) == net.IPv6len {
			if kind == syscall.IFA_LOCAL || kind == syscall.IFA_ADDRESS && ip == nil {
				ip = value
			}
		}
		attributes = attributes[min((size+3)&^3, len(attributes)):]
	}
	return ip
}

func reachable(addresses []net.IP) []string {
	var ips []string
	for _, ip := range addresses {
		if ip.To4() == nil && ip.IsLinkLocalUnicast() {
			continue
		}
		ips = append(ips, ip.String())
	}
	return ips
}

// readMACs returns the hardware addresses of the Ethernet interfaces in dir (/sys/class/net), in upper case, sorted by
// interface name (docs/spec/cloud.md 4.7). It skips members of a bridge or bond, and unreadable interfaces.
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

// readMAC returns the hardware address of an interface, empty if the interface is to be skipped.
func readMAC(dir string) string {
	kind, err := file.Read(filepath.Join(dir, "type"), file.Small)
	if err != nil || strings.TrimSpace(string(kind)) != "1" {
		return ""
	}
	if _, err := os.Lstat(filepath.Join(dir, "master")); err == nil {
		return ""
	}
	address, err := file.Read(filepath.Join(dir, "address"), file.Small)
	if err != nil {
		return ""
	}
	return strings.ToUpper(strings.TrimSpace(string(address)))
}

// isInternal reports whether an interface belongs to the engine, the VPN or the supervisor, by the pattern of
// docs/spec/cloud.md 4.7.
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
