package compose

import (
	"reflect"
	"strings"
	"testing"

	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/target"
)

func TestAttachment(t *testing.T) {
	endpoint := func(aliases ...string) doc.Endpoint { return doc.Endpoint{Aliases: aliases} }
	const api = `"labels":{"io.resin.features.supervisor-api":"1"}`
	f := func(composition, mode string, networks map[string]doc.Endpoint, warned bool) {
		t.Helper()
		s, warnings := web(t, composition)
		if got := s.Container.Doc.HostConfig.NetworkMode; got != mode {
			t.Errorf("%s: mode %s", composition, got)
		}
		if !reflect.DeepEqual(s.Container.Networks, networks) {
			t.Errorf("%s: networks %+v", composition, s.Container.Networks)
		}
		if (len(warnings) > 0) != warned {
			t.Errorf("%s: warnings %q", composition, warnings)
		}
	}
	type nets = map[string]doc.Endpoint
	f(`{}`, "5aa0_default", nets{"5aa0_default": endpoint("web")}, false)
	f(`{"networks":["front","back"]}`, "5aa0_front", nets{"5aa0_front": endpoint("web"), "5aa0_back": endpoint("web")}, false)
	f(`{"networks":{"front":null,"back":{"aliases":["z","web","b"]}}}`, "5aa0_back",
		nets{"5aa0_front": endpoint("web"), "5aa0_back": endpoint("b", "web", "z")}, false)
	f(`{"networks":{"front":{"ipv4_address":"192.0.2.7","ipv6_address":"fd00::7","link_local_ips":["169.254.1.2","169.254.1.1"]}}}`, "5aa0_front",
		nets{"5aa0_front": {Aliases: []string{"web"}, IPAMConfig: &doc.EndpointIPAM{IPv4Address: "192.0.2.7", IPv6Address: "fd00::7",
			LinkLocalIPs: []string{"169.254.1.1", "169.254.1.2"}}}}, false)
	f(`{"network_mode":"front"}`, "5aa0_front", nets{"5aa0_front": endpoint("web")}, false)
	f(`{"network_mode":"front","networks":["back"]}`, "5aa0_front", nets{"5aa0_front": endpoint("web"), "5aa0_back": endpoint("web")}, false)
	f(`{"network_mode":"host"}`, "host", nil, false)
	f(`{"network_mode":"none"}`, "none", nil, false)
	f(`{"network_mode":"bridge"}`, "bridge", nil, false)
	f(`{"network_mode":"host","networks":["front"]}`, "host", nil, true)
	f(`{"network_mode":"container:abc"}`, "5aa0_default", nets{"5aa0_default": endpoint("web")}, true) // D14
	// conformance 22
	f(`{"networks":["supervisor0","front"]}`, "5aa0_front", nets{"5aa0_front": endpoint("web")}, false)
	f(`{"networks":["supervisor0"]}`, "5aa0_default", nets{"5aa0_default": endpoint("web")}, false)
	f(`{`+api+`}`, "5aa0_default", nets{"5aa0_default": endpoint("web"), "supervisor0": {}}, false)
	f(`{"networks":{"supervisor0":{"aliases":["x"]}},`+api+`}`, "5aa0_default", nets{"5aa0_default": endpoint("web"), "supervisor0": {}}, false)
	f(`{"network_mode":"bridge",`+api+`}`, "bridge", nets{"supervisor0": {}}, false)
	// D25
	f(`{"network_mode":"none",`+api+`}`, "none", nil, false)
	f(`{"network_mode":"host",`+api+`}`, "host", nil, false)
}

// Conformance 23.
func TestHostMode(t *testing.T) {
	s, _ := web(t, `{"network_mode":"host","labels":{"io.balena.features.supervisor-api":"1"}}`)
	d := s.Container.Doc
	if d.Hostname != "kiosk" || environment(&d)["BALENA_SUPERVISOR_HOST"] != "127.0.0.1" {
		t.Errorf("hostname %s, host %s", d.Hostname, environment(&d)["BALENA_SUPERVISOR_HOST"])
	}
	own, _ := web(t, `{"network_mode":"host","hostname":"x"}`)
	if own.Container.Doc.Hostname != "x" {
		t.Errorf("hostname %s", own.Container.Doc.Hostname)
	}
	s.Container.Doc.Hostname = "" // a device without a hostname: the engine fills it in
	c := asMade(t, s)
	c.Config.Hostname = "something"
	if diff := compare(s, ReadContainer(c)); len(diff) != 0 {
		t.Error(diff)
	}
}

// Conformance 24.
func TestOneEndpointAtCreation(t *testing.T) {
	s, _ := web(t, `{"networks":["front","back"],"mac_address":"02:00:00:00:00:0A"}`)
	body, err := CreateBody(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]doc.Endpoint{"5aa0_front": {Aliases: []string{"web"}, MacAddress: "02:00:00:00:00:0a"}}
	if !reflect.DeepEqual(body.NetworkingConfig.EndpointsConfig, want) {
		t.Errorf("endpoints %v", body.NetworkingConfig.EndpointsConfig)
	}
	if got := Secondary(s); !reflect.DeepEqual(got, map[string]doc.Endpoint{"5aa0_back": {Aliases: []string{"web"}}}) {
		t.Errorf("secondary %v", got)
	}
	if s.Container.Doc.NetworkingConfig.EndpointsConfig != nil || s.Container.Networks["5aa0_front"].MacAddress != "" {
		t.Error("the service was changed")
	}
}

// Conformance 25.
func TestSharedNamespace(t *testing.T) {
	app := release(t, `{"network_mode":"service:db","hostname":"x","domainname":"y","labels":{"io.balena.features.supervisor-api":"1"}}`)
	app.Release.Services["db"] = &target.Service{Name: "db", Image: "db"}
	out := resolve(t, app, doc.Config{})
	s := out.Services["web"]
	if s.PeerOf != "db" || !reflect.DeepEqual(s.DependsOn, []Dependency{{Service: "db", Condition: Started}}) || len(s.Container.Networks) != 0 {
		t.Errorf("peer %q, depends on %v, networks %v", s.PeerOf, s.DependsOn, s.Container.Networks)
	}
	if !anyContains(out.Warnings, "hostname and domainname are ignored") {
		t.Errorf("warnings %q", out.Warnings)
	}
	body, err := CreateBody(s, func(service string) string { return "id-of-" + service })
	if err != nil || body.HostConfig.NetworkMode != "container:id-of-db" || body.Hostname != "" || body.NetworkingConfig.EndpointsConfig != nil {
		t.Errorf("%+v %v", body, err)
	}
	if _, err := CreateBody(s, func(string) string { return "" }); err == nil || !strings.Contains(err.Error(), "service db, whose network it shares, has no container") {
		t.Error(err)
	}
	c := asMade(t, s)
	c.Config.Hostname = "hostname-of-db" // the engine copies it at start
	if diff := compare(s, ReadContainer(c)); len(diff) != 0 {
		t.Error(diff)
	}
	c.HostConfig.NetworkMode = "container:earlier-db"
	if diff := compare(s, ReadContainer(c)); len(diff) != 1 || diff[0].Field != "network_mode" {
		t.Error(diff)
	}
}

// Conformance 36.
func TestDefaultNetwork(t *testing.T) {
	f := func(app *target.App, configOnly bool) {
		t.Helper()
		n := resolve(t, app, doc.Config{}).Networks["5aa0_default"]
		if n == nil || n.Doc.ConfigOnly != configOnly {
			t.Errorf("default network %+v, want config only %v", n, configOnly)
		}
	}
	f(release(t, `{}`), false)
	f(release(t, `{"network_mode":"none"}`), false)
	f(release(t, `{"network_mode":"host"}`), true)
	empty := release(t, `{}`)
	empty.Release.Services = nil
	f(empty, true)
	listed := release(t, `{"network_mode":"host"}`)
	listed.Release.Networks["default"] = target.Map{}
	f(listed, false)
	hostIsNotAll := release(t, `{"network_mode":"host"}`)
	hostIsNotAll.Release.Services["b"] = &target.Service{Name: "b"}
	f(hostIsNotAll, false)
}

func network(t *testing.T, composition string) (*Network, []string) {
	t.Helper()
	app := release(t, `{}`)
	app.Release.Networks = map[string]target.Map{"own": decode(t, composition)}
	out := resolve(t, app, doc.Config{})
	return out.Networks["5aa0_own"], out.Warnings
}

func TestNetworkDocument(t *testing.T) {
	n, _ := network(t, `{}`)
	want := doc.NetworkCreate{Name: "5aa0_own", CheckDuplicate: true, Driver: "bridge", IPAM: doc.IPAM{Driver: "default"},
		Labels: map[string]string{"io.balena.supervised": "true", "io.balena.app-id": "31"}}
	if !reflect.DeepEqual(n.Doc, want) {
		t.Errorf("%+v", n.Doc)
	}
	n, warnings := network(t, `{"driver":"macvlan","driverOpts":{"parent":"eth0"},"enable-ipv6":true,"internal":true,"labels":["a=1","io.balena.app-id=5"],
		"ipam":{"driver":"x","options":{"o":1},"config":[{"subnet":"192.0.2.0/24","gateway":"192.0.2.1","ipRange":"192.0.2.0/25","aux_addresses":{"r":"192.0.2.9"}}]},"external":true}`)
	want = doc.NetworkCreate{Name: "5aa0_own", CheckDuplicate: true, Driver: "macvlan", EnableIPv6: true, Internal: true,
		Options: map[string]string{"parent": "eth0"},
		IPAM: doc.IPAM{Driver: "x", Options: map[string]string{"o": "1"}, Config: []doc.IPAMPool{{Subnet: "192.0.2.0/24", Gateway: "192.0.2.1",
			IPRange: "192.0.2.0/25", AuxiliaryAddresses: map[string]string{"r": "192.0.2.9"}}}},
		Labels: map[string]string{"io.balena.supervised": "true", "io.balena.app-id": "31", "a": "1", "io.balena.private.ipam.config": "true"}}
	if !reflect.DeepEqual(n.Doc, want) {
		t.Errorf("%+v", n.Doc)
	}
	if len(warnings) != 1 || warnings[0] != "network own: ignored compose keys: external" {
		t.Errorf("warnings %q", warnings)
	}
}

// Conformance 31, 37 and spec 3.2.
func TestCompareNetwork(t *testing.T) {
	f := func(composition string, have doc.Network, fields ...string) {
		t.Helper()
		want, _ := network(t, composition)
		if have.Labels == nil {
			have.Labels = map[string]string{"io.resin.supervised": "true", "io.balena.app-id": "31"}
		}
		have.Name = want.Name
		var got []string
		for _, d := range CompareNetwork(want, ReadNetwork(&have)) {
			got = append(got, d.Field)
		}
		if !reflect.DeepEqual(got, fields) {
			t.Errorf("%s: %q, want %q", composition, got, fields)
		}
	}
	picked := doc.IPAM{Driver: "default", Config: []doc.IPAMPool{{Subnet: "172.18.0.0/16", Gateway: "172.18.0.1"}}}
	f(`{}`, doc.Network{Driver: "bridge", IPAM: picked})
	f(`{}`, doc.Network{Driver: "bridge", IPAM: picked, Options: map[string]string{}})
	f(`{"config_only":true}`, doc.Network{Driver: "null", ConfigOnly: true})
	f(`{}`, doc.Network{Driver: "null", ConfigOnly: true}, "driver", "config_only")
	f(`{"internal":true,"enable_ipv6":true}`, doc.Network{Driver: "bridge"}, "enable_ipv6", "internal")
	f(`{"driver_opts":{"a":1}}`, doc.Network{Driver: "bridge"}, "driver_opts a")
	f(`{"labels":{"a":1}}`, doc.Network{Driver: "bridge"}, "label a")
	f(`{}`, doc.Network{Driver: "bridge", Labels: map[string]string{"io.balena.supervised": "true"}}, "label io.balena.app-id")
	f(`{"ipam":{"config":[{"subnet":"192.0.2.0/24","gateway":"192.0.2.1"}]}}`, doc.Network{Driver: "bridge", IPAM: picked},
		"ipam.config", "label io.balena.private.ipam.config")
	custom := map[string]string{"io.balena.app-id": "31", "io.balena.private.ipam.config": "true"}
	f(`{"ipam":{"config":[{"subnet":"172.18.0.0/16"}]}}`, doc.Network{Driver: "bridge", IPAM: picked, Labels: custom})
	f(`{}`, doc.Network{Driver: "bridge", IPAM: picked, Labels: custom}, "label io.balena.private.ipam.config")
	f(`{"ipam":{"driver":"x","options":{"k":"v"}}}`, doc.Network{Driver: "bridge"}, "ipam.driver", "ipam.options k")

	// The engine chooses a pool for a family that the target does not name, and has its own spelling (4.2).
	pools := func(list ...doc.IPAMPool) doc.Network {
		return doc.Network{Driver: "bridge", IPAM: doc.IPAM{Driver: "default", Config: list}, Labels: custom}
	}
	four, six := picked.Config[0], doc.IPAMPool{Subnet: "fd00:0:0:51::/64", Gateway: "fd00:0:0:51::1"}
	const short, long = `{"ipam":{"config":[{"subnet":"fd00:0:0:51::/64"}]}}`, `{"ipam":{"config":[{"subnet":"FD00:0:0:51:0:0:0:9/64","gateway":"fd00:0:0:51:0:0:0:1"}]}}`
	for _, composition := range []string{short, long} {
		f(composition, pools(four, six))
		f(composition, pools(six))
		f(composition, pools(four), "ipam.config")
		f(composition, pools(six, doc.IPAMPool{Subnet: "fd00:0:0:52::/64"}), "ipam.config")
	}
	f(long, pools(four, doc.IPAMPool{Subnet: six.Subnet, Gateway: "fd00:0:0:51::2"}), "ipam.config")
	f(`{"ipam":{"config":[{"gateway":"172.18.0.1"}]}}`, pools(four))
	const bits = `{"ipam":{"config":[{"subnet":"10.88.50.7/24","ip_range":"10.88.50.200/25","aux_addresses":{"a":"10.88.50.9"}}]}}`
	for _, subnet := range []string{"10.88.50.7/24", "10.88.50.0/24"} {
		pool := doc.IPAMPool{Subnet: subnet, IPRange: "10.88.50.128/25", AuxiliaryAddresses: map[string]string{"a": "10.88.50.9"}}
		f(bits, pools(pool, six))
		pool.IPRange = "10.88.50.0/25"
		f(bits, pools(pool), "ipam.config")
	}
	f(`{"ipam":{"config":[{"subnet":"10.88.50.0/24"}]}}`, pools(doc.IPAMPool{Subnet: "10.88.50.0/24", IPRange: "10.88.50.0/25"}), "ipam.config")
	f(`{"ipam":{"config":[{"subnet":"not one"}]}}`, pools(four), "ipam.config")
}

// An address is the same in every spelling.
func TestCompareAddressesByValue(t *testing.T) {
	f := func(have string, same bool) {
		t.Helper()
		endpoint := func(six string) map[string]doc.Endpoint {
			return canonicalEndpoints(map[string]doc.Endpoint{"n": {IPAMConfig: &doc.EndpointIPAM{IPv6Address: six, LinkLocalIPs: []string{six}}}})
		}
		if diff := compareEndpoints(endpoint(have), endpoint("fd00:0:0:51:0:0:0:10")); len(diff) == 0 != same {
			t.Errorf("%s: %v", have, diff)
		}
	}
	f("fd00:0:0:51::10", true)
	f("FD00:0:0:51::0010", true)
	f("fd00:0:0:51::11", false)
	f("", false)
}

// Conformance 35.
func TestSupervisorNetwork(t *testing.T) {
	want := SupervisorNetwork()
	ready := doc.Network{Name: "supervisor0", Driver: "bridge", Labels: map[string]string{"foreign": "1"},
		Options: map[string]string{"com.docker.network.bridge.name": "supervisor0", "more": "1"},
		IPAM:    doc.IPAM{Config: []doc.IPAMPool{{Subnet: "10.114.104.0/25", Gateway: "10.114.104.1"}}}}
	if diff := CompareNetwork(want, ReadNetwork(&ready)); len(diff) != 0 {
		t.Error(diff)
	}
	wrong := doc.Network{Name: "supervisor0", Driver: "bridge", IPAM: doc.IPAM{Config: []doc.IPAMPool{{Subnet: "10.114.105.0/25", Gateway: "10.114.105.1"}}}}
	if diff := CompareNetwork(want, ReadNetwork(&wrong)); len(diff) != 3 {
		t.Error(diff)
	}
	if d := want.Doc; d.Driver != "bridge" || !d.CheckDuplicate || d.Labels != nil || d.IPAM.Driver != "default" {
		t.Errorf("%+v", d)
	}
}

// In local mode the app id takes the place of the uuid.
func TestLocalNetworkName(t *testing.T) {
	app := release(t, `{}`)
	app.UUID = ""
	out := resolve(t, app, doc.Config{})
	if out.Networks["31_default"] == nil || out.Services["web"].Container.Doc.HostConfig.NetworkMode != "31_default" {
		t.Errorf("networks %v", sortedKeys(out.Networks))
	}
}
