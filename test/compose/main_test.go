// Package compose_test proves that the engine gets what a composition asks for, and that nothing is
// recreated that was made right: one table of every compose field, feature label, volume and network
// option (docs/spec/engine.md 2 to 4), and the conformance lines about them.
package compose_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// dict and list are JSON as a composition holds it.
type (
	dict = map[string]any
	list = []any
)

// shopID is the uuid of shop. Targets are posted in the cloud's form, where what a composition says is
// apart from what the service says.
const shopID = harness.ShopUUID

// shop is the app of most tests.
func shop(release int, services ...harness.Service) harness.App {
	return harness.Shop(commit(release), release, services...)
}

func commit(release int) string { return "c0ffee" + strconv.Itoa(release) }

// marker is an app that costs nothing. When a new release of it has been applied, everything else of
// the same target has been looked at too.
func marker(release int, image harness.Image) harness.App {
	s := image.Service("mark", 9001).Composed("network_mode", "host").Setting("MARK", strconv.Itoa(release))
	s.Stopped = true
	return harness.App{ID: 99, UUID: "99", Name: "marker", Commit: commit(release), Release: release, Services: []harness.Service{s}}
}

// apply brings many services to a target. The API is asked first, since asking the engine about every
// container again and again would slow the engine down.
func apply(t *testing.T, s *harness.Supervisor, to harness.Target) {
	t.Helper()
	post(t, s, to)
	harness.Until(t, 3*time.Minute, "target applied", s.Idle)
	s.WaitSettled(harness.Soon)
}

// post replaces the local target.
func post(t *testing.T, s *harness.Supervisor, to harness.Target) {
	t.Helper()
	s.Expect(to)
	if answer := s.Post("/v2/local/target-state", dict{s.UUID: to.V3()}); answer.Status != http.StatusOK {
		t.Fatalf("post the target: %d %s", answer.Status, answer.Body)
	}
}
