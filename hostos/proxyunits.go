package hostos

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"resin-supervisor/hostos/dbus"
)

// noSuchUnit is how systemd calls a unit that the host does not have, or has not loaded.
const noSuchUnit = "org.freedesktop.systemd1.NoSuchUnit"

// Units is what is asked of systemd; *dbus.Bus is one.
type Units interface {
	UnitProperty(ctx context.Context, unit, iface, property string) ([]string, error)
	RestartUnit(ctx context.Context, unit string) error
}

// ErrNoUnits says that the host's systemd could not be asked: the proxy takes effect when the host
// itself notices, or starts again.
var ErrNoUnits = errors.New("the services of the proxy could not be restarted")

// RestartProxy restarts the services that put the proxy settings into effect, except those that watch
// the files themselves, which are a part of redsocks-conf.target (docs/spec/device-api.md 2.14). Services
// that the host does not have are passed over. The error is ErrNoUnits when there is no systemd, else
// it names the unit.
func RestartProxy(ctx context.Context, units Units) error {
	for _, unit := range [...]string{"balena-proxy-config.service", "resin-proxy-config.service", "redsocks.service"} {
		targets, err := units.UnitProperty(ctx, unit, "org.freedesktop.systemd1.Unit", "PartOf")
		if slices.Contains(targets, "redsocks-conf.target") {
			continue
		}
		if err == nil || dbus.IsError(err, noSuchUnit) { // one that is not loaded can be there nevertheless
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
