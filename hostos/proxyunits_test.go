package hostos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"resin-supervisor/hostos/dbus"
)

// systemd is a host with some units and their PartOf.
type systemd struct {
	units     map[string][]string
	unloaded  string // exists, but is not loaded
	broken    error  // of every restart
	restarted []string
}

func (s *systemd) find(unit string) ([]string, error) {
	name := strings.TrimSuffix(unit, ".service")
	if parts, ok := s.units[name]; ok {
		return parts, nil
	}
	return nil, fmt.Errorf("GetUnit: %w", &dbus.Error{Name: noSuchUnit})
}

func (s *systemd) UnitProperty(_ context.Context, unit, iface, property string) ([]string, error) {
	if iface != "org.freedesktop.systemd1.Unit" || property != "PartOf" {
		return nil, errors.New("asked for " + iface + " " + property)
	}
	return s.find(unit)
}

func (s *systemd) RestartUnit(_ context.Context, unit string) error {
	if s.broken != nil {
		return s.broken
	}
	if _, err := s.find(unit); err != nil && strings.TrimSuffix(unit, ".service") != s.unloaded {
		return err
	}
	s.restarted = append(s.restarted, strings.TrimSuffix(unit, ".service"))
	return nil
}

func TestRestartProxy(t *testing.T) {
	loose, bound := []string{"other.target"}, []string{"a.target", "redsocks-conf.target"}
	for name, c := range map[string]struct {
		systemd
		want []string
	}{
		"new host":     {systemd{units: map[string][]string{"balena-proxy-config": bound, "redsocks": bound}}, nil},
		"older host":   {systemd{units: map[string][]string{"balena-proxy-config": loose, "redsocks": nil}}, []string{"balena-proxy-config", "redsocks"}},
		"oldest host":  {systemd{units: map[string][]string{"resin-proxy-config": nil, "redsocks": nil}}, []string{"resin-proxy-config", "redsocks"}},
		"partly bound": {systemd{units: map[string][]string{"balena-proxy-config": bound, "redsocks": loose}}, []string{"redsocks"}},
		"not loaded":   {systemd{units: map[string][]string{"balena-proxy-config": nil}, unloaded: "redsocks"}, []string{"balena-proxy-config", "redsocks"}},
		"other host":   {systemd{}, nil},
	} {
		if err := RestartProxy(context.Background(), &c.systemd); err != nil || !slices.Equal(c.restarted, c.want) {
			t.Errorf("%s: restarted %v (%v), want %v", name, c.restarted, err, c.want)
		}
	}
	refused := &dbus.Error{Name: "org.freedesktop.DBus.Error.AccessDenied", Text: "no"}
	units := map[string][]string{"redsocks": nil}
	if err := RestartProxy(context.Background(), &systemd{units: units, broken: refused}); err == nil || errors.Is(err, ErrNoUnits) {
		t.Errorf("a refusal: %v", err)
	}
	bus := dbus.New("unix:path=" + t.TempDir() + "/no-bus")
	if err := RestartProxy(context.Background(), bus); !errors.Is(err, ErrNoUnits) {
		t.Errorf("no bus: %v", err)
	}
}
