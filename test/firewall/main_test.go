// Package firewall_test proves what the host lets in, with the real iptables and ip6tables and with
// other hosts at the end of real links (docs/spec/device-api.md 1.2, HOST_FIREWALL_MODE of docs/spec/cloud.md 6.2).
package firewall_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

func TestMain(m *testing.M) { harness.Main(m) }

const (
	modeName  = "RESIN_HOST_FIREWALL_MODE"
	localMode = "RESIN_SUPERVISOR_LOCAL_MODE"
	notSet    = "Firewall mode not applied due to error"
)

type vars map[string]string

// families are the commands of the two families of addresses.
var families = []string{"iptables", "ip6tables"}

// device is a device of a cloud whose host has a firewall.
type device struct {
	*harness.Supervisor
	t *testing.T
}

func newDevice(t *testing.T, setup harness.Setup) *device {
	t.Helper()
	d := &device{harness.NewSupervisor(t, setup), t}
	d.Programs()
	t.Cleanup(func() {
		if t.Failed() {
			for _, family := range families {
				t.Log(family, "\n", rules(t, family))
			}
		}
		for _, family := range families {
			harness.TryTool(family, "-D", "INPUT", "-j", "BALENA-FIREWALL")
			harness.TryTool(family, "-F", "BALENA-FIREWALL")
			harness.TryTool(family, "-X", "BALENA-FIREWALL")
		}
	})
	return d
}

// managed is a device of a cloud that runs.
func managed(t *testing.T) *device {
	t.Helper()
	d := newDevice(t, harness.Setup{Cloud: &fakecloud.Cloud{}})
	d.Assign(harness.Target{})
	d.Start()
	return d
}

// set gives the device a target of its cloud, and has it ask for that.
func (d *device) set(config vars, apps ...harness.App) {
	d.t.Helper()
	d.Assign(harness.Target{Config: config, Apps: apps})
	d.PollNow()
}

// app is an app of services, each of which gets an id.
func app(services ...harness.Service) harness.App {
	a := harness.App{ID: 61, UUID: "5aa0c0ffee5aa0c0ffee5aa0c0ffee61", Name: "shop", Commit: "aaaa1", Release: 1}
	for i, s := range services {
		s.ID, s.ImageID = i+1, i+11
		a.Services = append(a.Services, s)
	}
	return a
}

// service is a service of the fixture app.
func (d *device) service(name string) harness.Service {
	d.t.Helper()
	image := harness.ServerImage("firewall/app:v1").Load(d.t)
	return harness.Service{Name: name, Image: image.Name}
}

// rules are those of the filter table.
func rules(t *testing.T, family string) string {
	t.Helper()
	return harness.RunTool(t, family, "-S") + "\n" // each rule is a line
}

// input are the rules of the chain INPUT.
func input(t *testing.T, family string) []string {
	t.Helper()
	return chain(t, family, "INPUT")
}

// chain are the rules of a chain.
func chain(t *testing.T, family, name string) (list []string) {
	t.Helper()
	for line := range strings.Lines(rules(t, family)) {
		if rule, ok := strings.CutPrefix(strings.TrimSpace(line), "-A "+name+" "); ok {
			list = append(list, rule)
		}
	}
	return list
}

// neighbour is another host, at the other end of a link of the device.
type neighbour struct {
	t     *testing.T
	space string
	addrs []string // of the device as seen from there, IPv4 and IPv6
}

// newNeighbour makes a host behind the link of this name, in a network of its own number.
func newNeighbour(t *testing.T, link string, number int) *neighbour {
	t.Helper()
	n := &neighbour{t: t, space: fmt.Sprintf("%s-%d", link, os.Getpid()), addrs: []string{fmt.Sprintf("10.88.%d.1", number), fmt.Sprintf("fd00:88:%d::1", number)}}
	harness.RunTool(t, "ip", "netns", "add", n.space)
	t.Cleanup(func() { harness.TryTool("ip", "netns", "del", n.space) })
	harness.RunTool(t, "ip", "link", "add", link, "type", "veth", "peer", "name", "net0", "netns", n.space)
	t.Cleanup(func() { harness.TryTool("ip", "link", "del", link) })
	for i, mask := range []string{"/24", "/64"} {
		own := strings.TrimSuffix(n.addrs[i], "1") + "2"
		harness.RunTool(t, "ip", "addr", "add", n.addrs[i]+mask, "dev", link, "nodad")
		harness.RunTool(t, "ip", "-n", n.space, "addr", "add", own+mask, "dev", "net0", "nodad")
	}
	for _, limit := range []string{"ipv4/icmp_ratelimit", "ipv6/icmp/ratelimit"} { // refusals are told at once, each of them
		if err := os.WriteFile("/proc/sys/net/"+limit, []byte("0"), 0); err != nil {
			t.Fatal(err)
		}
	}
	harness.RunTool(t, "ip", "link", "set", link, "up")
	harness.RunTool(t, "ip", "-n", n.space, "link", "set", "net0", "up")
	return n
}

// dial connects from there to the device. The socket belongs to that network, whoever uses it.
func (n *neighbour) dial(network, address string) (net.Conn, error) {
	n.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, errHere := os.Open("/proc/thread-self/ns/net")
	there, errThere := os.Open("/run/netns/" + n.space)
	if err := errors.Join(errHere, errThere); err != nil {
		n.t.Fatal(err)
	}
	defer here.Close()
	defer there.Close()
	into := func(space *os.File) {
		if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
			n.t.Fatal(err)
		}
	}
	into(there)
	defer into(here)
	return net.DialTimeout(network, address, 5*time.Second)
}

// ask says a word to a server of the device and reads what it says.
func (n *neighbour) ask(network, address string) error {
	conn, err := n.dial(network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, "GET /ping HTTP/1.0\r\n\r\n"); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// reaches waits until the device lets the neighbour in to a port, by each family of addresses, or
// refuses it with an answer.
func (n *neighbour) reaches(port int, network string, want bool) {
	n.t.Helper()
	for _, addr := range n.addrs {
		n.reachesAt(net.JoinHostPort(addr, strconv.Itoa(port)), network, want)
	}
}

func (n *neighbour) reachesAt(address, network string, want bool) {
	n.t.Helper()
	harness.Until(n.t, harness.Soon, fmt.Sprintf("%s %s open to %s: %v", network, address, n.space, want), func() error {
		err := n.ask(network, address)
		if want && err == nil || !want && errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		return fmt.Errorf("it is %v", err)
	})
}

// pinged fails the test unless the device answers to an echo request.
func (n *neighbour) pinged() {
	n.t.Helper()
	for i, ping := range []string{"ping", "ping6"} {
		harness.RunTool(n.t, "ip", "netns", "exec", n.space, "busybox", ping, "-c", "1", "-W", "5", n.addrs[i])
	}
}

// discovered fails the test unless both sides find one another again: with IPv6 the neighbour asks by
// multicast who has the device's address, and answers the device, which asks for its own, at that address.
func (n *neighbour) discovered() {
	n.t.Helper()
	link, _, _ := strings.Cut(n.space, "-")
	for i, ping := range []string{"ping", "ping6"} {
		harness.RunTool(n.t, "ip", "neigh", "flush", "dev", link)
		harness.RunTool(n.t, "ip", "-n", n.space, "neigh", "flush", "dev", "net0")
		harness.RunTool(n.t, "busybox", ping, "-c", "1", "-W", "5", strings.TrimSuffix(n.addrs[i], "1")+"2")
		harness.RunTool(n.t, "ip", "neigh", "flush", "dev", link)
		harness.RunTool(n.t, "ip", "-n", n.space, "neigh", "flush", "dev", "net0")
	}
	n.pinged()
}

// heard fails the test unless what the neighbour sends to groups of multicast comes in, by UDP to a port and
// by a protocol that has none (253, for experiments).
func (n *neighbour) heard(port int) {
	n.t.Helper()
	name, _, _ := strings.Cut(n.space, "-")
	link, err := net.InterfaceByName(name)
	if err != nil {
		n.t.Fatal(err)
	}
	harness.TryTool("ip", "-n", n.space, "route", "add", "224.0.0.0/4", "dev", "net0")
	for i, group := range []string{"239.88.0.1", "ff05::8801"} {
		version := []string{"4", "6"}[i]
		member, errMember := net.ListenMulticastUDP("udp"+version, link, &net.UDPAddr{IP: net.ParseIP(group), Port: port})
		raw, errRaw := net.ListenPacket("ip"+version+":253", []string{"0.0.0.0", "::"}[i])
		if err := errors.Join(errMember, errRaw); err != nil {
			n.t.Fatal(err)
		}
		for network, at := range map[string]net.PacketConn{"udp" + version: member, "ip" + version + ":253": raw} {
			address := group
			if at == member {
				address = net.JoinHostPort(group, strconv.Itoa(port))
			}
			harness.Until(n.t, harness.Soon, fmt.Sprintf("%s from %s to %s to come in", network, n.space, address), func() error {
				conn, err := n.dial(network, address)
				if err != nil {
					return err
				}
				defer conn.Close()
				if _, err := io.WriteString(conn, "hello"); err != nil {
					return err
				}
				at.SetReadDeadline(time.Now().Add(time.Second))
				_, _, err = at.ReadFrom(make([]byte, 100))
				return err
			})
		}
		member.Close() // not before: it is what keeps the link in the group
		raw.Close()
	}
}

// serve answers on a TCP port of every address of the host.
func serve(t *testing.T, port int) {
	t.Helper()
	listener, err := net.Listen("tcp", ":"+strconv.Itoa(port))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "here") })}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
}

// echo sends back what comes in on a UDP port of every address of the host.
func echo(t *testing.T, port int) {
	t.Helper()
	for _, network := range []string{"udp4", "udp6"} {
		answer(t, network, ":"+strconv.Itoa(port), func(p []byte) {})
	}
}

// resolve answers at an address that there is no such name.
func resolve(t *testing.T, address string) {
	t.Helper()
	answer(t, "udp4", net.JoinHostPort(address, "53"), func(p []byte) { p[2], p[3] = p[2]|0x80, 0x83 })
}

func answer(t *testing.T, network, address string, change func(p []byte)) {
	t.Helper()
	socket, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	go func() {
		buffer := make([]byte, 2000)
		for {
			n, from, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			change(buffer)
			socket.WriteTo(buffer[:n], from)
		}
	}()
}
