package userlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"resin-supervisor/update/delta"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/target"
)

// recorded is a voice whose words are kept, those of the error output with a mark.
func recorded() (Voice, func() []string) {
	var said []string
	return func(text string, stderr bool) {
			if stderr {
				text = "! " + text
			}
			said = append(said, text)
		}, func() []string {
			now := said
			said = nil
			return now
		}
}

func TestWorkIsSaid(t *testing.T) {
	say, said := recorded()
	l := New(say)
	f := func(p Phrases, object string, err error, want ...string) {
		t.Helper()
		if got := l.Do(p, "app/"+object, object, func() error { return err }); got != err {
			t.Errorf("error %v became %v", err, got)
		}
		if got := said(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(Killing, "web sha256:1", nil, "Killing service 'web sha256:1'", "Killed service 'web sha256:1'")
	f(Killing, "web i", errors.New("no way"), "Killing service 'web i'", "! Failed to kill service 'web i' due to 'no way'")
	f(CreatingVolume, "data", nil, "Creating volume 'data'")
	f(CreatingVolume, "data", errors.New(""), "Creating volume 'data'", "! Error creating volume 'data' due to 'Unknown cause'")
	f(Downloading, "a/b:1", context.Canceled, "Downloading image 'a/b:1'")
	f(Patching, "a/b:1", fmt.Errorf("delta: %w", delta.ErrProcessing),
		"Downloading delta for image 'a/b:1'", "Delta still processing remotely. Will retry...")

	// Retries of what fails say each cause once, however the engine spells it, and what becomes of it.
	inUse := "driver failed on endpoint web_1 (%064d): Bind for 0.0.0.0:%d failed: port is already allocated"
	f(Starting, "web i", fmt.Errorf(inUse, 1, 80), "Starting service 'web i'", "! Failed to start service 'web i' due to '"+fmt.Sprintf(inUse, 1, 80)+"'")
	f(Starting, "web i", fmt.Errorf(inUse, 2, 80))
	f(Starting, "web i", context.Canceled)
	f(Starting, "web i", fmt.Errorf(inUse, 3, 80))
	f(Killing, "web i", errors.New("no way"))
	f(Starting, "web i", fmt.Errorf(inUse, 4, 81), "! Failed to start service 'web i' due to '"+fmt.Sprintf(inUse, 4, 81)+"'")
	f(Starting, "web i", nil, "Started service 'web i'")
	f(Starting, "web i", fmt.Errorf(inUse, 5, 81), "Starting service 'web i'", "! Failed to start service 'web i' due to '"+fmt.Sprintf(inUse, 5, 81)+"'")
	f(Preflight, "shop", fmt.Errorf("%w: it takes 512 MB and 20 MB are free", engine.ErrNoRoom), "! Update does not begin 'shop' due to 'not enough room for the download: it takes 512 MB and 20 MB are free'")
	f(Preflight, "shop", fmt.Errorf("%w: it takes 512 MB and 21 MB are free", engine.ErrNoRoom))
	l.ForgetApp("other")
	f(Starting, "web i", fmt.Errorf(inUse, 6, 81))
	l.ForgetApp("app")
	f(Starting, "web i", fmt.Errorf(inUse, 7, 81), "Starting service 'web i'", "! Failed to start service 'web i' due to '"+fmt.Sprintf(inUse, 7, 81)+"'")
}

// What differs each time makes no other cause; another device, disk or address does.
func TestGist(t *testing.T) {
	id := func(n int) string { return fmt.Sprintf("%064x", n) }
	same := func(form string, a, b any) {
		t.Helper()
		if a, b := gist(fmt.Errorf(form, a)), gist(fmt.Errorf(form, b)); a != b {
			t.Errorf("%q and %q are two causes", a, b)
		}
	}
	same("driver failed on endpoint web (%s): in use", id(1), id(2))
	same("no such image: sha256:%s", id(1), id(2))
	same(`mount "/var/lib/docker/overlay2/%s-init/merged": no such file`, id(1), id(2))
	same("Unit docker-%s.scope already exists", id(1), id(2))
	same("request %s failed", id(1)[32:], id(2)[32:])
	same("read tcp %s: i/o timeout", "10.0.0.1:40000->10.0.0.2:443", "10.0.0.1:40002->10.0.0.2:443")
	same(`level=error time="%s" msg=no`, "2026-01-02T03:04:05.678901234Z", "2026-01-02T03:04:06Z")
	same("not yet valid: current time %s is before", "2026-01-02T03:04:05Z", "2026-01-02T03:05:05+01:00")

	other := func(form string, a, b any) {
		t.Helper()
		if a, b := gist(fmt.Errorf(form, a)), gist(fmt.Errorf(form, b)); a == b {
			t.Errorf("%q is one cause", a)
		}
	}
	other("no device /dev/serial/by-id/%s", "usb-FTDI_FT232R_A1-if00-port0", "usb-CP2102_0001-if00-port0")
	other("no device /dev/disk/by-id/scsi-3%s", id(1)[32:], id(2)[32:])
	other("no device /dev/disk/by-uuid/%s", "3e6be9de-8139-4c10-9e51-0c3c1fb5ed01", "3e6be9de-8139-4c10-9e51-0c3c1fb5ed02")
	other("dial tcp %s: no route to host", "[2001:db8:1234:5678::1]:443", "[2001:db8:1234:5678::2]:443")
	other("bind source path does not exist: %s", "/run/data-of-the-year-2026/a", "/run/data-of-the-year-2026/b")
	other("lookup %s: no such host", "registry-1.TEST-of-2026-example.com", "registry-2.TEST-of-2026-example.com")
}

// Causes that take turns are said once each, up to a number of them.
func TestCausesThatTakeTurns(t *testing.T) {
	say, said := recorded()
	l := New(say)
	fails := func(cause int) {
		_ = l.Do(Downloading, "a/b:1", "a/b:1", func() error { return fmt.Errorf("cause %d", cause) })
	}
	for range 3 {
		for cause := range maxCauses {
			fails(cause)
		}
	}
	if got := said(); len(got) != 1+maxCauses {
		t.Errorf("said %q", got)
	}
	fails(maxCauses)
	fails(1)
	fails(0)
	if got, want := said(), []string{"! Failed to download image 'a/b:1' due to 'cause 8'", "! Failed to download image 'a/b:1' due to 'cause 0'"}; !slices.Equal(got, want) {
		t.Errorf("said %q, want %q", got, want)
	}
}

func TestLockedIsSaid(t *testing.T) {
	say, said := recorded()
	f := func(d time.Duration, want string) {
		t.Helper()
		say.Locked(d, errors.New("why"))
		if got := said(); got[0] != "Updates are locked, retrying in "+want+". Reason: why" {
			t.Errorf("%v: %q", d, got)
		}
	}
	f(500*time.Millisecond, "500ms")
	f(2*time.Second, "2s")
	f(64*time.Second, "1m")
	f(15*time.Minute, "15m")
	f(2*time.Hour, "2h")
}

func TestContractsAreSaid(t *testing.T) {
	say, said := recorded()
	s := &target.State{Apps: map[string]*target.App{"a": {Rejected: "x"}, "b": {Rejected: "y"}, "c": {}}}
	say.Contracts(s, nil)
	say.Contracts(s, []target.Problem{
		{App: "a", Text: "A: Services with unmet requirements: m, n"}, {App: "c", Text: "Not running containers because of contract violations: o. p"},
		{App: "b", Text: "B: Services with unmet requirements: q"},
	})
	want := []string{
		"! Not running containers because of contract violations: o. p",
		"! Some releases were rejected due to having unmet requirements:\n  A: Services with unmet requirements: m, n\n  B: Services with unmet requirements: q",
	}
	if got := said(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
