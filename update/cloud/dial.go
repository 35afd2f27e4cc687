package cloud

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// addressTimeout limits the attempt to connect to one of several addresses (docs/spec/cloud.md 0.2).
const addressTimeout = 5 * time.Second

// Dial connects like a net.Dialer, but resolves names that end in .local by multicast DNS. The resolver of a
// container does not know these names (docs/spec/cloud.md 0.2).
func Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	var ips []netip.Addr
	if strings.HasSuffix(strings.ToLower(strings.TrimSuffix(host, ".")), ".local") {
		ips, err = resolveMDNS(ctx, host)
	} else {
		ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	for i, ip := range ips {
		limited, cancel := ctx, context.CancelFunc(func() {})
		if i+1 < len(ips) {
			limited, cancel = context.WithTimeout(ctx, addressTimeout)
		}
		conn, err = new(net.Dialer).DialContext(limited, network, net.JoinHostPort(ip.Unmap().String(), port))
		cancel()
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	return conn, err
}

// mdnsGroup is the multicast address that answers for .local names.
var mdnsGroup = netip.MustParseAddr("224.0.0.251")

const (
	mdnsPort    = 5353
	mdnsTries   = 3
	mdnsTimeout = time.Second
)

// resolveMDNS resolves a name by multicast DNS, with a one-shot query on every interface (RFC 6762 5.1). The
// owner of the name answers to the port that the query came from.
func resolveMDNS(ctx context.Context, host string) ([]netip.Addr, error) {
	question, err := dnsQuestion(host)
	if err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	defer context.AfterFunc(ctx, func() { socket.Close() })()
	answer := make([]byte, 1500)
	for range mdnsTries {
		if err = sendOnAllInterfaces(socket, question); err != nil {
			break
		}
		_ = socket.SetReadDeadline(time.Now().Add(mdnsTimeout))
		for {
			n, readErr := socket.Read(answer)
			if readErr != nil {
				err = readErr
				break
			}
			if ips := dnsAddresses(answer[:n], host); len(ips) > 0 {
				return ips, nil
			}
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		err = errors.New("no device on the network answers to this name")
	}
	return nil, fmt.Errorf("look up %s: %w", host, err)
}

// sendOnAllInterfaces sends a query on every network interface that is up.
func sendOnAllInterfaces(socket *net.UDPConn, question []byte) error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	sent := false
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&(net.FlagMulticast|net.FlagLoopback) == 0 {
			continue
		}
		_ = raw.Control(func(fd uintptr) {
			err = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(i.Index)})
		})
		if err == nil {
			_, err = socket.WriteToUDPAddrPort(question, netip.AddrPortFrom(mdnsGroup, mdnsPort))
		}
		sent = sent || err == nil
	}
	if sent {
		return nil
	}
	return errors.Join(errors.New("no network interface could send the query"), err)
}

// Types of DNS records.
const (
	typeA    = 1
	typeAAAA = 28
)

// dnsQuestion builds a query for the IPv4 and IPv6 addresses of a name.
func dnsQuestion(host string) ([]byte, error) {
	message := []byte{0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0}
	for _, kind := range [...]uint16{typeA, typeAAAA} {
		for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
			if len(label) == 0 || len(label) > 63 {
				return nil, fmt.Errorf("%q is not a host name", host)
			}
			message = append(append(message, byte(len(label))), label...)
		}
		message = binary.BigEndian.AppendUint16(append(message, 0), kind)
		message = binary.BigEndian.AppendUint16(message, 0x8001) // class IN, unicast response wanted
	}
	return message, nil
}

// dnsAddresses returns the addresses of a name in an answer, IPv4 first. It omits link-local IPv6 addresses:
// they need an interface.
func dnsAddresses(m []byte, host string) []netip.Addr {
	if len(m) < 12 || m[2]&0x80 == 0 {
		return nil
	}
	count := func(at int) int { return int(binary.BigEndian.Uint16(m[at:])) }
	at, ok := 12, true
	for range count(4) {
		if _, at, ok = dnsName(m, at); !ok {
			return nil
		}
		at += 4
	}
	var four, six []netip.Addr
	for range count(6) + count(8) + count(10) {
		name := ""
		if name, at, ok = dnsName(m, at); !ok || at+10 > len(m) {
			break
		}
		kind, size := count(at), count(at+8)
		if at += 10; at+size > len(m) {
			break
		}
		ip, valid := netip.AddrFromSlice(m[at : at+size])
		at += size
		if !valid || !strings.EqualFold(name, strings.TrimSuffix(host, ".")) {
			continue
		}
		switch {
		case kind == typeA && ip.Is4():
			four = append(four, ip)
		case kind == typeAAAA && ip.Is6() && !ip.IsLinkLocalUnicast():
			six = append(six, ip)
		}
	}
	return append(four, six...)
}

// dnsName reads a name, follows compression pointers, and returns the position after the name.
func dnsName(m []byte, at int) (name string, next int, ok bool) {
	for jumps := 0; at < len(m) && jumps < 16; {
		size := int(m[at])
		switch {
		case size == 0:
			if next == 0 {
				next = at + 1
			}
			return strings.TrimSuffix(name, "."), next, true
		case size >= 0xc0 && at+1 < len(m):
			if next == 0 {
				next = at + 2
			}
			at = (size&0x3f)<<8 | int(m[at+1])
			jumps++
		case size < 64 && at+1+size <= len(m):
			name += string(m[at+1:at+1+size]) + "."
			at += 1 + size
		default:
			return "", 0, false
		}
	}
	return "", 0, false
}
