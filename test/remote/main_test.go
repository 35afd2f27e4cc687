// Package remote_test proves the device API of a device that belongs to a cloud: whose requests are
// served, what its proxy sends, and what the cloud is told (docs/spec/device-api.md 1.7, 2.4, 2.10, 2.26, 3).
package remote_test

import (
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

func TestMain(m *testing.M) { harness.Main(m) }

// managed is a device of a cloud, which polls only when it is told to. Its apps are 31 "shop" with the
// services web, which may use the API, and db, and 32 "solo" with the service main, which may too.
type managed struct {
	*harness.Supervisor
	shop, solo harness.App
	config     map[string]string
}

func newManaged(t *testing.T) *managed {
	t.Helper()
	image := harness.ServerImage("remote/app:v1").Load(t)
	m := &managed{config: map[string]string{}}
	m.Supervisor, _ = harness.NewManaged(t, harness.Setup{Config: map[string]any{"appUpdatePollInterval": 3600000}, Bus: harness.NewBus(t)})
	m.shop, m.solo = harness.ShopAndSolo(image)
	m.Assign(m.target())
	m.Start()
	m.WaitListed()
	m.Post("/v1/update", nil).Want(t, 204, "")
	m.WaitSettled(harness.Soon)
	return m
}

func (m *managed) target() harness.Target {
	return harness.Target{Config: m.config, Apps: []harness.App{m.shop, m.solo}}
}

// update assigns the present target and tells the device to fetch it.
func (m *managed) update(t *testing.T, body any) {
	t.Helper()
	m.Assign(m.target())
	m.Post("/v1/update", body).Want(t, 204, "")
}

// polls counts the requests for the target so far.
func (m *managed) polls() int { return len(m.Cloud().Calls(fakecloud.State)) }
