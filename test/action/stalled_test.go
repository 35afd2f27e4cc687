package action_test

import (
	"testing"

	"resin-supervisor/test/harness"
)

// An engine that does not answer what an image is holds back the update that needs to know, and nothing
// else: actions on services are carried out, targets are taken, and the device can reboot.
func TestEngineThatDoesNotTellOfAnImage(t *testing.T) {
	// It is there before the agent, which then knows of it from the list alone.
	next := harness.ServerImage("action/app:v2").Load(t)
	r := newRig(t)
	const inspectCall = "GET /images/{id}/json"
	before := len(r.Proxy.Times(inspectCall))
	r.Proxy.Spoil(inspectCall, harness.Hang, 0, -1)
	r.shop.Commit, r.shop.Release = "aaaa2", 12
	r.shop.Services = []harness.Service{r.shop.Services[0].Using(next.Name, 2001), r.shop.Services[1]}
	r.PostTarget(r.target())
	r.Proxy.WaitCalls(t, harness.Soon, inspectCall, before+1)
	db := map[string]any{"serviceName": "db"}
	r.Post("/v2/applications/31/stop-service", db).Want(t, 200, "OK")
	if r.Containers()["db"].State.Running {
		t.Error("db was not stopped")
	}
	r.Post("/v2/applications/31/start-service", db).Want(t, 200, "OK")
	r.Post("/v2/applications/31/restart-service", db).Want(t, 200, "OK")
	r.shop.Commit = "aaaa3"
	r.PostTarget(r.target())
	r.Post("/v1/update", nil).Want(t, 204, "")
	r.Proxy.Heal()
	r.WaitSettled(harness.Soon)

	r.Proxy.Spoil(inspectCall, harness.Hang, 0, -1)
	r.Post("/v1/reboot", nil).Want(t, 202, granted)
	r.goesDown(t, "Reboot", 1)
}
