package compose

import (
	"reflect"
	"strings"
	"testing"

	"resin-supervisor/update/engine/doc"
)

// Conformance 14.
func TestPorts(t *testing.T) {
	f := func(ports, want string) {
		t.Helper()
		s, _ := web(t, `{"ports":`+ports+`}`)
		if got := showPorts(s.Container.Doc.HostConfig.PortBindings); got != want {
			t.Errorf("ports %s = %q, want %q", ports, got, want)
		}
	}
	f(`["80","8081:81/udp","127.0.0.1:9000-9001:90-91"]`, "80->80/tcp 127.0.0.1:9000-9001->90-91/tcp 8081->81/udp")
	f(`[80, 80]`, "80->80/tcp")
	f(`80`, "80->80/tcp")
	f(`["8080:80","8081:80"]`, "8080->80/tcp 8081->80/tcp")
	f(`["3000-3002"]`, "3000-3002->3000-3002/tcp")
	f(`["::1:8080:80","[fe80::1]:81:81"]`, "::1:8080->80/tcp fe80::1:81->81/tcp")
	f(`["127.0.0.1:80"]`, "127.0.0.1:80->80/tcp")
	f(`["80/TCP"]`, "80->80/tcp")
	f(`[{"target":80,"published":8080,"host_ip":"127.0.0.1","protocol":"udp","mode":"host"}]`, "127.0.0.1:8080->80/udp")
	f(`[{"target":"80","published":"8080"},null]`, "8080->80/tcp")
	f(`[{"target":80}]`, "80->80/tcp")
	f(`[]`, "")
	f(`null`, "")
}

func TestPortsOnTheWire(t *testing.T) {
	s, _ := web(t, `{"ports":["8081:81/udp","127.0.0.1:80:80","8000:80"]}`)
	d := s.Container.Doc
	want := map[string][]doc.PortBinding{
		"81/udp": {{HostPort: "8081"}},
		"80/tcp": {{HostPort: "8000"}, {HostIp: "127.0.0.1", HostPort: "80"}},
	}
	if !reflect.DeepEqual(d.HostConfig.PortBindings, want) {
		t.Errorf("bindings %v", d.HostConfig.PortBindings)
	}
	if want := map[string]struct{}{"81/udp": {}, "80/tcp": {}}; !reflect.DeepEqual(d.ExposedPorts, want) {
		t.Errorf("exposed %v", d.ExposedPorts)
	}
}

// D13: a bad port rejects the app, and the error names the entry.
func TestBadPorts(t *testing.T) {
	for _, ports := range []string{
		`["8080-8081:80"]`, `["127.0.0.1::80"]`, `["http"]`, `["80/icmp"]`, `["0:0"]`, `["70000"]`, `["80-79"]`, `["1:2:3:4:x"]`,
		`["host.name:80:80"]`, `["80:"]`, `[""]`, `[80.5]`, `[{"published":80}]`, `[[80]]`, `["8o:80"]`,
		`["1-65535:1-65535","10.0.0.1:1-65535:1-65535"]`,
	} {
		_, err := Resolve(release(t, `{"ports":`+ports+`}`), testFacts(), onDevice(doc.Config{}))
		if err == nil || !strings.Contains(err.Error(), "service web: ports: ") {
			t.Errorf("ports %s: %v", ports, err)
		}
	}
}

// Conformance 15.
func TestExposePublishesNothing(t *testing.T) {
	app := release(t, `{"expose":["1234"]}`)
	s := resolve(t, app, doc.Config{ExposedPorts: map[string]struct{}{"99/tcp": {}}}).Services["web"]
	if h := s.Container.Doc.HostConfig; h.PortBindings != nil || s.Container.Doc.ExposedPorts != nil {
		t.Errorf("published %v %v", h.PortBindings, s.Container.Doc.ExposedPorts)
	}
}
