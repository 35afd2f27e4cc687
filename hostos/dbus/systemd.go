package dbus

import (
	"context"
	"strings"
)

// LogindReady returns an error if logind is not available. The bus starts logind if it does not run.
func (b *Bus) LogindReady(ctx context.Context) error {
	_, err := b.Do(ctx, Call{
		Service: "org.freedesktop.login1", Path: "/org/freedesktop/login1",
		Interface: "org.freedesktop.DBus.Peer", Method: "Ping",
	})
	if IsError(err, "org.freedesktop.DBus.Error.UnknownMethod") {
		return nil // logind replied
	}
	return err
}

// Reboot asks logind to reboot the device. The error wraps *Error when logind refused.
func (b *Bus) Reboot(ctx context.Context) error { return b.logind(ctx, "Reboot") }

// PowerOff asks logind to power off the device.
func (b *Bus) PowerOff(ctx context.Context) error { return b.logind(ctx, "PowerOff") }

func (b *Bus) logind(ctx context.Context, method string) error {
	_, err := b.Do(ctx, Call{
		Service: "org.freedesktop.login1", Path: "/org/freedesktop/login1",
		Interface: "org.freedesktop.login1.Manager", Method: method,
		Args: []any{false}, // not interactive: do not ask for a password
	})
	return err
}

// StartUnit starts a systemd unit, such as redsocks.service. Like StopUnit and RestartUnit it returns when systemd has
// accepted the job, not when the job is done.
func (b *Bus) StartUnit(ctx context.Context, unit string) error {
	return b.job(ctx, "StartUnit", unit)
}

// StopUnit stops a systemd unit.
func (b *Bus) StopUnit(ctx context.Context, unit string) error { return b.job(ctx, "StopUnit", unit) }

// RestartUnit restarts a systemd unit, and starts one that does not run.
func (b *Bus) RestartUnit(ctx context.Context, unit string) error {
	return b.job(ctx, "RestartUnit", unit)
}

func (b *Bus) job(ctx context.Context, method, unit string) error {
	_, err := b.systemd(ctx, method, unit, "replace")
	return err
}

func (b *Bus) systemd(ctx context.Context, method string, args ...any) ([]string, error) {
	return b.Do(ctx, Call{
		Service: "org.freedesktop.systemd1", Path: "/org/freedesktop/systemd1",
		Interface: "org.freedesktop.systemd1.Manager", Method: method, Args: args,
	})
}

// SwitchUnit starts or stops a systemd unit if it is not yet in that state, and calls begin before. It ignores a unit
// that the host does not have.
func (b *Bus) SwitchUnit(ctx context.Context, unit string, on bool, begin func()) error {
	state, err := b.UnitState(ctx, unit)
	if err != nil {
		return err
	}
	runs := state == "active" || state == "activating" || state == "reloading"
	switch {
	case runs == on:
		return nil
	case !on:
		begin()
		return b.StopUnit(ctx, unit)
	case state != "":
		begin()
		return b.StartUnit(ctx, unit)
	}
	// the unit is not loaded, or does not exist
	if err = b.StartUnit(ctx, unit); IsError(err, "org.freedesktop.systemd1.NoSuchUnit") {
		return nil
	}
	begin()
	return err
}

// UnitState returns the ActiveState of a systemd unit: active, reloading, inactive, failed, activating or deactivating.
// It is empty if the unit is not loaded.
func (b *Bus) UnitState(ctx context.Context, unit string) (string, error) {
	texts, err := b.UnitProperty(ctx, unit, "org.freedesktop.systemd1.Unit", "ActiveState")
	if IsError(err, "org.freedesktop.systemd1.NoSuchUnit") {
		return "", nil
	}
	return strings.Join(texts, " "), err
}

// UnitProperty returns a property of a loaded systemd unit, a text or a list of texts. iface is the D-Bus interface of
// the property. If the unit is not loaded, the error is an *Error named org.freedesktop.systemd1.NoSuchUnit.
func (b *Bus) UnitProperty(ctx context.Context, unit, iface, property string) ([]string, error) {
	paths, err := b.systemd(ctx, "GetUnit", unit)
	if err != nil || len(paths) == 0 {
		return nil, err
	}
	return b.Do(ctx, Call{
		Service: "org.freedesktop.systemd1", Path: paths[0],
		Interface: "org.freedesktop.DBus.Properties", Method: "Get", Args: []any{iface, property},
	})
}
