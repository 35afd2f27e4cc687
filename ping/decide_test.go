package ping

import "testing"

var (
	allStates = []state{unmanaged, disabled, disabledVPN, vpn, waiting, reachable, unreachable}
	allEvents = []event{enable, disable, vpnUp, vpnDown, succeeded, failed}
)

// transitions holds the next states of every state, in the order of allEvents.
var transitions = map[state][]state{
	//            enable   disable   vpnUp   vpnDown   succeeded   failed
	unmanaged:   {unmanaged, unmanaged, unmanaged, unmanaged, unmanaged, unmanaged},
	disabled:    {reachable, disabled, disabledVPN, disabled, disabled, disabled},
	disabledVPN: {vpn, disabledVPN, disabledVPN, disabled, disabledVPN, disabledVPN},
	vpn:         {vpn, disabledVPN, vpn, reachable, vpn, vpn},
	waiting:     {waiting, disabled, vpn, waiting, reachable, unreachable},
	reachable:   {reachable, disabled, vpn, reachable, reachable, unreachable},
	unreachable: {unreachable, disabled, vpn, unreachable, reachable, unreachable},
}

func TestNext(t *testing.T) {
	for _, s := range allStates {
		for i, e := range allEvents {
			if got, want := next(s, e), transitions[s][i]; got != want {
				t.Errorf("%s, %s: got %s, want %s", s, e, got, want)
			}
		}
	}
}

func TestConnectedAndProbing(t *testing.T) {
	for s, want := range map[state]struct{ connected, probing bool }{
		unmanaged: {true, false}, disabled: {true, false}, disabledVPN: {true, false}, vpn: {true, false},
		waiting: {false, true}, reachable: {true, true}, unreachable: {false, true},
	} {
		if s.connected() != want.connected || s.probing() != want.probing {
			t.Errorf("%s: connected %v, probing %v", s, s.connected(), s.probing())
		}
	}
}
