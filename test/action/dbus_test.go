package action_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"resin-supervisor/hostos/dbus"
	"resin-supervisor/test/harness"
)

// The client of the message bus against a real daemon, and a recipient that is not ours.
func TestMessageBus(t *testing.T) {
	daemon := harness.NewBus(t)
	daemon.SetUnit(t, "openvpn.service", "active")
	bus, ctx := dbus.New(daemon.Address), context.Background()

	for name, call := range map[string]func() error{
		"Reboot":               func() error { return bus.Reboot(ctx) },
		"PowerOff":             func() error { return bus.PowerOff(ctx) },
		"StartUnit a.service":  func() error { return bus.StartUnit(ctx, "a.service") },
		"StopUnit a.service":   func() error { return bus.StopUnit(ctx, "a.service") },
		"RestartUnit é.target": func() error { return bus.RestartUnit(ctx, "é.target") },
	} {
		if err := call(); err != nil || daemon.Asked(name) != 1 {
			t.Errorf("%s: %v, asked %d times", name, err, daemon.Asked(name))
		}
	}
	if state, err := bus.UnitState(ctx, "openvpn.service"); err != nil || state != "active" {
		t.Errorf("state of a unit is %q %v", state, err)
	}
	if state, err := bus.UnitState(ctx, "none.service"); err != nil || state != "" {
		t.Errorf("state of a unit that is not loaded is %q %v", state, err)
	}
	if parts, err := bus.UnitProperty(ctx, "openvpn.service", "org.freedesktop.systemd1.Unit", "PartOf"); err != nil || len(parts) != 0 {
		t.Errorf("an empty list reads %q %v", parts, err)
	}
	names, err := bus.Do(ctx, dbus.Call{Service: "org.freedesktop.DBus", Path: "/org/freedesktop/DBus",
		Interface: "org.freedesktop.DBus", Method: "ListNames"})
	if err != nil || !slices.Contains(names, "org.freedesktop.login1") {
		t.Errorf("names on the bus are %q %v", names, err)
	}

	daemon.Refuse("not now")
	err = bus.Reboot(ctx)
	if refusal := (*dbus.Error)(nil); !errors.As(err, &refusal) || refusal.Text != "not now" {
		t.Errorf("a refused reboot is %v", err)
	}
	daemon.Leave(t, "org.freedesktop.login1")
	if err := bus.Reboot(ctx); !dbus.IsError(err, "org.freedesktop.DBus.Error.ServiceUnknown") && !dbus.IsError(err, "org.freedesktop.DBus.Error.NameHasNoOwner") {
		t.Errorf("a reboot without logind is %v", err)
	}
	if err := dbus.New("unix:path=/nowhere/bus").Reboot(ctx); err == nil {
		t.Error("a reboot without a bus succeeds")
	}
	if err := dbus.New("tcp:host=example").Reboot(ctx); err == nil {
		t.Error("a reboot over a bus of another kind succeeds")
	}
}

func TestMessageBusManyCallers(t *testing.T) {
	daemon := harness.NewBus(t)
	daemon.SetUnit(t, "openvpn.service", "inactive")
	bus := dbus.New(daemon.Address)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if state, err := bus.UnitState(ctx, "openvpn.service"); err != nil || state != "inactive" {
				t.Errorf("state is %q %v", state, err)
			}
		})
	}
	group.Wait()
}
