package current

import "testing"

// Which platforms run on which machine, and which of several the engine takes.
func TestRank(t *testing.T) {
	f := func(machine string, bestFirst ...string) {
		t.Helper()
		runs := map[string]bool{}
		last := 1 << 20
		for _, name := range bestFirst {
			rank := rankOf(machine, name)
			if rank <= 0 || rank >= last {
				t.Errorf("%s on %s: rank %d after %d", name, machine, rank, last)
			}
			runs[name], last = true, rank
		}
		for _, name := range []string{"amd64", "386", "arm64", "arm/v8", "arm/v7", "arm", "arm/v6", "arm/v5", "s390x", "unknown"} {
			if rank := rankOf(machine, name); rank > 0 != runs[name] {
				t.Errorf("%s on %s: rank %d", name, machine, rank)
			}
		}
	}
	f("x86_64", "amd64", "386")
	f("i686", "386")
	f("aarch64", "arm64", "arm/v8", "arm/v7", "arm", "arm/v6", "arm/v5")
	f("armv8l", "arm/v8", "arm/v7", "arm", "arm/v6", "arm/v5")
	f("armv7l", "arm/v7", "arm", "arm/v6", "arm/v5")
	f("armv6l", "arm/v6", "arm", "arm/v5")
	if rankOf("riscv64", "s390x") == 0 || rankOf("x86_64", "amd64/v3") == 0 || rankOf("aarch64", "arm64/v8") == 0 {
		t.Error("what is not known does not run")
	}
}

func rankOf(machine, name string) int {
	for i, c := range name {
		if c == '/' {
			return Rank(machine, name[:i], name[i+1:])
		}
	}
	return Rank(machine, name, "")
}
