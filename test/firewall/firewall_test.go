package firewall_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// device-api.md 1.2: which interfaces may reach the API, in normal and in local mode.
func TestWhoReachesTheAPI(t *testing.T) {
	lan, vpn := newNeighbour(t, "lan0", 1), newNeighbour(t, "resin-vpn", 2)
	d := managed(t)
	lan.reaches(d.Port, "tcp", false)
	vpn.reaches(d.Port, "tcp", true)
	d.containers()
	d.Get("/ping").Want(t, http.StatusOK, "OK") // by lo

	d.set(vars{localMode: "true"})
	lan.reaches(d.Port, "tcp", true)
	d.Restart()
	lan.reaches(d.Port, "tcp", true)
	d.set(nil)
	lan.reaches(d.Port, "tcp", false)
	vpn.reaches(d.Port, "tcp", true)
	if n := d.CountLogged(notSet); n != 0 {
		t.Errorf("said %d times that it is not set", n)
	}
}

// containers shows from where containers reach the API.
func (d *device) containers() {
	d.t.Helper()
	const port = 8099
	d.set(nil, app(
		d.service("member").Labelled("io.balena.features.supervisor-api", "1"),
		d.service("stranger"),
		d.service("bridged").Composed("network_mode", "bridge"),
		d.service("hosted").Composed("network_mode", "host").Setting("PORT", strconv.Itoa(port)),
	))
	d.WaitSettled(2 * harness.Soon)
	f := func(service, host string, want int) {
		d.t.Helper()
		url := fmt.Sprintf("http://%s:%d/ping", host, d.Port)
		if status, body := harness.FetchFrom(d.t, d.Containers()[service], http.MethodGet, url); status != want {
			d.t.Errorf("%s asks %s: %d %s", service, url, status, body)
		}
	}
	f("member", "10.114.104.1", http.StatusOK)
	f("bridged", "172.17.0.1", http.StatusOK)
	f("stranger", "10.114.104.1", http.StatusBadGateway) // refused
	harness.Until(d.t, harness.Soon, "the API over the network of the host", func() error {
		res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/fetch?url=http://127.0.0.1:%d/ping", port, d.Port))
		if err != nil {
			return err
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
}

// device-api.md 1.2: a device without a cloud is in local mode from its first start on.
func TestDeviceWithoutACloud(t *testing.T) {
	lan := newNeighbour(t, "lan0", 1)
	d := newDevice(t, harness.Setup{})
	d.Start()
	d.accepts(d.Port)
	lan.reaches(d.Port, "tcp", true)
}

// accepts waits until the chain has a rule that accepts a port from everywhere.
func (d *device) accepts(port int) {
	d.t.Helper()
	for _, family := range families {
		harness.Until(d.t, harness.Soon, "the rule of "+family, func() error {
			if !strings.Contains(rules(d.t, family), fmt.Sprintf("-A BALENA-FIREWALL -p tcp -m tcp --dport %d -j ACCEPT\n", port)) {
				return errors.New("none")
			}
			return nil
		})
	}
}

// cloud.md 6.2, HOST_FIREWALL_MODE: what each mode lets in.
func TestModes(t *testing.T) {
	const other, published, hosted = 9999, 8098, 8097
	lan := newNeighbour(t, "lan0", 1)
	serve(t, other)
	serve(t, 22222)
	serve(t, 53)
	echo(t, other)
	d := managed(t)
	// As on balenaOS, where the host's own resolver has this address.
	harness.RunTool(t, "ip", "addr", "add", "10.114.102.1/32", "dev", "lo")
	t.Cleanup(func() { harness.RunTool(t, "ip", "addr", "del", "10.114.102.1/32", "dev", "lo") })
	resolve(t, "10.114.102.1")
	web := d.service("web").Composed("dns", []any{"10.114.102.1"}).Composed("ports", []any{fmt.Sprintf("%d:8080", published)})
	host := d.service("host").Composed("network_mode", "host").Setting("PORT", strconv.Itoa(hosted))

	strict := func(want bool) {
		t.Helper()
		lan.reaches(other, "udp", !want)
		lan.reaches(22222, "tcp", true) // SSH
		lan.pinged()
	}
	strict(false)
	lan.reaches(other, "tcp", true)
	d.set(vars{modeName: "on"}, app(web))
	d.WaitSettled(harness.Soon)
	strict(true)
	lan.reaches(other, "tcp", false)
	lan.reaches(53, "tcp", false)
	lan.reaches(d.Port, "tcp", false)
	d.Get("/ping").Want(t, http.StatusOK, "OK")
	lan.reachesAt(net.JoinHostPort(lan.addrs[0], strconv.Itoa(published)), "tcp", true)
	if _, body, err := harness.Ask(d.Containers()["web"], http.MethodGet, "/lookup?host=nobody.test.", ""); err != nil || !strings.Contains(body, "no such host") {
		t.Errorf("a container asks its host for a name: %s %v", body, err)
	}
	// The host answers a container's questions for names, and nothing else.
	gateway := d.gateway("web")
	for port, want := range map[int]int{53: http.StatusOK, other: http.StatusBadGateway} {
		if status, body := harness.FetchFrom(t, d.Containers()["web"], http.MethodGet, fmt.Sprintf("http://%s:%d/", gateway, port)); status != want {
			t.Errorf("a container asks port %d of its host: %d %s", port, status, body)
		}
	}

	d.set(vars{modeName: "auto"}, app(web))
	strict(false)
	d.WaitLogged(`Applied configuration change {"HOST_FIREWALL_MODE":"auto"}`, 1)
	d.set(vars{modeName: "auto"}, app(web, host))
	strict(true)
	d.WaitSettled(harness.Soon)
	lan.reaches(hosted, "tcp", false) // the host's services are not for others either
	d.Restart()
	strict(true)
	d.set(vars{modeName: "auto"}, app(web))
	strict(false)

	d.set(vars{modeName: "on"}, app(web))
	strict(true)
	d.set(vars{modeName: "strict"}, app(web)) // no mode
	strict(false)
	d.set(vars{modeName: "on"}, app(web))
	strict(true)
	d.set(nil, app(web))
	strict(false)
	d.WaitLogged(`Applied configuration change {"HOST_FIREWALL_MODE":"off"}`, 1)
}

// host.md 9, 16: the list of core services of section 6 in its order, and what each line lets in or not, as a
// neighbour on a network finds it.
func TestCoreServices(t *testing.T) {
	const other = 9999
	lan := newNeighbour(t, "lan0", 1)
	for _, port := range []int{22222, 2375, 53, other} {
		serve(t, port)
	}
	for _, port := range []int{53, 2375, 5353, other} {
		echo(t, port)
	}
	d := managed(t)
	api := d.Port
	d.set(vars{modeName: "on"})
	d.strict(true)
	for i, family := range families {
		want := []string{"-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-m addrtype --src-type LOCAL -j ACCEPT"}
		for _, link := range []string{"resin-vpn", "tun0", "docker0", "lo", "supervisor0"} {
			want = append(want, fmt.Sprintf("-i %s -p tcp -m tcp --dport %d -j ACCEPT", link, api))
		}
		refused, control, lease := "REJECT --reject-with icmp-port-unreachable", "icmp", "-p udp -m udp --sport 67 --dport 68 -j ACCEPT"
		if i == 1 {
			refused, control, lease = "REJECT --reject-with icmp6-port-unreachable", "ipv6-icmp", "-s fe80::/10 -p udp -m udp --dport 546 -j ACCEPT"
		}
		want = append(want, fmt.Sprintf("-p tcp -m tcp --dport %d -j %s", api, refused), "-p tcp -m tcp --dport 22222 -j ACCEPT",
			"-p tcp -m tcp --dport 2375 -j ACCEPT", "-m addrtype --dst-type MULTICAST -j ACCEPT", "-p "+control+" -j ACCEPT")
		for _, link := range []string{"balena0", "br+", "docker0", "supervisor0"} {
			for _, protocol := range []string{"udp", "tcp"} {
				want = append(want, fmt.Sprintf("-i %s -p %s -m %s --dport 53 -j ACCEPT", link, protocol, protocol))
			}
		}
		want = append(want, lease, "-j "+refused)
		if got := chain(t, family, "BALENA-FIREWALL"); !slices.Equal(got, want) {
			t.Errorf("%s has\n%s\nwant\n%s", family, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	for port, want := range map[int]bool{22222: true, 2375: true, api: false, 53: false, other: false} {
		lan.reaches(port, "tcp", want)
	}
	for _, port := range []int{53, 2375, 5353, other} { // also those of services that are reached by multicast
		lan.reaches(port, "udp", false)
	}
	lan.pinged()
	lan.discovered()
	lan.heard(1900) // of discovery of services, for one
	lan.heard(7777)
	d.set(nil)
	d.strict(false)
	lan.reaches(other, "udp", true)
	lan.heard(7777)
	lan.reaches(api, "tcp", false)
}

// gateway is the address of the host in the network of a service.
func (d *device) gateway(service string) string {
	d.t.Helper()
	ip := net.ParseIP(d.Containers()[service].IP()).To4()
	if ip == nil {
		d.t.Fatalf("%s has no address", service)
	}
	return net.IPv4(ip[0], ip[1], ip[2], 1).String()
}

// What others put into the table stays, in its order; there is one jump to our chain, at the front
// when it is first made. What others took away comes back with the next change.
func TestRulesOfOthersStay(t *testing.T) {
	const before, after = "-s 192.0.2.1/32 -j DROP", "-s 192.0.2.2/32 -j DROP"
	const jump = "-j BALENA-FIREWALL"
	of := map[string][2]string{"iptables": {before, after}, "ip6tables": {"-s 2001:db8::1/128 -j DROP", "-s 2001:db8::2/128 -j DROP"}}
	each := func(f func(family, first, second string)) {
		for _, family := range families {
			f(family, of[family][0], of[family][1])
		}
	}
	is := func(want func(first, second string) []string) {
		t.Helper()
		each(func(family, first, second string) {
			harness.Until(t, harness.Soon, "rules of "+family, func() error {
				if got := input(t, family); !slices.Equal(got, want(first, second)) {
					return fmt.Errorf("%q", got)
				}
				return nil
			})
		})
	}
	each(func(family, _, second string) {
		rule := strings.Fields(second)
		harness.RunTool(t, family, append([]string{"-A", "INPUT"}, rule...)...)
		t.Cleanup(func() { harness.RunTool(t, family, append([]string{"-D", "INPUT"}, rule...)...) })
	})
	d := managed(t)
	is(func(_, second string) []string { return []string{jump, second} })
	each(func(family, first, _ string) {
		rule := strings.Fields(first)
		harness.RunTool(t, family, append([]string{"-I", "INPUT"}, rule...)...)
		t.Cleanup(func() { harness.RunTool(t, family, append([]string{"-D", "INPUT"}, rule...)...) })
	})
	d.set(vars{modeName: "on"})
	d.strict(true)
	d.Kill()
	d.Start()
	d.set(nil)
	d.strict(false)
	is(func(first, second string) []string { return []string{first, jump, second} })

	for _, family := range families {
		harness.RunTool(t, family, "-D", "INPUT", "-j", "BALENA-FIREWALL")
		harness.RunTool(t, family, "-F", "BALENA-FIREWALL")
		harness.RunTool(t, family, "-X", "BALENA-FIREWALL")
	}
	d.set(vars{modeName: "on"})
	d.strict(true)
	is(func(first, second string) []string { return []string{jump, first, second} })
}

// strict waits until the end of the chain is that of a mode.
func (d *device) strict(want bool) {
	d.t.Helper()
	end := map[bool]string{false: "-A BALENA-FIREWALL -j RETURN\n", true: "-A BALENA-FIREWALL -j REJECT"}[want]
	for _, family := range families {
		harness.Until(d.t, harness.Soon, "the end of the chain of "+family, func() error {
			if !strings.Contains(rules(d.t, family), end) {
				return errors.New("another")
			}
			return nil
		})
	}
}
