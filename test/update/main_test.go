// Package update_test proves that the supervisor brings a device to its target: black box, with the
// built binary, a real engine and a real registry.
package update_test

import (
	"testing"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// other is a second app beside shop.
func other(commit string, release int, services ...harness.Service) harness.App {
	return harness.App{ID: 32, UUID: "6bb0c0ffee6bb0c0ffee6bb0c0ffee62", Name: "other", Commit: commit, Release: release, Services: services}
}

// sameIDs fails the test unless every container kept its id.
func sameIDs(t *testing.T, s *harness.Supervisor, before map[string]string) {
	t.Helper()
	after := s.IDs()
	for name, id := range before {
		if after[name] != id {
			t.Errorf("container of %s changed from %.12s to %.12s", name, id, after[name])
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d containers, want %d", len(after), len(before))
	}
}
