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
func shop(t testing.TB, engine *harness.Engine) harness.Target {
	image := harness.ServerImage("surface/app:v1").LoadInto(t, engine)
	return harness.Target{Apps: []harness.App{{ID: appID, Name: "shop", Commit: "aaaa1", Release: 11,
		Volumes: map[string]any{"data": map[string]any{}},
		Services: []harness.Service{
			{ID: 1, Name: "web", ImageID: 1001, Image: image.Name, Labels: map[string]string{"io.balena.features.supervisor-api": "1"},
				Compose: map[string]any{"volumes": []any{"data:/data"}}},
			{ID: 2, Name: "db", ImageID: 1002, Image: image.Name},
		}}}}
}

// bare is a running supervisor without apps.
func bare(t testing.TB) *harness.Supervisor {
	s := harness.StartSupervisor(t, harness.Setup{})
	s.WaitListed()
	return s
}
