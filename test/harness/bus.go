package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// Bus is a system bus: a real D-Bus daemon with a stand-in for logind and systemd on it. The stand-in
// records what it is asked to do and does nothing.
type Bus struct {
	Address string // as DBUS_SYSTEM_BUS_ADDRESS takes it

	conn *dbus.Conn

	mu      sync.Mutex
	calls   []BusCall
	refused string
	units   map[string]string
	parts   map[string][]string
}

// BusCall is something logind or systemd was asked to do, such as "Reboot" or "RestartUnit
// redsocks.service".
type BusCall struct {
	What string
	At   time.Time
}

const busPolicy = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
</policy></busconfig>
`

// NewBus starts a bus for the test. Units are not loaded until SetUnit says otherwise.
func NewBus(t testing.TB) *Bus {
	t.Helper()
	dir := t.TempDir()
	b := &Bus{Address: "unix:path=" + filepath.Join(dir, "bus"), units: map[string]string{}, parts: map[string][]string{}}
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, fmt.Appendf(nil, busPolicy, b.Address), 0o644); err != nil {
		t.Fatal(err)
	}
	proc, err := start("dbus-daemon", filepath.Join(dir, "log"), exec.Command(Tool(t, "dbus-daemon"), "--config-file="+config, "--nofork", "--nopidfile"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proc.end(syscall.SIGTERM, 10*time.Second) })
	Until(t, 20*time.Second, "the message bus", func() error {
		b.conn, err = dbus.Connect(b.Address)
		return err
	})
	t.Cleanup(func() { b.conn.Close() })
	b.export(t)
	return b
}

// export puts logind and systemd on the bus.
func (b *Bus) export(t testing.TB) {
	for name, methods := range map[string]map[string]any{
		"login1": {
			"Reboot":   func(bool) *dbus.Error { return b.record("Reboot") },
			"PowerOff": func(bool) *dbus.Error { return b.record("PowerOff") },
		},
		"systemd1": {
			"GetUnit":     b.getUnit,
			"StartUnit":   func(unit, _ string) (dbus.ObjectPath, *dbus.Error) { return job, b.record("StartUnit " + unit) },
			"StopUnit":    func(unit, _ string) (dbus.ObjectPath, *dbus.Error) { return job, b.record("StopUnit " + unit) },
			"RestartUnit": func(unit, _ string) (dbus.ObjectPath, *dbus.Error) { return job, b.record("RestartUnit " + unit) },
		},
	} {
		service := "org.freedesktop." + name
		if err := b.conn.ExportMethodTable(methods, dbus.ObjectPath("/org/freedesktop/"+name), service+".Manager"); err != nil {
			t.Fatal(err)
		}
		b.Return(t, service)
	}
}

const job dbus.ObjectPath = "/org/freedesktop/systemd1/job/1"

func (b *Bus) record(what string) *dbus.Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, BusCall{what, time.Now()})
	if b.refused != "" {
		return dbus.NewError("org.freedesktop.DBus.Error.AccessDenied", []any{b.refused})
	}
	return nil
}

func (b *Bus) getUnit(unit string) (dbus.ObjectPath, *dbus.Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, loaded := b.units[unit]; !loaded {
		return "", dbus.NewError("org.freedesktop.systemd1.NoSuchUnit", []any{"Unit " + unit + " not loaded."})
	}
	return unitPath(unit), nil
}

func unitPath(unit string) dbus.ObjectPath {
	return dbus.ObjectPath("/org/freedesktop/systemd1/unit/" + strings.NewReplacer(".", "_2e", "-", "_2d").Replace(unit))
}

// SetUnit makes a unit loaded and in a state such as active or inactive.
func (b *Bus) SetUnit(t testing.TB, unit, state string) {
	t.Helper()
	b.mu.Lock()
	b.units[unit] = state
	b.mu.Unlock()
	get := func(_, property string) (dbus.Variant, *dbus.Error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if property == "PartOf" {
			return dbus.MakeVariant(append([]string{}, b.parts[unit]...)), nil
		}
		if property != "ActiveState" {
			return dbus.MakeVariant([]string{}), nil
		}
		return dbus.MakeVariant(b.units[unit]), nil
	}
	if err := b.conn.ExportMethodTable(map[string]any{"Get": get}, unitPath(unit), "org.freedesktop.DBus.Properties"); err != nil {
		t.Fatal(err)
	}
}

// SetPartOf makes a unit a part of other units.
func (b *Bus) SetPartOf(unit string, of ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parts[unit] = of
}

// Refuse makes every later request for work fail with a text; the empty text ends it.
func (b *Bus) Refuse(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused = text
}

// Leave takes a service, such as org.freedesktop.login1, off the bus.
func (b *Bus) Leave(t testing.TB, service string) {
	t.Helper()
	if _, err := b.conn.ReleaseName(service); err != nil {
		t.Fatal(err)
	}
}

// Return puts a service on the bus.
func (b *Bus) Return(t testing.TB, service string) {
	t.Helper()
	if _, err := b.conn.RequestName(service, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
}

// Calls is what logind and systemd were asked to do so far.
func (b *Bus) Calls() []BusCall {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]BusCall(nil), b.calls...)
}

// WaitAsked waits until logind or systemd was asked for something so many times, and no more often.
func (b *Bus) WaitAsked(t testing.TB, what string, times int) {
	t.Helper()
	Until(t, Soon, fmt.Sprintf("%s, %d times", what, times), func() error {
		if n := b.Asked(what); n != times {
			return fmt.Errorf("%d times, asked for %v", n, b.Calls())
		}
		return nil
	})
}

// Asked counts what logind and systemd were asked to do so far.
func (b *Bus) Asked(what string) (n int) {
	for _, c := range b.Calls() {
		if c.What == what {
			n++
		}
	}
	return n
}
