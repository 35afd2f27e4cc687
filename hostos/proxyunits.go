package hostos

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"resin-supervisor/hostos/dbus"
)

// noSuchUnit is systemd's error for a unit that does not exist or is not loaded.
const noSuchUnit = "org.freedesktop.systemd1.NoSuchUnit"

// Units asks systemd. *dbus.Bus implements it.
type Units interface {
	UnitProperty(ctx context.Context, unit, iface, property string) ([]string, error)
	RestartUnit(ctx context.Context, unit string) error
}

// ErrNoUnits means that the host's systemd does not answer. The proxy settings take effect at the next reboot, or
// earlier if the host notices the change.
var ErrNoUnits = errors.New("cannot restart the proxy services of the host")

// RestartProxy restarts the host services that use the proxy settings. It skips services that watch the files
// themselves, which are part of redsocks-conf.target (docs/spec/device-api.md 2.14), and services that the host does
// not have. The error wraps ErrNoUnits if systemd does not answer, else it names the unit.
func RestartProxy(ctx context.Context, units Units) error {
	for _, unit := range [...]string{"balena-proxy-config.service", "resin-proxy-config.service", "redsocks.service"} {
		targets, err := units.UnitProperty(ctx, unit, "org.freedesktop.systemd1.Unit", "PartOf")
		if slices.Contains(targets, "redsocks-conf.target") {
			continue
		}
		if err == nil || dbus.IsError(err, noSuchUnit) { // a unit that is not loaded may still exist
			err = units.RestartUnit(ctx, unit)
		}
		switch answer := (*dbus.Error)(nil); {
		case err == nil || dbus.IsError(err, noSuchUnit):
		case errors.As(err, &answer):
			return fmt.Errorf("restart %s: %w", unit, err)
		default:
			return fmt.Errorf("%w: %w", ErrNoUnits, err)
		}
	}
	return nil
}
