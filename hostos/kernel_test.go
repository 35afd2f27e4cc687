package hostos

import "testing"

func TestL4T(t *testing.T) {
	f := func(release, want string) {
		t.Helper()
		if got := L4T(release); got != want {
			t.Errorf("L4T(%q) = %q, want %q", release, got, want)
		}
	}
	f("4.9.140-l4t-r32.3.1", "32.3.1")
	f("4.9.140-l4t-r32.2", "32.2.0")
	f("4.4.38-l4t-r28.3+g88fe6d6", "28.3.0")
	f("5.10.104-l4t-r35.2.1-1234", "35.2.1")
	f("6.1.0-v8+", "")
	f("4.9.140-l4t-r", "")
	f("4.9.140-l4t-r32", "")
	f("", "")
}
