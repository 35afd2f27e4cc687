package api_test

import (
	"fmt"
	"os"
	"testing"

	"resin-supervisor/test/harness"
)

// device-api.md 118.
func TestVPN(t *testing.T) {
	bus := harness.NewBus(t)
	s := harness.NewSupervisor(t, harness.Setup{Engine: harness.SharedEngine(t), Env: map[string]string{"DBUS_SYSTEM_BUS_ADDRESS": bus.Address}})
	s.Start()
	want := func(when string, enabled, connected bool) {
		t.Helper()
		text := fmt.Sprintf(`{"status":"success","vpn":{"enabled":%v,"connected":%v}}`, enabled, connected)
		if answer := s.Get("/v2/device/vpn"); answer.Status != 200 || answer.Body != text {
			t.Errorf("%s: %d %s, want %s", when, answer.Status, answer.Body, text)
		}
	}
	want("not loaded", false, false)
	for state, enabled := range map[string]bool{"active": true, "activating": true, "failed": true, "inactive": false, "deactivating": false} {
		bus.SetUnit(t, "openvpn.service", state)
		want(state, enabled, false)
	}
	bus.SetUnit(t, "openvpn.service", "active")
	s.WriteFile("root/run/openvpn/vpn_status/active", "")
	want("up", true, true)
	os.Remove(s.Path("root/run/openvpn/vpn_status/active"))
	want("down", true, false)
	bus.Leave(t, "org.freedesktop.systemd1")
	want("without systemd", false, false)
}
