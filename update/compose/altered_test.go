package compose

import (
	"strings"
	"testing"

	"resin-supervisor/update/engine/doc"
)

// docs/spec/engine.md 4.2: a difference that the engine made does not count while both sides keep their values. Each
// other value counts, also where the text for people cuts or hides it.
func TestWhatTheEngineAlteredIsNoDifference(t *testing.T) {
	long := strings.Repeat("x", 2*maxShown)
	f := func(name string, made, now Difference, want int) {
		t.Helper()
		if left := Alter([]Difference{made}).Besides([]Difference{now}); len(left) != want {
			t.Errorf("%s: %v", name, left)
		}
	}
	env := func(have, want string) Difference {
		return compareMaps("environment ", map[string]string{"API_KEY": have}, map[string]string{"API_KEY": want})[0]
	}
	limit := differ("mem_limit", int64(0), int64(64<<20))
	f("the same", limit, differ("mem_limit", int64(0), int64(64<<20)), 0)
	f("another wish", limit, differ("mem_limit", int64(0), int64(32<<20)), 1)
	f("another fact", limit, differ("mem_limit", int64(1), int64(64<<20)), 1)
	f("another field", limit, differ("mem_reservation", int64(0), int64(64<<20)), 1)
	f("cut texts", differ("user", "", long+"a"), differ("user", "", long+"b"), 1)
	f("equal cut texts", differ("user", "", long), differ("user", "", long), 0)
	f("hidden", env("a", "b"), env("a", "c"), 1)
	f("equal hidden", env("a", "b"), env("a", "b"), 0)
	f("networks", networkDifference("none", "a"), networkDifference("none", "b"), 1)
	f("parts of a list", differ("volumes", []string{"a", "b"}, []string{"a"}), differ("volumes", []string{"b", "c"}, []string{"c"}), 1)
	if left := Altered(nil).Besides([]Difference{limit}); len(left) != 1 {
		t.Errorf("of an object that was made as asked: %v", left)
	}
}

// Each field of a release with many fields has its own difference.
func TestAlteredFieldsAreToldApart(t *testing.T) {
	want := func(memory int64, shares int64) *Service {
		d := doc.Create{HostConfig: doc.HostConfig{Memory: memory, CpuShares: shares}}
		canonical(&d)
		return &Service{ImageKnown: true, Container: &Container{Doc: d}}
	}
	compare := func(w *Service) []Difference {
		return Compare(w, want(0, 0).Container, func(string) string { return "" }, Capabilities{})
	}
	altered := Alter(compare(want(64, 512)))
	if left := altered.Besides(compare(want(64, 512))); len(left) != 0 {
		t.Error(left)
	}
	if left := altered.Besides(compare(want(64, 256))); len(left) != 1 || left[0].Field != "cpu_shares" {
		t.Error(left)
	}
	if left := altered.Besides(compare(want(0, 512))); len(left) != 0 {
		t.Errorf("what the target wants no longer is as wanted: %v", left)
	}
}
