package api_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

// device-api.md 118.
func TestVPN(t *testing.T) {
	s := harness.StartSupervisor(t, harness.Setup{Bus: harness.NewBus(t)})
	want := func(when string, enabled, connected bool) {
		t.Helper()
		text := fmt.Sprintf(`{"status":"success","vpn":{"enabled":%v,"connected":%v}}`, enabled, connected)
		if answer := s.Get("/v2/device/vpn"); answer.Status != 200 || answer.Body != text {
			t.Errorf("%s: %d %s, want %s", when, answer.Status, answer.Body, text)
		}
	}
	want("not loaded", false, false)
	for state, enabled := range map[string]bool{"active": true, "activating": true, "failed": true, "inactive": false, "deactivating": false} {
		s.Bus.SetUnit(t, "openvpn.service", state)
		want(state, enabled, false)
	}
	s.Bus.SetUnit(t, "openvpn.service", "active")
	s.WriteFile("root/run/openvpn/vpn_status/active", "")
	want("up", true, true)
	os.Remove(s.Path("root/run/openvpn/vpn_status/active"))
	want("down", true, false)
	s.Bus.Leave(t, "org.freedesktop.systemd1")
	want("without systemd", false, false)
}

// A bus that hears everything and answers nothing keeps a caller for a few seconds. D-Bus libraries wait
// 25 for each call.
func TestVPNOnAHungBus(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, c)
		}
	}()
	s := harness.StartSupervisor(t, harness.Setup{Env: map[string]string{"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=" + path}})
	s.WriteFile("root/run/openvpn/vpn_status/active", "")
	since := time.Now()
	answer := s.Get("/v2/device/vpn")
	if answer.Status != 200 || answer.Body != `{"status":"success","vpn":{"enabled":false,"connected":true}}` {
		t.Errorf("%d %s", answer.Status, answer.Body)
	}
	if took := time.Since(since); took > 20*time.Second {
		t.Errorf("answered after %v", took)
	}
}
