package host_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"resin-supervisor/test/harness"
)

const unit = `{"type":"socks5","ip":"10.9.8.7","port":1080}`

// docs/spec/device-api.md 4: 123, 124, 132, 136; docs/spec/cloud.md 10: 8.
func TestHostname(t *testing.T) {
	h := newHost(t, harness.Setup{Config: map[string]any{"foreign": map[string]any{"a": 1}, "wifiSsid": "<x>"}})
	h.is(`{"hostname":"testhost"}`)
	h.set(`{"hostname":"h1"}`)
	if h.name() != "h1" || h.conf() != "" {
		t.Errorf("config.json says %q, redsocks.conf %q", h.name(), h.conf())
	}
	h.is(`{"hostname":"testhost"}`) // the host has not applied it
	for _, empty := range []string{`""`, `null`} {
		h.set(`{"hostname":"h1"}`)
		h.set(`{"hostname":` + empty + `}`)
		if h.name() != "0123456" {
			t.Errorf("%s became %q", empty, h.name())
		}
	}
	// What another process wrote meanwhile stays.
	config := h.ReadFile("boot/config.json")
	h.WriteFile("boot/config.json", strings.Replace(config, "{", `{"late":[1,2],`, 1))
	h.set(`{"hostname":"h2"}`)
	config = h.ReadFile("boot/config.json")
	for _, part := range []string{`"late":[1,2]`, `"foreign":{"a":1}`, `"hostname":"h2"`} {
		if !strings.Contains(config, part) {
			t.Errorf("%s is not in %s", part, config)
		}
	}
	before := h.files()
	if answer := h.patch(`{"network":{"hostname":5}}`); answer.Status != 400 || !strings.Contains(answer.Body, "network.hostname") {
		t.Errorf("a number: %d %s", answer.Status, answer.Body)
	}
	for _, name := range []string{"-a", "a b", "a_b", "a;b", "a..b"} {
		if answer := h.patch(`{"network":{"hostname":"` + name + `","proxy":` + unit + `}}`); answer.Status != 400 {
			t.Errorf("%s: %d %s", name, answer.Status, answer.Body)
		}
	}
	if h.files() != before {
		t.Error("a refused name changed something")
	}
	h.Restart()
	if h.name() != "h2" {
		t.Errorf("after a restart: %q", h.name())
	}
}

// docs/spec/device-api.md 4: 125 to 130, 135, 136.
func TestProxySettings(t *testing.T) {
	h := newHost(t, harness.Setup{})
	shown := func(rest string) string {
		return `{"hostname":"testhost","proxy":{"type":"socks5","ip":"10.9.8.7","port":1080` + rest + `}}`
	}
	h.set(`{"proxy":` + unit + `}`)
	h.is(shown(""))
	want := "base {\n\tlog_debug = off;\n\tlog_info = on;\n\tlog = stderr;\n\tdaemon = off;\n\tredirector = iptables;\n}\n\n" +
		"redsocks {\n\ttype = socks5;\n\tip = 10.9.8.7;\n\tport = 1080;\n\tlocal_ip = 127.0.0.1;\n\tlocal_port = 12345;\n}\n"
	if h.conf() != want {
		t.Errorf("redsocks.conf is\n%s", h.conf())
	}
	h.set(`{"proxy":{"port":"1081"}}`)
	h.is(strings.Replace(shown(""), "1080", "1081", 1))
	h.set(`{"proxy":{"port":1080,"ip":"x"}}`)
	h.is(strings.Replace(shown(""), "10.9.8.7", "x", 1))
	const odd = `a \"b\" 'c' \\ # ; } { ü`
	h.set(`{"proxy":{"ip":"10.9.8.7","login":"` + odd + `","password":"` + odd + `"}}`)
	h.set(`{"proxy":{"port":1080}}`) // quotes survive the next change
	h.is(shown(`,"login":"` + odd + `","password":"` + odd + `"`))
	accepted(t, h.conf())
	h.set(`{"proxy":{"login":"","password":null}}`)
	h.is(shown(""))
	for _, dns := range [][2]string{{"true", `,"dns":"8.8.8.8:53"`}, {`"1.1.1.1:53"`, `,"dns":"1.1.1.1:53"`}, {"false", ""}} {
		h.set(`{"proxy":{"dns":` + dns[0] + `}}`)
		h.is(shown(dns[1]))
		if section := "dnsu2t {\n\tremote_ip = "; strings.Contains(h.conf(), section) != (dns[1] != "") {
			t.Errorf("dns %s:\n%s", dns[0], h.conf())
		}
	}
	before := h.conf()
	for range 2 {
		h.set(`{"proxy":{"noProxy":["10.0.0.0/8","192.0.2.7"]}}`)
		h.is(shown(`,"noProxy":["10.0.0.0/8","192.0.2.7"]`))
		if h.conf() != before || h.noProxy() != "10.0.0.0/8\n192.0.2.7\n" {
			t.Errorf("%s\n%s", h.conf(), h.noProxy())
		}
	}
	h.set(`{"proxy":{"noProxy":null}}`)
	h.is(shown(`,"noProxy":["10.0.0.0/8","192.0.2.7"]`))
	h.set(`{"proxy":{"noProxy":[]}}`)
	h.is(shown(""))
	for _, empty := range []string{"{}", "null", `""`} {
		h.set(`{"proxy":{"type":"http-connect","ip":"10.9.8.7","port":1080,"dns":true,"noProxy":["10.0.0.0/8"]}}`)
		h.set(`{"proxy":` + empty + `}`)
		h.is(`{"hostname":"testhost"}`)
		if left, _ := os.ReadDir(h.Path("boot/system-proxy")); len(left) > 0 {
			t.Errorf("%s left %v", empty, left)
		}
	}
	h.WriteFile("boot/system-proxy/no_proxy", "10.0.0.0/8\n")
	h.is(`{"hostname":"testhost"}`)
	h.WriteFile("boot/system-proxy/redsocks.conf", "not a file of redsocks")
	h.is(`{"hostname":"testhost","proxy":{"noProxy":["10.0.0.0/8"]}}`)
}

// host.md 8: a login and a password may come with the quotes of the file, and have one pair of them there. A
// file with an unknown line without its semicolon, which redsocks refuses, is shown, and a part of a proxy
// mends it, whichever.
func TestProxyOfOthers(t *testing.T) {
	h := newHost(t, harness.Setup{})
	h.set(`{"proxy":{"type":"socks5","ip":"10.9.8.7","port":1080,"login":"\"foo\"","password":"\"p w"}}`)
	const shown = `{"hostname":"testhost","proxy":{"type":"socks5","ip":"10.9.8.7","port":1080,"login":"foo","password":"p w"`
	h.is(shown + "}}")
	good := h.conf()
	if !strings.Contains(good, "\tlogin = \"foo\";\n\tpassword = \"p w\";\n") {
		t.Errorf("redsocks.conf is\n%s", good)
	}
	accepted(t, good)
	for _, line := range []string{"\tfoo = bar\n", "\tfoo = \"bar\"\n", "\tfoo\n"} {
		for _, change := range []string{`"port":1080`, `"dns":false`, `"login":"foo"`, `"noProxy":["10.0.0.0/8"]`} {
			odd := strings.Replace(good, "\tlocal_ip", line+"\tlocal_ip", 1)
			h.WriteFile("boot/system-proxy/redsocks.conf", odd)
			if _, err := judge(t, odd); err == nil {
				t.Fatalf("redsocks takes\n%s", odd)
			}
			h.is(shown + "}}")
			h.set(`{"proxy":{` + change + `}}`)
			if h.conf() != good {
				t.Errorf("%q and %s: redsocks.conf is\n%s", line, change, h.conf())
			}
			h.set(`{"proxy":{"noProxy":[]}}`)
		}
	}
}

// docs/spec/device-api.md 4: 126, 130, 131, 134 and A12, A13: what is refused changes nothing.
func TestHostConfigRefuses(t *testing.T) {
	h := newHost(t, harness.Setup{})
	refuse := func(body string) {
		t.Helper()
		before := h.files()
		answer := h.patch(body)
		if answer.Status != 400 || !strings.HasPrefix(answer.Body, "Could not parse host config input to a valid format:\n") {
			t.Errorf("%s: %d %s", body, answer.Status, answer.Body)
		}
		if h.files() != before {
			t.Errorf("%s changed something", body)
		}
	}
	for _, body := range []string{`{}`, `{"network":5}`, `{"network":null}`, `{"network":[]}`, `[]`, `{"network":{"proxy":5}}`, `{"network":{"proxy":[]}}`} {
		refuse(body)
	}
	for _, first := range []string{`{"ip":"x","port":1}`, `{"type":"socks5","port":1}`, `{"type":"socks5","ip":"x"}`, `{"login":"u"}`} {
		refuse(`{"network":{"proxy":` + first + `,"hostname":"h9"}}`)
	}
	for _, round := range []string{"without a proxy", "with one"} {
		for _, field := range []string{`"password":"a\n}\nx {"`, `"login":"\u0000"`, `"login":"{"`, `"password":"//"`, `"ip":"a;b"`, `"ip":"1.1.1.1}"`, `"ip":"::1"`,
			`"type":"socks5; }"`, `"type":"socks6"`, `"port":"1;"`, `"port":0`, `"port":-1`, `"port":70000`, `"port":1.5`, `"dns":""`, `"dns":":53"`, `"dns":"1.1.1.1:53;"`,
			`"noProxy":["a\nb"]`, `"noProxy":["10.0.0.1 -j ACCEPT"]`, `"noProxy":[1]`, `"noProxy":"x"`, `"noProxy":["-h"]`} {
			refuse(`{"network":{"proxy":{"type":"socks5","ip":"10.9.8.7","port":1080,` + field + `}}}`)
		}
		if round == "without a proxy" {
			h.set(`{"proxy":` + unit + `}`)
		}
	}
	h.is(`{"hostname":"testhost","proxy":` + unit + `}`)
}

// docs/spec/device-api.md 4: 131, 133 and A24.
func TestHostConfigIsLocked(t *testing.T) {
	h := newHost(t, harness.Setup{})
	image := harness.ServerImage("host/app:v1").Load(t)
	h.Apply(harness.TargetOf(harness.App{ID: 12, Name: "shop", Commit: "aaaa1", Release: 1,
		Services: []harness.Service{{ID: 1, Name: "web", ImageID: 1, Image: image.Name}}}))
	lock := h.LockUpdates(12, "web")
	before := h.files()
	h.patch(`{"network":{"hostname":"h1","proxy":`+unit+`}}`).Want(t, 423, "Lockfile exists for { appId: 12, service: web }")
	h.set(`{}`)
	if h.files() != before {
		t.Error("a locked change changed something")
	}
	h.patch(`{"network":{"hostname":"h1"},"force":true}`).Want(t, 200, "OK")
	if _, err := os.Lstat(lock); !os.IsNotExist(err) || h.name() != "h1" {
		t.Errorf("forced: the lock is there (%v), the name is %s", err, h.name())
	}
	h.LockUpdates(12, "web")
	h.set(`{"hostname":"h2","force":"on"}`)
	if h.name() != "h2" {
		t.Errorf("forced inside network: %s", h.name())
	}
	left, err := os.ReadDir(filepath.Dir(lock))
	if err != nil || len(left) > 0 {
		t.Errorf("left %v (%v)", left, err)
	}
}

// docs/spec/device-api.md 2.14: the host's own units put a proxy into effect.
func TestProxyUnitsAreRestarted(t *testing.T) {
	h := newHost(t, harness.Setup{Bus: harness.NewBus(t)})
	asked := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, call := range h.Bus.Calls() {
			got = append(got, call.What)
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("%s: asked for %q, want %q", what, got, want)
		}
	}
	h.Bus.SetUnit(t, "balena-proxy-config.service", "active")
	h.Bus.SetUnit(t, "redsocks.service", "inactive")
	h.Bus.SetPartOf("balena-proxy-config.service", "redsocks-conf.target")
	h.Bus.SetPartOf("resin-proxy-config.service", "redsocks-conf.target")
	h.Bus.SetUnit(t, "resin-proxy-config.service", "active")
	h.set(`{"hostname":"h1"}`)
	asked("a name")
	h.set(`{"proxy":` + unit + `}`)
	asked("partly bound", "RestartUnit redsocks.service")
	h.Bus.SetPartOf("redsocks.service", "other.target", "redsocks-conf.target")
	h.set(`{"proxy":{"port":1081}}`)
	asked("bound", "RestartUnit redsocks.service")
	h.Bus.SetPartOf("balena-proxy-config.service")
	h.Bus.SetPartOf("resin-proxy-config.service")
	h.Bus.SetPartOf("redsocks.service")
	h.set(`{"proxy":{}}`)
	asked("loose", "RestartUnit redsocks.service", "RestartUnit balena-proxy-config.service", "RestartUnit resin-proxy-config.service", "RestartUnit redsocks.service")
	h.Bus.Refuse("not today")
	answer := h.patch(`{"network":{"proxy":` + unit + `}}`)
	if answer.Status != 503 || !strings.Contains(answer.Body, "not today") || h.conf() == "" {
		t.Errorf("refused: %d %s", answer.Status, answer.Body)
	}
	h.logged("cannot change host name or proxy of the host", 1)
}

// A host without systemd on a bus takes its proxy up at its next start.
func TestProxyWithoutUnits(t *testing.T) {
	h := newHost(t, harness.Setup{})
	h.set(`{"proxy":` + unit + `}`)
	h.logged("proxy settings take effect at the next start of the host", 1)
}

// Missing pieces degrade with one log line and the right error.
func TestReadOnlyBootPartition(t *testing.T) {
	h := newHost(t, harness.Setup{})
	h.Stop()
	config := h.ReadFile("boot/config.json")
	mount(t, h.Path("boot"))
	h.WriteFile("boot/config.json", config)
	h.Start()
	h.WaitListed()
	h.set(`{"proxy":` + unit + `,"hostname":"h1"}`)
	remount(t, h.Path("boot"), syscall.MS_RDONLY)
	before := h.files()
	for i, network := range []string{`{"hostname":"h2"}`, `{"proxy":{"port":1}}`, `{"proxy":{}}`, `{"proxy":{"noProxy":["10.0.0.1"]}}`} {
		answer := h.patch(`{"network":` + network + `}`)
		if answer.Status != 503 || !strings.Contains(answer.Body, "read-only file system") {
			t.Errorf("%s: %d %s", network, answer.Status, answer.Body)
		}
		h.logged("cannot change host name or proxy of the host", i+1)
	}
	h.is(`{"hostname":"testhost","proxy":` + unit + `}`)
	if h.files() != before {
		t.Error("something changed")
	}
	remount(t, h.Path("boot"), 0)
	h.set(`{"proxy":{}}`)
	h.is(`{"hostname":"testhost"}`)
}

// No boot partition, no host name, no os-release, no LED.
func TestMissingPieces(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(config, []byte(`{"uuid":"0123456789abcdef0123456789abcdef"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, harness.Setup{Env: map[string]string{"CONFIG_MOUNT_POINT": config}})
	h.Stop()
	for _, name := range []string{"boot", "root/etc"} {
		if err := os.RemoveAll(h.Path(name)); err != nil {
			t.Fatal(err)
		}
	}
	h.Start()
	h.WaitListed()
	h.logged("host OS version is unknown", 1)
	h.logged("host name is unknown", 1)
	if answer := h.Get(path); answer.Status != 503 || !strings.Contains(answer.Body, "etc/hostname") {
		t.Errorf("GET: %d %s", answer.Status, answer.Body)
	}
	if answer := h.patch(`{"network":{"proxy":` + unit + `}}`); answer.Status != 503 || !strings.Contains(answer.Body, "boot partition") {
		t.Errorf("PATCH: %d %s", answer.Status, answer.Body)
	}
	h.logged("cannot change host name or proxy of the host", 1)
	if _, err := os.Stat(h.Path("boot")); !os.IsNotExist(err) {
		t.Error("the boot partition was made up")
	}
	h.set(`{"hostname":"h1"}`) // config.json is elsewhere
	h.Post("/v1/blink", nil).Want(t, 200, "OK")
	h.logged("there is no LED to blink", 1)
	h.Post("/v1/blink", nil).Want(t, 200, "OK")
	h.logged("there is no LED to blink", 1)
	var device struct {
		OSVersion *string `json:"os_version"`
	}
	h.Get("/v1/device").JSON(t, &device)
	if device.OSVersion != nil {
		t.Errorf("os_version is %s", *device.OSVersion)
	}
}

// docs/spec/host.md 9: 11. A kernel names the light otherwise than the host says: the usual ones are tried.
func TestLightUnderAnotherName(t *testing.T) {
	h := newHost(t, harness.Setup{Env: map[string]string{"LED_FILE": "/sys/class/leds/no-such-led/brightness"}})
	for _, name := range []string{"beaglebone:green:usr3", "led0", "ACT"} { // the later is the better one
		dir := "root/sys/class/leds/" + name
		if err := os.MkdirAll(h.Path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		h.WriteFile(dir+"/brightness", "0")
		h.WriteFile(dir+"/max_brightness", "255\n")
		h.Restart()
		h.Post("/v1/blink", nil).Want(t, 200, "OK")
		harness.Until(t, harness.Soon, name+" to blink", func() error {
			if h.ReadFile(dir+"/brightness") != "255" {
				return errNotYet
			}
			return nil
		})
	}
	if lines := h.LogLines("there is no LED to blink"); len(lines) != 0 {
		t.Errorf("said %v", lines)
	}
}

// docs/spec/host.md 9: 12. A host that is no balenaOS has no device-type.json: the kernel's device tree tells the board.
func TestBoardOfTheDeviceTree(t *testing.T) {
	h := newHost(t, harness.Setup{})
	is := func(slug, arch string) {
		t.Helper()
		h.Restart()
		h.Get("/v2/local/device-info").Want(t, 200, `{"status":"success","info":{"arch":"`+arch+`","deviceType":"`+slug+`"}}`)
		h.WaitOverview(harness.Soon, slug)
	}
	if err := errors.Join(os.Remove(h.Path("boot/device-type.json")), os.MkdirAll(h.Path("root/proc/device-tree"), 0o755)); err != nil {
		t.Fatal(err)
	}
	is("unknown", "unknown")
	h.WriteFile("root/proc/device-tree/compatible", "ti,am335x-bone-green\x00ti,am335x-bone-black\x00ti,am335x-bone\x00ti,am33xx\x00")
	h.WriteFile("root/proc/device-tree/model", "TI AM335x BeagleBone Green\x00")
	is("beaglebone-green", runtime.GOARCH)
	h.WriteFile("boot/device-type.json", "{")
	is("unknown", "unknown")
	h.WriteFile("boot/device-type.json", `{"slug":"fincm3","arch":"armv7hf"}`)
	is("fincm3", "armv7hf")
}
