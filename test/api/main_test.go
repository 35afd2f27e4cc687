// Package api_test proves the device API: every endpoint with its real effect on a real engine, who
// may call it, and that no input can do harm.
package api_test

import (
	"net/http"
	"testing"

	"resin-supervisor/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// fleet is the device most tests use: app 31 "shop" with two services and a volume, app 32 "solo"
// with one. web and main may use the API.
type fleet struct {
	*harness.Supervisor
	shop, solo harness.App
}

// newFleet is a device at its target.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	image := harness.ServerImage("api/app:v1").Load(t)
	f := &fleet{Supervisor: harness.NewSupervisor(t, harness.Setup{WithProxy: true})}
	f.shop, f.solo = harness.ShopAndSolo(image)
	f.shop.UUID, f.solo.UUID = "", "" // an app of a local target has none
	f.Start()
	f.Apply(f.target())
	return f
}

func (f *fleet) target() harness.Target { return harness.TargetOf(f.shop, f.solo) }

// keyOf is the API key that a service was given.
func (f *fleet) keyOf(t *testing.T, service string) string {
	t.Helper()
	key := f.Containers()[service].Env("BALENA_SUPERVISOR_API_KEY")
	if key == "" {
		t.Fatalf("%s has no API key", service)
	}
	return key
}

// changed fails the test unless exactly the named services have new containers that run.
func (f *fleet) changed(t *testing.T, before map[string]string, services ...string) {
	t.Helper()
	f.WaitSettled(harness.Soon)
	now := f.Containers()
	isNew := map[string]bool{}
	for _, s := range services {
		isNew[s] = true
	}
	for name, id := range before {
		if c := now[name]; (c.ID != id) != isNew[name] {
			t.Errorf("container of %s: was %.12s, is %.12s, to be new: %v", name, id, c.ID, isNew[name])
		} else if !c.State.Running {
			t.Errorf("container of %s is %s", name, c.State.Status)
		}
	}
}

// put writes a file inside a service's container.
func (f *fleet) put(t *testing.T, service, path, text string) {
	t.Helper()
	harness.MustAsk(t, f.Containers()[service], http.MethodPut, "/file?path="+path, text)
}

// has tells whether a file is there inside a service's container.
func (f *fleet) has(t *testing.T, service, path string) bool {
	t.Helper()
	harness.VersionOf(t, f.Containers()[service])
	status, _, err := harness.Ask(f.Containers()[service], http.MethodGet, "/file?path="+path, "")
	if err != nil {
		t.Fatal(err)
	}
	return status == http.StatusOK
}
