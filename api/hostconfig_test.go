package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/hostos/redsocks"
	"resin-supervisor/update/view"
)

// memoryHost is a host that keeps its settings in memory.
type memoryHost struct {
	name    string
	nameErr error
	proxy   *redsocks.Proxy
	noProxy []string
	err     error // of SetHost
}

func (m *memory) Hostname() (string, error) { return m.host.name, m.host.nameErr }

func (m *memory) Proxy() (*redsocks.Proxy, []string, error) { return m.host.proxy, m.host.noProxy, nil }

func (m *memory) CheckHost(name *string, c redsocks.Change) error {
	_, _, err := c.Apply(m.host.proxy)
	return err
}

func (m *memory) SetHost(name *string, c redsocks.Change) error {
	if name != nil {
		_ = m.record(context.Background(), "name %q", *name)
	}
	if !c.IsEmpty() {
		_ = m.record(context.Background(), "proxy %s", described(c))
	}
	return m.host.err
}

func (m *memory) Blink() { _ = m.record(context.Background(), "blink") }

func (m *memory) EnablePing(on bool) { _ = m.record(context.Background(), "ping %v", on) }

func described(c redsocks.Change) string {
	var words []string
	for i, text := range []*string{c.Type, c.IP, c.Login, c.Password, c.DNS} {
		if text != nil {
			words = append(words, fmt.Sprintf("%s=%q", []string{"type", "ip", "login", "password", "dns"}[i], *text))
		}
	}
	if c.Port != nil {
		words = append(words, fmt.Sprintf("port=%d", *c.Port))
	}
	if c.NoProxy != nil {
		words = append(words, fmt.Sprintf("noProxy=%q", *c.NoProxy))
	}
	if c.Clear {
		words = append(words, "clear")
	}
	return strings.Join(words, " ")
}

const hostConfigPath = "/v1/device/host-config"

// docs/spec/device-api.md 2.15.
func TestHostConfig(t *testing.T) {
	r := start(t)
	get := func(want string) {
		t.Helper()
		wantReply(t, r.do(keyOfA, "GET", hostConfigPath, ""), 200, want)
	}
	r.host.name = "kiosk-3"
	get(`{"network":{"hostname":"kiosk-3"}}`)
	r.host.proxy, r.host.noProxy = &redsocks.Proxy{}, []string{"10.0.0.0/8"}
	get(`{"network":{"hostname":"kiosk-3","proxy":{"noProxy":["10.0.0.0/8"]}}}`)
	r.host.noProxy = nil
	get(`{"network":{"hostname":"kiosk-3","proxy":{}}}`)
	r.host.proxy = &redsocks.Proxy{Type: "socks5", IP: "10.9.8.7", Port: 1080, Login: "u", Password: `<"&>`, DNS: "1.1.1.1:53"}
	get(`{"network":{"hostname":"kiosk-3","proxy":{"type":"socks5","ip":"10.9.8.7","port":1080,"login":"u","password":"<\"&>","dns":"1.1.1.1:53"}}}`)
	r.host.nameErr = errors.New("open /etc/hostname: no such file or directory")
	wantFailure(t, r.do(keyOfA, "GET", hostConfigPath, ""), 503, "open /etc/hostname: no such file or directory")
}

// docs/spec/device-api.md 2.14: how each input is understood.
func TestSetHostConfig(t *testing.T) {
	r := start(t)
	r.host.proxy = &redsocks.Proxy{Type: "socks5", IP: "1.1.1.1", Port: 1}
	for body, want := range map[string]string{
		`{"network":{"hostname":"h1"}}`: `locks false; name "h1"`,
		`{"network":{"hostname":""}}`:   `locks false; name ""`,
		`{"network":{"hostname":null}}`: `locks false; name ""`,
		`{"network":{"proxy":{}}}`:      `locks false; proxy clear`,
		`{"network":{"proxy":null}}`:    `locks false; proxy clear`,
		`{"network":{"proxy":""}}`:      `locks false; proxy clear`,
		`{"network":{"proxy":{"ip":"x","port":"8080"},"hostname":"h"},"force":true}`: `locks true; name "h"; proxy ip="x" port=8080`,
		`{"network":{"proxy":{"port":8080.0},"force":1}}`:                            `locks true; proxy port=8080`,
		`{"network":{"proxy":{"login":12,"password":1e3}}}`:                          `locks false; proxy login="12" password="1e3"`,
		`{"network":{"proxy":{"login":null,"password":""}}}`:                         `locks false; proxy login="" password=""`,
		`{"network":{"proxy":{"dns":true}}}`:                                         `locks false; proxy dns="8.8.8.8:53"`,
		`{"network":{"proxy":{"dns":"1.1.1.1:53"}}}`:                                 `locks false; proxy dns="1.1.1.1:53"`,
		`{"network":{"proxy":{"dns":false}}}`:                                        `locks false; proxy dns=""`,
		`{"network":{"proxy":{"dns":null}}}`:                                         `locks false; proxy dns=""`,
		`{"network":{"proxy":{"noProxy":["10.0.0.0/8","x"]}}}`:                       `locks false; proxy noProxy=["10.0.0.0/8" "x"]`,
		`{"network":{"proxy":{"noProxy":[]}}}`:                                       `locks false; proxy noProxy=[]`,
		`{"network":{"proxy":{"noProxy":""}}}`:                                       `locks false; proxy noProxy=[]`,
		`{"network":{"proxy":{"noProxy":{}}}}`:                                       `locks false; proxy noProxy=[]`,
		`{"network":{}}`:                                                             ``,
		`{"network":{"force":true,"other":1},"other":2}`:                             ``,
		`{"network":{"proxy":{"local_ip":"9.9.9.9","local_port":1,"x":"}"}}}`:        ``,
		`{"network":{"proxy":{"noProxy":null}}}`:                                     ``,
	} {
		wantReply(t, r.do(keyOfB, "PATCH", hostConfigPath, body), 200, "OK")
		if got := r.take(); got != want {
			t.Errorf("%s: asked for %q, want %q", body, got, want)
		}
	}
	wantReply(t, r.send("PATCH", hostConfigPath, "network[hostname]=h&network[proxy][port]=99", "Content-Type: "+kindForm,
		"Authorization: Bearer "+keyOfA), 200, "OK")
	if got := r.take(); got != `locks false; name "h"; proxy port=99` {
		t.Errorf("a form asked for %q", got)
	}
}

// docs/spec/device-api.md 2.14: malformed input is refused before a lock is taken.
func TestSetHostConfigRefuses(t *testing.T) {
	const first = textHostConfig + "\n"
	r := start(t)
	r.host.proxy = &redsocks.Proxy{Type: "socks5", IP: "1.1.1.1", Port: 1}
	for body, want := range map[string]string{
		``:                                    "Expecting Partial<{ hostname, proxy }> at network but instead got: undefined",
		`{}`:                                  "Expecting Partial<{ hostname, proxy }> at network but instead got: undefined",
		`[]`:                                  "Expecting Partial<{ hostname, proxy }> at network but instead got: undefined",
		`{"network":5}`:                       "Expecting Partial<{ hostname, proxy }> at network but instead got: 5",
		`{"network":null}`:                    "Expecting Partial<{ hostname, proxy }> at network but instead got: null",
		`{"network":[]}`:                      "Expecting Partial<{ hostname, proxy }> at network but instead got: []",
		`{"network":{"hostname":5}}`:          "Expecting string at network.hostname but instead got: 5",
		`{"network":{"hostname":{}}}`:         "Expecting string at network.hostname but instead got: {}",
		`{"network":{"proxy":5}}`:             "Expecting { [K in string]: any } at network.proxy.0 but instead got: 5\nExpecting { [K in string]: any } at network.proxy.1 but instead got: 5",
		`{"network":{"proxy":{"dns":""}}}`:    "Expecting one of:\n    AddressString\n    boolean\nat network.proxy.1.dns but instead got: \"\"",
		`{"network":{"proxy":{"dns":":53"}}}`: "Expecting one of:\n    AddressString\n    boolean\nat network.proxy.1.dns but instead got: \":53\"",
		`{"network":{"proxy":{"dns":"1.1.1.1"}}}`:                   "Expecting one of:\n    AddressString\n    boolean\nat network.proxy.1.dns but instead got: \"1.1.1.1\"",
		`{"network":{"proxy":{"dns":5}}}`:                           "Expecting one of:\n    AddressString\n    boolean\nat network.proxy.1.dns but instead got: 5",
		`{"network":{"proxy":{"dns":[]}}}`:                          "Expecting one of:\n    AddressString\n    boolean\nat network.proxy.1.dns but instead got: []",
		`{"network":{"proxy":{"type":true}}}`:                       "Expecting string at network.proxy.0.type but instead got: true",
		`{"network":{"proxy":{"ip":8.0e1}}}`:                        "Expecting string at network.proxy.0.ip but instead got: 8.0e1",
		`{"network":{"proxy":{"type":1}}}`:                          "Expecting string at network.proxy.0.type but instead got: 1",
		`{"network":{"proxy":{"login":["a"]}}}`:                     "Expecting string at network.proxy.0.login but instead got: [\"a\"]",
		`{"network":{"proxy":{"port":1.5}}}`:                        "Expecting port number at network.proxy.0.port but instead got: 1.5",
		`{"network":{"proxy":{"port":"+5"}}}`:                       "Expecting port number at network.proxy.0.port but instead got: \"+5\"",
		`{"network":{"proxy":{"port":65536}}}`:                      "Expecting port number at network.proxy.0.port but instead got: 65536",
		`{"network":{"proxy":{"port":true}}}`:                       "Expecting port number at network.proxy.0.port but instead got: true",
		`{"network":{"proxy":{"port":null}}}`:                       "a proxy needs type, ip and port",
		`{"network":{"proxy":{"ip":"a b"}}}`:                        "ip is neither an IPv4 address nor a host name",
		`{"network":{"proxy":{"noProxy":"x"}}}`:                     "Expecting Array<string> at network.proxy.0.noProxy but instead got: \"x\"",
		`{"network":{"proxy":{"noProxy":[1]}}}`:                     "Expecting Array<string> at network.proxy.0.noProxy but instead got: [1]",
		`{"network":{"proxy":{"noProxy":[null]}}}`:                  "Expecting Array<string> at network.proxy.0.noProxy but instead got: [null]",
		`{"network":{"hostname":` + strings.Repeat("9", 300) + `}}`: "Expecting string at network.hostname but instead got: " + strings.Repeat("9", 200) + "...",
	} {
		got := r.do(keyOfA, "PATCH", hostConfigPath, body)
		wantReply(t, got, 400, first+want)
		if asked := r.take(); asked != "" {
			t.Errorf("%s: asked for %s", body, asked)
		}
	}
	wantReply(t, r.send("PATCH", hostConfigPath, `{"network":{"hostname":"h"}}`, "Content-Type: text/plain", "Authorization: Bearer "+keyOfA),
		400, first+"Expecting Partial<{ hostname, proxy }> at network but instead got: undefined")
}

// docs/spec/device-api.md 2.14: the answers for locks and failures are text.
func TestSetHostConfigFails(t *testing.T) {
	r := start(t)
	const body = `{"network":{"hostname":"h"}}`
	r.memory.err = &view.LockedError{Text: "Lockfile exists for { appId: 12, service: web }"}
	wantReply(t, r.do(keyOfA, "PATCH", hostConfigPath, body), 423, "Lockfile exists for { appId: 12, service: web }")
	if asked := r.take(); asked != "locks false" {
		t.Errorf("asked for %s", asked)
	}
	r.memory.err = nil
	r.host.err = errors.New("write /mnt/boot/config.json: read-only file system")
	wantReply(t, r.do(keyOfA, "PATCH", hostConfigPath, body), 503, "write /mnt/boot/config.json: read-only file system")
	r.host.err = redsocks.ErrIncomplete
	wantReply(t, r.do(keyOfA, "PATCH", hostConfigPath, body), 400, textHostConfig+"\na proxy needs type, ip and port")
	if got := r.send("PATCH", hostConfigPath, body, asJSON); got.status != 401 {
		t.Errorf("without a key: %v", got)
	}
}

// docs/spec/device-api.md 2.3, 2.9 and 4: 12, 147.
func TestBlinkAndTCPPing(t *testing.T) {
	r := start(t)
	wantReply(t, r.do(keyOfA, "POST", "/v1/blink", "{bad"), 200, "OK")
	wantReply(t, r.do(keyOfA, "POST", "/v1/tcp-ping", "{bad"), 204, "")
	wantReply(t, r.do(keyOfA, "DELETE", "/v1/tcp-ping", ""), 204, "")
	if got := r.take(); got != "blink; ping true; ping false" {
		t.Errorf("asked for %s", got)
	}
	for _, row := range []string{"POST /v1/blink", "POST /v1/tcp-ping", "DELETE /v1/tcp-ping"} {
		method, path, _ := strings.Cut(row, " ")
		if got := r.send(method, path, ""); got.status != 401 || got.body != "Unauthorized" {
			t.Errorf("%s without a key: %v", row, got)
		}
	}
	if !slices.Equal(r.asked, nil) {
		t.Errorf("a call without a key asked for %v", r.asked)
	}
}
