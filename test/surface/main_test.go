// Package surface_test proves that the device API withstands what clients do to it, and that what is
// said about the API (its reference, its metrics, the status command) is true on a real engine.
package surface_test

import (
	"testing"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// appID is the app that most tests use.
const appID = 31

// shop is app 31 with two services, of which web may use the API.
func shop(t testing.TB) harness.Target {
	app, _ := harness.ShopAndSolo(harness.ServerImage("surface/app:v1").Load(t))
	return harness.TargetOf(app)
}

// bare is a running supervisor without apps.
func bare(t testing.TB) *harness.Supervisor {
	s := harness.StartSupervisor(t, harness.Setup{})
	s.WaitListed()
	return s
}
