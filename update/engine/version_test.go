package engine

import "testing"

func TestChoose(t *testing.T) {
	f := func(most, least, want string) {
		t.Helper()
		v, reason := choose(most, least)
		if reason != "" || v.String() != want {
			t.Errorf("engine %s..%s: got %v %q, want %s", least, most, v, reason, want)
		}
	}
	f("1.41", "1.12", "1.41")
	f("1.38", "1.12", "1.38")
	f("1.39", "1.12", "1.39") // balenaEngine
	f("1.47", "1.24", "1.41")
	f("1.51", "1.44", "1.44") // no longer supports ours: its oldest
	f("1.9999", "", "1.41")
	f("1.40", "nonsense", "1.40")
	f("1.40", "1.41", "1.40") // never above what the engine offers
	f("2.0", "1.12", "1.41")

	refused := func(most string) {
		t.Helper()
		if v, reason := choose(most, "1.12"); reason == "" {
			t.Errorf("engine %q: chose %v", most, v)
		}
	}
	refused("1.37")
	refused("")
	refused("1")
	refused("1.x")
	refused("-1.41")
	refused("1.41.0")
	refused("1.99999999")
}
