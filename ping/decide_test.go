package ping

import "testing"

var (
	allStates = []state{unmanaged, disabled, disabledVPN, vpn, waiting, reached, lost}
	allEvents = []event{enable, disable, vpnUp, vpnDown, answered, silent}
)

// transitions holds the next state for every state, in the order of allEvents.
var transitions = map[state][]state{
	//            enable     disable      vpnUp        vpnDown    answered     silent
	unmanaged:   {unmanaged, unmanaged, unmanaged, unmanaged, unmanaged, unmanaged},
	disabled:    {reached, disabled, disabledVPN, disabled, disabled, disabled},
	disabledVPN: {vpn, disabledVPN, disabledVPN, disabled, disabledVPN, disabledVPN},
	vpn:         {vpn, disabledVPN, vpn, reached, vpn, vpn},
	waiting:     {waiting, disabled, vpn, waiting, reached, lost},
	reached:     {reached, disabled, vpn, reached, reached, lost},
	lost:        {lost, disabled, vpn, lost, reached, lost},
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

func TestConnectedAndTries(t *testing.T) {
	for s, want := range map[state]struct{ connected, tries bool }{
		unmanaged: {true, false}, disabled: {true, false}, disabledVPN: {true, false}, vpn: {true, false},
		waiting: {false, true}, reached: {true, true}, lost: {false, true},
	} {
		if s.connected() != want.connected || s.tries() != want.tries {
			t.Errorf("%s: connected %v, tries %v", s, s.connected(), s.tries())
		}
	}
}
