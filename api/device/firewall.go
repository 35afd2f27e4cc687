package device

import (
	"sync"
	"sync/atomic"

	"resin-supervisor/hostos"
	"resin-supervisor/update/settings"
)

// firewall keeps what the host lets in as it is wanted. It sets it once for each change, and does not
// try again by itself.
type firewall struct {
	set     func(hostos.Firewall)
	wanted  atomic.Pointer[hostos.Firewall]
	setting sync.Mutex
}

// want takes a wish and never waits. The first one is for begin.
func (w *firewall) want(f hostos.Firewall) {
	if before := w.wanted.Swap(&f); before != nil && *before != f {
		go w.begin()
	}
}

// begin sets what is wanted by then.
func (w *firewall) begin() {
	w.setting.Lock()
	defer w.setting.Unlock()
	w.set(*w.wanted.Load())
}

// filter makes the host let in what is wanted. Without it the API answers everybody who reaches it.
func (d *Device) filter(say func(text string, stderr bool)) func(hostos.Firewall) {
	return func(f hostos.Firewall) {
		if err := f.Apply(d.env.Root); err != nil {
			d.log.Error().Err(err).Msg("the host's firewall is not set")
			say("Firewall mode not applied due to error", true)
		}
	}
}

// firewallRules is what the host lets in with settings and a target, some of whose services may use its network.
func (d *Device) firewallRules(s settings.Settings, hostNetwork bool) hostos.Firewall {
	return hostos.Firewall{
		Port: d.port, Open: s.LocalMode,
		Strict: s.FirewallMode == "on" || s.FirewallMode == "auto" && hostNetwork,
	}
}
