package settings_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/test/harness"
)

// onBus is a device of a cloud whose host has a message bus.
func onBus(t *testing.T, withoutContainers bool) (*device, *harness.Bus) {
	d := managed(t, harness.Setup{WithoutContainers: withoutContainers, Bus: harness.NewBus(t)})
	return d, d.Bus
}

func asked(t *testing.T, bus *harness.Bus, want ...string) {
	t.Helper()
	harness.Until(t, harness.Soon, fmt.Sprintf("the host to be asked for %q", want), func() error {
		var got []string
		for _, c := range bus.Calls() {
			got = append(got, c.What)
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}

// cloud.md 84: a VPN that is to be off is not stopped after a restart without the cloud, but once the
// cloud was heard of.
func TestVPNControl(t *testing.T) {
	d, bus := onBus(t, true)
	const unit = "openvpn.service"
	bus.SetUnit(t, unit, "active")
	d.Start()
	d.set(vars{"RESIN_SUPERVISOR_VPN_CONTROL": "false"})
	asked(t, bus, "StopUnit "+unit)
	d.WaitLogged(`Applying configuration change {"SUPERVISOR_VPN_CONTROL":"false"}`, 1)
	d.WaitLogged(`Applied configuration change {"SUPERVISOR_VPN_CONTROL":"false"}`, 1)
	bus.SetUnit(t, unit, "inactive")

	d.Stop()
	d.Cloud().Down()
	d.Start()
	asked(t, bus, "StopUnit "+unit, "StartUnit "+unit)
	bus.SetUnit(t, unit, "active")
	d.Restart()
	d.WaitListed()
	asked(t, bus, "StopUnit "+unit, "StartUnit "+unit)

	d.Cloud().Up(t)
	d.PollNow()
	asked(t, bus, "StopUnit "+unit, "StartUnit "+unit, "StopUnit "+unit)
	bus.SetUnit(t, unit, "inactive")
	d.set(nil)
	asked(t, bus, "StopUnit "+unit, "StartUnit "+unit, "StopUnit "+unit, "StartUnit "+unit)
}

// A host that refuses is asked again only when the target was reached meanwhile, and apps do not wait.
func TestVPNThatStaysOn(t *testing.T) {
	d, bus := onBus(t, false)
	bus.SetUnit(t, "openvpn.service", "active")
	d.Start()
	d.PollNow()
	bus.Refuse("not now")
	app := shop(t)
	d.set(vars{"RESIN_SUPERVISOR_VPN_CONTROL": "0"}, app)
	harness.Until(t, harness.Soon, "the refusal to be told of", func() error {
		if !slices.ContainsFunc(d.DeviceLog(), func(text string) bool {
			return strings.HasPrefix(text, "Error applying configuration change: ") && strings.HasSuffix(text, ": not now")
		}) {
			return errors.New("not told")
		}
		return nil
	})
	d.WaitLogged(`Applied configuration change {"SUPERVISOR_VPN_CONTROL":"0"}`, 0)
	d.WaitSettled(harness.Soon)
	if n := bus.Asked("StopUnit openvpn.service"); n > 2 { // once more, since the target was reached
		t.Errorf("asked %d times", n)
	}
}

// HOST_DISCOVERABILITY stops and starts avahi; at a restart it is as it was.
func TestDiscoverability(t *testing.T) {
	d, bus := onBus(t, true)
	units := []string{"avahi-daemon.socket", "avahi-daemon.service"}
	state := func(word string) {
		for _, u := range units {
			bus.SetUnit(t, u, word)
		}
	}
	state("active")
	bus.SetUnit(t, "openvpn.service", "active")
	d.Start()
	d.set(vars{"RESIN_HOST_DISCOVERABILITY": "off"})
	off := []string{"StopUnit " + units[0], "StopUnit " + units[1]}
	asked(t, bus, off...)
	d.WaitLogged(`Applied configuration change {"HOST_DISCOVERABILITY":"off"}`, 1)
	d.Restart()
	asked(t, bus, append(off, off...)...)
	state("inactive")
	d.set(nil)
	asked(t, bus, append(append(off, off...), "StartUnit "+units[0], "StartUnit "+units[1])...)
}

// What nobody acts on is not claimed to be applied: the firewall of a host without iptables, and boot configuration that no board here has.
func TestNothingIsPretended(t *testing.T) {
	d := managed(t, harness.Setup{WithoutContainers: true})
	d.Start()
	d.set(vars{"RESIN_HOST_FIREWALL_MODE": "on", "RESIN_HOST_CONFIGFS_ssdt": "spidev1.0", "RESIN_SUPERVISOR_DELTA": "1"})
	d.WaitLogged(`Applied configuration change {"SUPERVISOR_DELTA":"1"}`, 1)
	for _, text := range d.DeviceLog() {
		if strings.Contains(text, "FIREWALL") || strings.Contains(text, "ssdt") {
			t.Errorf("said %q", text)
		}
	}
}
