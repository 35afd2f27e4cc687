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

// host.md 8: a vendor's suffix is not part of the version.
func TestKernelVersion(t *testing.T) {
	f := func(release, want string) {
		t.Helper()
		if got := KernelVersion(release); got != want {
			t.Errorf("KernelVersion(%q) = %q, want %q", release, got, want)
		}
	}
	f("6.18.44-v8", "6.18.44")
	f("6.1.0-v8+", "6.1.0")
	f("6.1.21.3-custom", "6.1.21")
	f("5.10.168-ti-r72", "5.10.168")
	f("6.6-rt", "6.6.0")
	f("6.12.25", "6.12.25")
	f("6-next", "")
	f("next", "")
	f("", "")
}
