package device

import (
	"testing"
	"time"

	"resin-supervisor/hostos"
	"resin-supervisor/update/settings"
)

func TestLetIn(t *testing.T) {
	d := &Device{port: 48484}
	f := func(mode string, local, hostNetwork, strict bool) {
		t.Helper()
		got := d.firewallRules(settings.Settings{FirewallMode: mode, LocalMode: local}, hostNetwork)
		if want := (hostos.Firewall{Port: 48484, Open: local, Strict: strict}); got != want {
			t.Errorf("%q: %+v", mode, got)
		}
	}
	for _, local := range []bool{false, true} {
		f("on", local, false, true)
		f("on", local, true, true)
		f("auto", local, false, false)
		f("auto", local, true, true)
		for _, off := range []string{"off", "", "ON", "true", "strict"} {
			f(off, local, false, false)
			f(off, local, true, false)
		}
	}
}

// What is wanted while another wish is being granted is granted after it, and nothing is done twice
// for one wish.
func TestFirewallGrantsTheLastWish(t *testing.T) {
	set, going := make(chan hostos.Firewall), make(chan bool)
	w := &firewall{set: func(f hostos.Firewall) { set <- f; <-going }}
	w.want(hostos.Firewall{Port: 1})
	select {
	case f := <-set:
		t.Fatalf("%+v before the beginning", f)
	case <-time.After(100 * time.Millisecond):
	}
	go w.begin()
	if f := <-set; f != (hostos.Firewall{Port: 1}) {
		t.Errorf("%+v", f)
	}
	w.want(hostos.Firewall{Port: 1})
	w.want(hostos.Firewall{Port: 2})
	w.want(hostos.Firewall{Port: 3})
	going <- true
	for range 2 {
		if f := <-set; f != (hostos.Firewall{Port: 3}) {
			t.Errorf("%+v", f)
		}
		going <- true
	}
	w.setting.Lock() // nobody is at it any more
	select {
	case f := <-set:
		t.Errorf("%+v once more", f)
	default:
	}
}
