package ping

// state is the state of the heartbeat. "Probing" stands for waiting, reachable and unreachable:
//
//	disabled --vpn up----> disabledVPN       probing --vpn up---> vpn
//	disabled <-vpn down--- disabledVPN     reachable <-vpn down-- vpn
//	disabled --enable----> reachable     disabledVPN --enable---> vpn
//	disabled <-disable---- probing       disabledVPN <-disable--- vpn
//	probing --succeeded--> reachable         probing --failed---> unreachable
//
// No other event changes the state. The device counts as connected while the check is disabled and while the VPN is up,
// and after that until a probe fails (docs/spec/cloud.md 9.2).
type state string

const (
	unmanaged   state = "unmanaged"           // there is no cloud; the final state
	disabled    state = "disabled"            // no probes; VPN down
	disabledVPN state = "disabled, vpn is up" // no probes
	vpn         state = "vpn is up"           // no probes
	waiting     state = "waiting"             // no result since the start
	reachable   state = "reachable"           // the last probe succeeded, or none has been needed yet
	unreachable state = "unreachable"         // the last probe failed
)

// event is what happens to the heartbeat.
type event string

const (
	enable    event = "enable"
	disable   event = "disable"
	vpnUp     event = "vpn up"
	vpnDown   event = "vpn down"
	succeeded event = "probe succeeded"
	failed    event = "probe failed"
)

// connected reports whether the device counts as connected to its cloud.
func (s state) connected() bool {
	return s != waiting && s != unreachable
}

// probing reports whether probes are due.
func (s state) probing() bool {
	return s == waiting || s == reachable || s == unreachable
}

// next is the state after e.
func next(s state, e event) state {
	switch {
	case s.probing():
		return nextProbing(s, e)
	case s == disabled && e == enable:
		return reachable
	case s == disabled && e == vpnUp:
		return disabledVPN
	case s == disabledVPN && e == enable:
		return vpn
	case s == disabledVPN && e == vpnDown:
		return disabled
	case s == vpn && e == disable:
		return disabledVPN
	case s == vpn && e == vpnDown:
		return reachable
	}
	return s
}

func nextProbing(s state, e event) state {
	switch e {
	case disable:
		return disabled
	case vpnUp:
		return vpn
	case succeeded:
		return reachable
	case failed:
		return unreachable
	}
	return s
}
