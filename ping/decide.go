package ping

// state is what the heartbeat knows. "Trying" stands for waiting, reached and lost:
//
//	disabled --vpn up--> disabledVPN       trying --vpn up--> vpn
//	disabled <-vpn down- disabledVPN      reached <-vpn down- vpn
//	disabled --enable--> reached      disabledVPN --enable--> vpn
//	disabled <-disable-- trying       disabledVPN <-disable-- vpn
//	trying --answered--> reached           trying --silent--> lost
//
// Anything else changes nothing. The device counts as connected while the check is disabled and while
// the VPN is up, and stays so afterwards until a try says otherwise (docs/spec/cloud.md 9.2).
type state string

const (
	unmanaged   state = "unmanaged"           // there is no cloud to reach; never left
	disabled    state = "disabled"            // no tries; VPN down
	disabledVPN state = "disabled, vpn is up" // no tries
	vpn         state = "vpn is up"           // no tries
	waiting     state = "waiting"             // no result since the start
	reached     state = "reached"             // the last try was answered, or none was needed until now
	lost        state = "lost"                // the last try was not answered
)

// event is what happens to the heartbeat.
type event string

const (
	enable   event = "enable"
	disable  event = "disable"
	vpnUp    event = "vpn up"
	vpnDown  event = "vpn down"
	answered event = "answered"
	silent   event = "silent"
)

// connected reports whether the device counts as connected to its cloud.
func (s state) connected() bool {
	return s != waiting && s != lost
}

// tries reports whether connections are to be tried.
func (s state) tries() bool {
	return s == waiting || s == reached || s == lost
}

// next is the state after e.
func next(s state, e event) state {
	switch {
	case s.tries():
		return nextTrying(s, e)
	case s == disabled && e == enable:
		return reached
	case s == disabled && e == vpnUp:
		return disabledVPN
	case s == disabledVPN && e == enable:
		return vpn
	case s == disabledVPN && e == vpnDown:
		return disabled
	case s == vpn && e == disable:
		return disabledVPN
	case s == vpn && e == vpnDown:
		return reached
	}
	return s
}

func nextTrying(s state, e event) state {
	switch e {
	case disable:
		return disabled
	case vpnUp:
		return vpn
	case answered:
		return reached
	case silent:
		return lost
	}
	return s
}
