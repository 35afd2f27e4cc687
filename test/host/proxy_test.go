package host_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"resin-supervisor/test/harness"
)

// proxyHost does what the units of the host do when they are restarted: the firewall takes up the
// exceptions, and the real redsocks runs from the file as it is then.
type proxyHost struct {
	*host
	t   *testing.T
	mu  sync.Mutex
	run *harness.Process
}

func newProxyHost(t *testing.T) *proxyHost {
	t.Helper()
	bus := harness.NewBus(t)
	bus.SetUnit(t, "balena-proxy-config.service", "active")
	bus.SetUnit(t, "redsocks.service", "active")
	h := &proxyHost{host: newHost(t, harness.Setup{Bus: bus}), t: t}
	harness.RunTool(t, "iptables", "-t", "nat", "-N", "REDSOCKS")
	// Not what redsocks itself sends, and not what stays on the device.
	harness.RunTool(t, "iptables", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-m", "owner", "!", "--uid-owner", "redsocks",
		"-m", "addrtype", "!", "--dst-type", "LOCAL", "-j", "REDSOCKS")
	t.Cleanup(func() {
		harness.TryTool("iptables", "-t", "nat", "-D", "OUTPUT", "-p", "tcp", "-m", "owner", "!", "--uid-owner", "redsocks",
			"-m", "addrtype", "!", "--dst-type", "LOCAL", "-j", "REDSOCKS")
		harness.TryTool("iptables", "-t", "nat", "-F", "REDSOCKS")
		harness.TryTool("iptables", "-t", "nat", "-X", "REDSOCKS")
	})
	return h
}

// set changes the proxy, and restarts the units when it was asked to.
func (h *proxyHost) set(network string) {
	h.t.Helper()
	asked := h.Bus.Asked("RestartUnit redsocks.service")
	h.host.set(network)
	if h.Bus.Asked("RestartUnit redsocks.service") != asked+1 || h.Bus.Asked("RestartUnit balena-proxy-config.service") != asked+1 {
		h.t.Fatalf("the units were not restarted: %v", h.Bus.Calls())
	}
	harness.RunTool(h.t, "iptables", "-t", "nat", "-F", "REDSOCKS")
	if h.run != nil {
		h.run.Stop(h.t)
		h.run = nil
	}
	conf := h.Path("boot/system-proxy/redsocks.conf")
	if _, err := os.Stat(conf); err != nil {
		return
	}
	accepted(h.t, h.conf())
	for _, direct := range strings.Fields(h.noProxy()) {
		harness.RunTool(h.t, "iptables", "-t", "nat", "-A", "REDSOCKS", "-d", direct, "-j", "RETURN")
	}
	harness.RunTool(h.t, "iptables", "-t", "nat", "-A", "REDSOCKS", "-p", "tcp", "-j", "REDIRECT", "--to-ports", "12345")
	// As its own user, which is how the firewall knows it.
	h.run = harness.Start(h.t, exec.Command(harness.Tool(h.t, "setpriv"), "--reuid", "redsocks", "--regid", "redsocks", "--clear-groups",
		harness.Tool(h.t, "redsocks"), "-c", conf))
}

// Our PATCH, the real redsocks from our file, a real SOCKS5 proxy with a login: a connection
// goes through the proxy, an exception goes direct, and clearing brings direct traffic back.
func TestSOCKS5ProxyCarriesTheTraffic(t *testing.T) {
	o := newOutside(t)
	const login, password = `dev "ice"`, `p w\#;{}'"x`
	o.start("microsocks", "-i", proxyAddr, "-p", "1080", "-u", login, "-P", password)
	throughProxy(t, o, fmt.Sprintf(`{"type":"socks5","ip":%q,"port":1080,"login":%q,"password":%q`, proxyAddr, login, password))
}

// The same with a real HTTP proxy that is asked to CONNECT.
func TestHTTPConnectProxyCarriesTheTraffic(t *testing.T) {
	o := newOutside(t)
	config := filepath.Join(t.TempDir(), "tinyproxy.conf")
	text := fmt.Sprintf("Port 8888\nListen %s\nTimeout 60\nMaxClients 20\nLogLevel Info\nBasicAuth device pass.word\n", proxyAddr)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	o.start("tinyproxy", "-d", "-c", config)
	throughProxy(t, o, fmt.Sprintf(`{"type":"http-connect","ip":%q,"port":"8888","login":"device","password":"pass.word"`, proxyAddr))
}

func throughProxy(t *testing.T, o *outside, settings string) {
	t.Helper()
	far, other := farAddr+":8080", otherAddr+":8080"
	o.serve(far)
	o.serve(other)
	h := newProxyHost(t)
	seen(t, "direct at first", far, deviceAddr)
	h.set(`{"proxy":` + settings + `,"noProxy":["` + otherAddr + `/32"]}}`)
	seen(t, "through the proxy", far, farAddr) // the proxy stands where the server stands
	seen(t, "an exception", other, deviceAddr)
	h.set(`{"proxy":{"noProxy":[]}}`)
	seen(t, "no exception any more", other, otherAddr)
	h.set(`{"proxy":{"login":"nobody","password":"wrong"}}`)
	if as, err := seenAs(far); err == nil {
		t.Errorf("with a wrong login the server sees %s", as)
	}
	h.set(`{"proxy":` + settings + `}}`)
	seen(t, "with the right login again", far, farAddr)
	h.set(`{"proxy":{}}`)
	seen(t, "direct again", far, deviceAddr)
	h.is(`{"hostname":"testhost"}`)
}
